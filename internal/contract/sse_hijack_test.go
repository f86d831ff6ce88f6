package contract_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// WithSSEHijack: AcceptSSE takes HTTP/1 connections over. The answer has the headers of the contract, and all that
// middleware has set; it ends with the connection.
func TestAHijackedStreamAnswersAllHeaders(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack())
	var before time.Time
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Stream: func(w http.ResponseWriter, r *http.Request) error {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "https://example.org")
		h.Set("Connection", "keep-alive")
		h.Set("Content-Type", "text/plain")
		h.Set("X-Evil", "a\r\nX-Forged: b")
		h["bad name"] = []string{"x"}
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
		if r.URL.Query().Has("date") {
			h.Set("Date", "mine")
		}
		before = time.Now().Truncate(time.Second)
		return wskit.AcceptSSE(w, r, hub.Hub)
	}})
	st := srv.Stream(t)
	if !st.IsHijacked() || st.ProtoMajor != 1 || st.ProtoMinor != 1 || st.Status != "200 OK" {
		t.Error(st.Status, st.Proto, st.TransferEncoding)
	}
	want := http.Header{
		"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-cache"}, "X-Accel-Buffering": {"no"},
		"Access-Control-Allow-Origin": {"https://example.org"}, "Set-Cookie": {"a=1", "b=2"}, "X-Evil": {"a  X-Forged: b"},
		"Date": st.Header["Date"],
	}
	if fmt.Sprint(st.Header) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", st.Header, want)
	}
	if date, err := http.ParseTime(st.Header.Get("Date")); err != nil || date.Before(before) || date.After(time.Now()) {
		t.Error(date, err)
	}
	// As it is on the wire; net/http's client keeps what concerns the connection to itself.
	conn := srv.Conn(t)
	_, _ = io.WriteString(conn, "GET /sse?date HTTP/1.1\r\nHost: x\r\n\r\n")
	head := bufio.NewReader(conn)
	var connection, date []string
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = head.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		switch name, value, _ := strings.Cut(line, ":"); strings.ToLower(name) {
		case "connection":
			connection = append(connection, value)
		case "date":
			date = append(date, value)
		}
	}
	if fmt.Sprintf("%q%q", connection, date) != `[" close\r\n"][" mine\r\n"]` {
		t.Errorf("Connection: %q, Date: %q", connection, date)
	}
}

// HTTP/1.0 knows no chunks, and a stream that ends with the connection.
func TestAnHTTP10ClientGetsAHijackedStream(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack())
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	conn := srv.Conn(t)
	_, _ = io.WriteString(conn, "GET /sse HTTP/1.0\r\n\r\n")
	hub.Count(t, 1)
	hub.Broadcast([]byte("1"))
	go hub.Stop()
	all, err := io.ReadAll(conn)
	if head, events, _ := strings.Cut(string(all), "\r\n\r\n"); events != ":\n\ndata: 1\n\n" || !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
		t.Errorf("%q, %v", all, err)
	}
	_ = conn.Close()
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
		t.Error(err)
	}
}

// Events arrive whole and in order: bursts of small ones, and ones that the socket takes a piece at a time.
func TestEventsOfHijackedStreamsArriveWholeAndInOrder(t *testing.T) {
	for name, size := range map[string]int{"small": 0, "large": 100_000} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send([]byte("hello")) }))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow})
			var streams []*wstest.Stream
			for range 10 {
				streams = append(streams, srv.Stream(t))
			}
			hub.Count(t, 10)
			for _, st := range streams {
				st.Expect(t, "hello")
			}
			const bursts, burst = 20, 64
			for i := range bursts {
				text := func(j int) string { return fmt.Sprint(i, "/", j, strings.Repeat("x", size/burst*(j%3))) }
				for j := range burst {
					hub.Broadcast([]byte(text(j)))
				}
				for _, st := range streams {
					for j := range burst {
						st.Expect(t, text(j))
					}
				}
			}
			for _, st := range streams {
				if !st.IsHijacked() {
					t.Error("not hijacked")
				}
			}
		})
	}
}

