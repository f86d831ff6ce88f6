package contract_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// "AcceptSSE answers Content-Type: text/event-stream, Cache-Control: no-cache, X-Accel-Buffering: no, registers, streams each
// message as one event of data: lines".
func TestAcceptSSEAnswersTheHeadersRegistersAndStreams(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	st := srv.Stream(t) // the headers arrive before any message
	for k, v := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"} {
		if got := st.Header.Values(k); len(got) != 1 || got[0] != v {
			t.Errorf("%s: %q", k, got)
		}
	}
	if st.StatusCode != http.StatusOK {
		t.Error(st.StatusCode)
	}
	hub.Count(t, 1)
	hub.Broadcast([]byte("1"))
	hub.Broadcast([]byte("2"))
	st.Expect(t, "1", "2")
	wstest.Silent(t, "AcceptSSE returned", srv.Streamed)
}

// "returns nil when the hub closed the stream": by Unregister, by the client's Close, by its end.
func TestAcceptSSEReturnsNilWhenTheHubClosedTheStream(t *testing.T) {
	joined := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { joined <- s }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	for _, end := range []func(wskit.Subscriber){
		func(s wskit.Subscriber) { hub.Unregister(s) },
		func(s wskit.Subscriber) { s.Close(); s.Close() },
		func(s wskit.Subscriber) { hub.Stop() },
	} {
		st := srv.Stream(t)
		s := wstest.Receive(t, "OnConnect", joined)
		if _, ok := s.(*wskit.SSEClient); !ok {
			t.Errorf("OnConnect got a %T", s)
		}
		s.Send([]byte("last"))
		end(s)
		st.Expect(t, "last") // what was queued is written first
		if _, more := <-st.Events; more {
			t.Error("the stream goes on")
		}
		if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
			t.Error(err)
		}
		if s.Send([]byte("late")) {
			t.Error("Send on a closed client: true")
		}
		hub.Count(t, 0)
	}
}

// "r.Context().Err() when the client left".
func TestAcceptSSEReturnsTheContextsErrorWhenTheClientLeft(t *testing.T) {
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	st := srv.Stream(t)
	hub.Broadcast([]byte("1"))
	st.Expect(t, "1")
	st.End()
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != context.Canceled {
		t.Error(err)
	}
	if wstest.Receive(t, "OnDisconnect", gone).Send(nil) {
		t.Error("Send on a closed client: true")
	}
	hub.Count(t, 0)
	// A middleware's deadline is the context's error too.
	srv = wstest.Serve(t, hub.Hub, wstest.Serving{Stream: func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), wstest.Hush)
		defer cancel()
		return wskit.AcceptSSE(w, r.WithContext(ctx), hub.Hub)
	}})
	srv.Stream(t)
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != context.DeadlineExceeded {
		t.Error(err)
	}
	hub.Count(t, 0)
}

// "or the write error": also when it is a panic of a middleware's writer.
func TestAcceptSSEReturnsTheWriteError(t *testing.T) {
	broken := errors.New("broken")
	for _, how := range []func() error{func() error { return broken }, func() error { panic(broken) }} {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Wrap: func(w http.ResponseWriter) http.ResponseWriter { return &brokenWriter{unwrapper{w}, how} }})
		st := srv.Stream(t)
		hub.Count(t, 1)
		hub.Broadcast([]byte("x"))
		if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, broken) {
			t.Error(err)
		}
		for range st.Events {
			t.Error("an event")
		}
		hub.Count(t, 0)
	}
}

type brokenWriter struct {
	unwrapper
	how func() error
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if string(p) == ":\n\n" {
		return b.unwrapper.Write(p)
	}
	return 0, b.how()
}