// A client that does not read delays nobody, and gets what was within its buffer when it reads again.
func TestAStalledHijackedStreamDelaysNobodyAndGetsEverythingWithinItsBuffer(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack())
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow})
	stalled := srv.Ask(t, "GET", "/sse")
	hub.Count(t, 1)
	st := srv.Stream(t)
	hub.Count(t, 2)
	const n = 200 // of 256
	for i := range n {
		hub.Broadcast([]byte(block(i)))
		st.Expect(t, block(i))
	}
	for i := range n {
		if got := stalled.Event(t); got != block(i) {
			t.Fatalf("event %d is %.80q", i, got)
		}
	}
}

// It is cut when it has taken nothing for the write wait of 10 s.
func TestAStalledHijackedStreamIsCutAfterTheWriteWait(t *testing.T) {
	if testing.Short() {
		t.Skip("the write wait of 10 s")
	}
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow})
	srv.Ask(t, "GET", "/sse")
	hub.Count(t, 1)
	st := srv.Stream(t)
	hub.Count(t, 2)
	start := time.Now()
	for i := range 1000 {
		hub.Broadcast([]byte(block(i)))
		st.Expect(t, block(i))
	}
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(start); took < wskit.DefaultWriteWait*9/10 {
		t.Error("cut after", took)
	}
	if wstest.Receive(t, "OnDisconnect", gone).Send(nil) {
		t.Error("Send on a closed client: true")
	}
	hub.Count(t, 1)
	hub.Broadcast([]byte("last"))
	st.Expect(t, "last")
}

// A stalled stream does not stall a shutdown, and its handler is not left behind.
func TestAStalledHijackedStreamDoesNotStallAShutdown(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithDrainTimeout(300*time.Millisecond))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow})
	srv.Ask(t, "GET", "/sse")
	hub.Count(t, 1)
	for i := range 500 {
		hub.Broadcast([]byte(block(i)))
	}
	wstest.Quickly(t, "the shutdown", 3*time.Second, func() { hub.Halt(t) })
	start := time.Now()
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("the handler stayed for %v after Run had returned", took)
	}
}

// When the client leaves, closes the half it writes to, or resets the connection, AcceptSSE returns context.Canceled. net/http
// does not end r.Context() of a connection that was taken over; when the handler returns it does.
func TestAcceptSSEReturnsCanceledWhenTheClientOfAHijackedStreamLeft(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"close":      func(c *net.TCPConn) { _ = c.Close() },
		"half close": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"reset":      func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan wskit.Subscriber, 9)
			hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Stream: func(w http.ResponseWriter, r *http.Request) error {
				err := wskit.AcceptSSE(w, r, hub.Hub)
				if r.Context().Err() != nil {
					t.Error("r.Context() has ended before the handler has")
				}
				return err
			}})
			client := srv.Ask(t, "GET", "/sse")
			hub.Count(t, 1)
			hub.Broadcast([]byte("1"))
			if got := client.Event(t); got != "1" {
				t.Error(got)
			}
			leave(client.Conn.(*net.TCPConn))
			if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != context.Canceled {
				t.Error(err)
			}
			if wstest.Receive(t, "OnDisconnect", gone).Send(nil) {
				t.Error("Send on a closed client: true")
			}
			hub.Count(t, 0)
			if _, err := io.Copy(io.Discard, client.In); name == "half close" && err != nil {
				t.Error(err)
			}
		})
	}
}

// When r.Context() ends for another reason, the stream ends and AcceptSSE returns its error.
func TestAHijackedStreamEndsWithItsContext(t *testing.T) {
	base, end := context.WithCancel(context.Background())
	defer end()
	hub := wstest.Run(t, wskit.WithSSEHijack())
	for want, how := range map[error]wstest.Serving{
		context.DeadlineExceeded: {Stream: func(w http.ResponseWriter, r *http.Request) error { // a middleware's
			ctx, cancel := context.WithTimeout(r.Context(), time.Second)
			defer cancel()
			return wskit.AcceptSSE(w, r.WithContext(ctx), hub.Hub)
		}},
		context.Canceled: {Setup: func(s *httptest.Server) { // the server's
			s.Config.BaseContext = func(net.Listener) context.Context { return base }
		}},
	} {
		srv := wstest.Serve(t, hub.Hub, how)
		st := srv.Stream(t)
		hub.Count(t, 1)
		hub.Broadcast([]byte("1"))
		st.Expect(t, "1")
		if want == context.Canceled {
			end()
		}
		if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != want {
			t.Error(err)
		}
		if _, more := <-st.Events; more || !st.IsHijacked() {
			t.Error("the stream goes on, or was not hijacked")
		}
		hub.Count(t, 0)
	}
}

// AcceptSSE returns nil when the hub closed the stream, by Unregister, by the client's Close, by its end; what is queued is
// written first, and the connection ends with a FIN, though the client has sent what nobody wants.
func TestTheHubEndsAHijackedStreamInGoodOrder(t *testing.T) {
	joined := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithOnConnect(func(s wskit.Subscriber) { joined <- s }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow})
	for _, end := range []func(wskit.Subscriber){
		func(s wskit.Subscriber) { hub.Unregister(s) },
		func(s wskit.Subscriber) { s.Close(); s.Close() },
		func(s wskit.Subscriber) { hub.Stop() },
	} {
		client := srv.Ask(t, "GET", "/sse")
		s := wstest.Receive(t, "OnConnect", joined)
		hub.Count(t, 1)
		const n = 50
		for i := range n {
			s.Send([]byte(block(i)))
		}
		end(s)
		for i := range n {
			client.Put(t, make([]byte, 100))
			if got := client.Event(t); got != block(i) {
				t.Fatalf("event %d is %.80q", i, got)
			}
		}
		client.Put(t, make([]byte, 100))
		if rest, err := io.ReadAll(client.In); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
		_ = client.Close()
		if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
			t.Error(err)
		}
		if s.Send([]byte("late")) {
			t.Error("Send on a closed client: true")
		}
		hub.Count(t, 0)
	}
}

// A client that does not close its end of a stream that has ended keeps the handler for a moment only.
func TestAClientThatStaysAfterTheEndKeepsNoHandler(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack())
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	srv.Ask(t, "GET", "/sse")
	hub.Count(t, 1)
	wstest.Quickly(t, "Run returns", time.Second, func() { hub.Halt(t) })
	wstest.Quickly(t, "AcceptSSE returns", 3*time.Second, func() {
		if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
			t.Error(err)
		}
	})
}

// A client that sends more than 64 KB is cut off.
func TestAClientOfAHijackedStreamThatTalksIsCutOff(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack())
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	client := srv.Ask(t, "GET", "/sse")
	hub.Count(t, 1)
	client.Put(t, make([]byte, 32<<10))
	hub.Broadcast([]byte("still there"))
	if got := client.Event(t); got != "still there" {
		t.Error(got)
	}
	for range 1000 {
		if _, err := client.Write(make([]byte, 1<<10)); err != nil {
			break
		}
	}
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err == nil || !strings.Contains(err.Error(), "64 KB") {
		t.Error(err)
	}
	hub.Count(t, 0)
}