// "ErrFlusherNotSupported: AcceptSSE on a ResponseWriter that cannot flush; the request is answered 500."
func TestAcceptSSEOnAWriterThatCannotFlushAnswers500(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))
	type deaf struct{ http.ResponseWriter } // has no Flush, and no Unwrap either
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Wrap: func(w http.ResponseWriter) http.ResponseWriter { return deaf{w} }})
	st := srv.Stream(t)
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, wskit.ErrFlusherNotSupported) || st.StatusCode != 500 {
		t.Error(err, st.StatusCode)
	}
	if ct := st.Header.Get("Content-Type"); ct == "text/event-stream" {
		t.Error(ct)
	}
	if names := wstest.Tree(t, hub.Hub); len(names) != 4 {
		t.Error(names)
	}
}

// "A payload with line breaks arrives as one event whose data an EventSource puts together again; no payload can forge a
// field or a second event."
func TestNoSSEPayloadForgesAFieldOrASecondEvent(t *testing.T) {
	payloads := []string{
		"plain", "two\nlines", "two\r\nlines", "two\rlines", "\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", "\n\r", "ends\n", "ends\r\n",
		"\nbegins", "a\n\nb", "a\r\n\r\nb", "", " one space", "  two", "\ttab", "line\n indented\n  more", ":comment", "a\n:comment",
		"data: x", "x\ndata: y", "x\nevent: evil", "x\rid: 7", "x\r\nretry: 1", "x\n\ndata: second", "x\r\rid:\r\r", "event:evil\n\n", "{\n  \"json\": true\n}",
		"\xef\xbb\xbfbom", "\x00", "nul\x00id", "\u2028\u2029\u0085", "line\vtab\fpage", strings.Repeat("long\n", 10_000), "\xff\xfe",
	}
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	st := srv.Stream(t)
	hub.Count(t, 1)
	normal := strings.NewReplacer("\r\n", "\n", "\r", "\n", "\xff", "\ufffd", "\xfe", "\ufffd")
	for _, p := range payloads {
		hub.Broadcast([]byte(p))
		st.Expect(t, normal.Replace(p))
	}
	for _, p := range payloads { // and as one batch
		hub.Broadcast([]byte(p))
	}
	for _, p := range payloads {
		st.Expect(t, normal.Replace(p))
	}
}

// "NewSSEClient: bufSize <= 0: DefaultSendBufSize". At N and N+1. It implements Subscriber without any request.
func TestAnSSEClientQueuesItsBufferAndNoMore(t *testing.T) {
	hub := wstest.Run(t)
	for size, want := range map[int]int{0: 256, -1: 256, 1: 1, 5: 5} {
		c := wskit.NewSSEClient(hub.Hub, size)
		for i := range want {
			if !c.Send([]byte("x")) {
				t.Errorf("buffer of %d: message %d is refused", size, i)
			}
		}
		if c.Send([]byte("x")) {
			t.Errorf("buffer of %d: it takes one too many", size)
		}
		hub.Register(c)
		hub.Count(t, 1)
		c.Close()
		c.Close()
		hub.Count(t, 0)
	}
	c := wskit.NewSSEClient(hub.Hub, 2)
	hub.Register(c)
	hub.Halt(t)
	if c.Send([]byte("x")) {
		t.Error("Send on a stopped hub: true")
	}
}

// A server's WriteTimeout does not end a stream, nor does its ReadTimeout; HTTP/1.1 and HTTP/2.
func TestAServersTimeoutsDoNotEndAStream(t *testing.T) {
	const limit = 100 * time.Millisecond
	for name, set := range map[string]func(*http.Server){
		"WriteTimeout": func(s *http.Server) { s.WriteTimeout = limit },
		"ReadTimeout":  func(s *http.Server) { s.ReadTimeout = limit },
		"IdleTimeout":  func(s *http.Server) { s.IdleTimeout = limit },
	} {
		for proto, kind := range map[int]wstest.Kind{1: wstest.TCP, 2: wstest.HTTP2} {
			t.Run(fmt.Sprintf("%s/HTTP%d", name, proto), func(t *testing.T) {
				hub := wstest.Run(t)
				srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Setup: func(s *httptest.Server) { set(s.Config) }})
				st := srv.Stream(t)
				if st.ProtoMajor != proto {
					t.Fatal(st.Proto)
				}
				hub.Count(t, 1)
				var ended error
				if wstest.Poll(3*limit, func() bool {
					select {
					case ended = <-srv.Streamed:
						return true
					default:
						return false
					}
				}) {
					t.Fatal("the stream ended:", ended)
				}
				hub.Broadcast([]byte("after the timeout"))
				st.Expect(t, "after the timeout")
			})
		}
	}
}