// What cannot be taken over is streamed through net/http as ever.
func TestWhatCannotBeHijackedIsStreamedThroughNetHTTP(t *testing.T) {
	set := func(name, value string) func(http.ResponseWriter) http.ResponseWriter {
		return func(w http.ResponseWriter) http.ResponseWriter { w.Header().Set(name, value); return w }
	}
	for name, how := range map[string]wstest.Serving{
		"a wrapper with Unwrap only": {Wrap: func(w http.ResponseWriter) http.ResponseWriter { return &unwrapper{w} }},
		"Content-Encoding":           {Wrap: set("Content-Encoding", "identity")},
		"Hijack fails":               {Wrap: func(w http.ResponseWriter) http.ResponseWriter { return &refusing{w} }},
		"TLS":                        {Kind: wstest.TLS},
		"HTTP/2":                     {Kind: wstest.HTTP2},
	} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithSSEHijack())
			srv := wstest.Serve(t, hub.Hub, how)
			st := srv.Stream(t)
			if st.IsHijacked() || st.StatusCode != http.StatusOK || st.Header.Get("Content-Type") != "text/event-stream" {
				t.Error(st.Status, st.TransferEncoding, st.Header)
			}
			if two := name == "HTTP/2"; two != (st.ProtoMajor == 2) {
				t.Error(st.Proto)
			}
			hub.Count(t, 1)
			hub.Broadcast([]byte("1"))
			st.Expect(t, "1")
			st.End()
			if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != context.Canceled {
				t.Error(err)
			}
			hub.Count(t, 0)
		})
	}
	t.Run("a body", func(t *testing.T) {
		hub := wstest.Run(t, wskit.WithSSEHijack())
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
		conn := srv.Conn(t)
		_, _ = io.WriteString(conn, "POST /sse HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Close {
			t.Fatal(resp, err)
		}
		hub.Count(t, 1)
		hub.Broadcast([]byte("1"))
		body := make([]byte, len(":\n\ndata: 1\n\n"))
		if _, err := io.ReadFull(resp.Body, body); string(body) != ":\n\ndata: 1\n\n" {
			t.Errorf("%q, %v", body, err)
		}
		_ = conn.Close()
		_ = wstest.Receive(t, "AcceptSSE returns", srv.Streamed)
		hub.Count(t, 0)
	})
}

// refusing is a writer of a middleware that does not let connections go.
type refusing struct{ http.ResponseWriter }

func (r *refusing) Flush() { r.ResponseWriter.(http.Flusher).Flush() }
func (r *refusing) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return nil, nil, http.ErrNotSupported
}

// Who is refused is answered by net/http.
func TestARefusalIsNotHijacked(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithMaxSubscribers(1))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	srv.Stream(t)
	hub.Count(t, 1)
	check := func(want error, status int) {
		t.Helper()
		st := srv.Stream(t)
		if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, want) || st.StatusCode != status {
			t.Error(err, st.Status)
		}
		if st.Close {
			t.Error(st.Header)
		}
	}
	check(wskit.ErrTooManySubscribers, 200)
	hub.Halt(t)
	_ = wstest.Receive(t, "AcceptSSE of the first returns", srv.Streamed)
	check(wskit.ErrHubStopped, 503)

	full := wstest.Idle(t, wskit.WithSSEHijack(), wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(wstest.Hush)) // nobody takes it before Run
	srv = wstest.Serve(t, full.Hub, wstest.Serving{})
	check(wskit.ErrTimeout, 200)
	full.Start(t)
}

// net/http counts the connection as hijacked: Server.Shutdown does not wait for it, and Server.Close does not close it.
func TestAServerForgetsAHijackedStream(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack())
	states := &wstest.Journal{}
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Setup: func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) { states.Note("%v", state) }
	}})
	st := srv.Stream(t)
	hub.Count(t, 1)
	states.Expect(t, "new", "active", "hijacked")
	wstest.Quickly(t, "Server.Shutdown", time.Second, func() {
		if err := srv.Config.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	_ = srv.Config.Close()
	hub.Broadcast([]byte("still there"))
	st.Expect(t, "still there")
	hub.Halt(t)
	if _, more := <-st.Events; more {
		t.Error("the stream goes on")
	}
}

// Nor do a server's timeouts end it.
func TestAServersTimeoutsDoNotEndAHijackedStream(t *testing.T) {
	const limit = 50 * time.Millisecond
	hub := wstest.Run(t, wskit.WithSSEHijack())
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Setup: func(s *httptest.Server) {
		s.Config.ReadTimeout, s.Config.WriteTimeout, s.Config.IdleTimeout = limit, limit, limit
	}})
	st := srv.Stream(t)
	hub.Count(t, 1)
	if wstest.Poll(3*limit, func() bool { return len(srv.Streamed) > 0 }) {
		t.Fatal("the stream ended:", <-srv.Streamed)
	}
	hub.Broadcast([]byte("after the timeouts"))
	st.Expect(t, "after the timeouts")
}

// A crash of its actor ends a stream, and it alone. What was being handled is lost; the connection is not left open.
func TestACrashOfAHijackedStreamsActorEndsItAlone(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack())
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	st := srv.Stream(t)
	hub.Count(t, 1)
	pid := wstest.One(t, hub.Hub, "sse-")
	other := srv.Stream(t)
	hub.Count(t, 2)
	wstest.Crash(pid, "test")
	if _, more := <-st.Events; more {
		t.Error("the stream goes on")
	}
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
		t.Error(err)
	}
	hub.Count(t, 1)
	hub.Broadcast([]byte("1"))
	other.Expect(t, "1")
}

// A panic of a middleware's writer is net/http's to recover, as it is for any handler; the stream has ended, its place is
// free, and its connection closed.
func TestAPanicWhileAStreamIsHijackedLeavesNothingBehind(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithMaxSubscribers(1))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Stream: func(w http.ResponseWriter, r *http.Request) (err error) {
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("recovered: %v", v)
			}
		}()
		return wskit.AcceptSSE(&careless{w}, r, hub.Hub)
	}})
	for range 3 {
		var conn net.Conn
		var err error
		wstest.Eventually(t, "there is a place", func() bool { // as soon as the registry has seen that the one before has ended
			conn = srv.Conn(t)
			_, _ = io.WriteString(conn, "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n")
			err = wstest.Receive(t, "the handler returns", srv.Streamed)
			return !errors.Is(err, wskit.ErrTooManySubscribers)
		})
		if err == nil || !strings.Contains(err.Error(), "panic") {
			t.Error(err)
		}
		if b, err := io.ReadAll(conn); len(b) > 0 || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		hub.Count(t, 0)
		wstest.Eventually(t, "its actor is gone", func() bool { return len(wstest.Tree(t, hub.Hub)) == 4 })
	}
}

// careless takes the connection and loses the buffers.
type careless struct{ http.ResponseWriter }

func (c *careless) Flush() {}
func (c *careless) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, _, err := c.ResponseWriter.(http.Hijacker).Hijack()
	return conn, nil, err
}

// 1000 streams come, get a message and leave, or are left: no goroutine, actor or descriptor stays.
func TestAThousandHijackedStreamsComeAndGo(t *testing.T) {
	hub := wstest.Run(t, wskit.WithSSEHijack(), wskit.WithRegisterBuf(1000))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	before := descriptors()
	const waves, width = 5, 200
	for wave := range waves {
		var all sync.WaitGroup
		var got atomic.Int64
		leave := make(chan struct{})
		for i := range width {
			all.Go(func() {
				conn, err := net.Dial("tcp", srv.Host())
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(wstest.Patience))
				_, _ = io.WriteString(conn, "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n")
				br := bufio.NewReader(conn)
				for line := ""; err == nil && line != "data: x\n"; {
					line, err = br.ReadString('\n')
				}
				if err != nil {
					t.Error(err)
				}
				got.Add(1)
				<-leave
				if i%2 == 0 {
					_, _ = io.Copy(io.Discard, br) // until the hub closes it
				}
			})
		}
		hub.Count(t, width)
		hub.Broadcast([]byte("x"))
		wstest.Eventually(t, "all have it", func() bool { return got.Load() == width })
		close(leave)
		hub.Count(t, width/2)
		if wave == waves-1 {
			hub.Halt(t)
		} else {
			crashStreams(t, hub)
		}
		wstest.Receive(t, "all have ended", wstest.Begin(all.Wait))
		for range width {
			_ = wstest.Receive(t, "AcceptSSE returns", srv.Streamed)
		}
	}
	wstest.Eventually(t, "the descriptors are closed", func() bool { return descriptors() <= before })
}

// crashStreams crashes the actor of each stream that is left.
func crashStreams(t testing.TB, hub *wstest.Hub) {
	t.Helper()
	for _, pid := range wstest.Children(t, hub.Hub, "sse-") {
		wstest.Crash(pid, "test")
	}
	hub.Count(t, 0)
}

// descriptors is how many files and sockets this process has open.
func descriptors() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}