// HTTP/2: many streams over one connection, one of which does not read.
func TestSSEOverHTTP2(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.HTTP2})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/sse", nil)
	stalled, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Body.Close()
	var streams []*wstest.Stream
	for range 5 {
		streams = append(streams, srv.Stream(t))
	}
	hub.Count(t, 6)
	for i := range 100 {
		hub.Broadcast([]byte(block(i)))
		for _, st := range streams {
			st.Expect(t, block(i))
		}
	}
	if stalled.ProtoMajor != 2 {
		t.Error(stalled.Proto)
	}
	streams[0].End()
	hub.Count(t, 5)
	hub.Stop()
	for _, st := range streams[1:] {
		if _, more := <-st.Events; more {
			t.Error("the stream goes on")
		}
	}
	cancel()
}

// A stalled stream delays nobody, gets what was within its buffer when it reads again, and does not stall a shutdown.
func TestAStalledStreamDelaysNobody(t *testing.T) {
	hub := wstest.Run(t, wskit.WithDrainTimeout(500*time.Millisecond))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow})
	conn := srv.Conn(t)
	_, _ = io.WriteString(conn, "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n")
	hub.Count(t, 1)
	st := srv.Stream(t)
	hub.Count(t, 2)
	for i := range 1000 { // far more than its buffer
		hub.Broadcast([]byte(block(i)))
		st.Expect(t, block(i))
	}
	wstest.Quickly(t, "the shutdown", 3*time.Second, func() { hub.Halt(t) })
	if err := wstest.Receive(t, "AcceptSSE of the healthy stream returns", srv.Streamed); err != nil {
		t.Error(err)
	}
	// Nor is its handler left behind, or http.Server.Shutdown would wait for it.
	start := time.Now()
	_ = wstest.Receive(t, "AcceptSSE of the stalled stream returns", srv.Streamed)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("the handler of a stalled stream stayed for %v after Run had returned", took)
	}
}

// The ResponseWriter is not used after the handler returned, however the stream ends.
func TestTheResponseWriterIsNotUsedAfterTheHandlerReturned(t *testing.T) {
	hub := wstest.Run(t)
	var returned, late atomic.Int64
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Stream: func(w http.ResponseWriter, r *http.Request) error {
		g := &guarded{unwrapper: unwrapper{w}, late: &late}
		defer func() { g.over.Store(true); returned.Add(1) }()
		return wskit.AcceptSSE(g, r, hub.Hub)
	}})
	var streams []*wstest.Stream
	for range 20 {
		streams = append(streams, srv.Stream(t))
	}
	hub.Count(t, 20)
	for i := range 200 {
		hub.Broadcast(fmt.Append(nil, i))
		if i%10 == 0 {
			streams[i/10].End()
		}
	}
	wstest.Eventually(t, "all have left", func() bool { return returned.Load() == 20 })
	hub.Broadcast([]byte("nobody"))
	hub.Count(t, 0)
	if n := late.Load(); n != 0 {
		t.Error(n, "uses after the return")
	}
}

type guarded struct {
	unwrapper
	over atomic.Bool
	late *atomic.Int64
}

func (g *guarded) Write(p []byte) (int, error) {
	if g.over.Load() {
		g.late.Add(1)
	}
	return g.unwrapper.Write(p)
}

func (g *guarded) FlushError() error {
	if g.over.Load() {
		g.late.Add(1)
	}
	return http.NewResponseController(g.w).Flush()
}
