package sseactor_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest/wire"
	"github.com/wskit/wskit/sseactor"
)

// owner is a ResponseWriter that parts with its connection.
type owner struct {
	*httptest.ResponseRecorder
	conn net.Conn
	fail func() error // instead, if not nil
	rw   *bufio.ReadWriter
}

func (o *owner) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if o.fail != nil {
		return nil, nil, o.fail()
	}
	o.rw = bufio.NewReadWriter(bufio.NewReader(o.conn), bufio.NewWriter(o.conn))
	return o.conn, o.rw, nil
}

func own(conn net.Conn) *owner { return &owner{ResponseRecorder: httptest.NewRecorder(), conn: conn} }

// tcp is both ends of a connection whose buffers are small.
func tcp(t *testing.T) (server, client *net.TCPConn) {
	t.Helper()
	server, client = wire.Pair(t, 4<<10)
	_ = client.SetDeadline(time.Now().Add(patience))
	return server, client
}

const patience = time.Minute

const big = 2 << 20 // bytes, more than the buffers in between hold

// taken is a stream that has its connection.
type taken struct {
	*sseactor.Stream
	result <-chan error
}

// take has a new stream of 8 messages, with its actor, take conn over and serves it.
func take(t *testing.T, ctx context.Context, conn net.Conn, wait time.Duration) *taken {
	t.Helper()
	s := claimed(8, wait)
	spawn(s)
	w := own(conn)
	h := s.Hijack(context.Background(), w, request(ctx))
	if h == nil {
		t.Fatal("not taken over")
	}
	_, whose := conn.(*net.TCPConn) // of another it is not known: it may go through them
	if n := w.rw.Reader.Size() + w.rw.Writer.Size(); whose && n != 0 {
		t.Errorf("%d bytes of buffers stay as long as the handler", n)
	}
	return &taken{s, serving(h)}
}

func request(ctx context.Context) *http.Request {
	return httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
}

func serving(h *sseactor.Hijacked) <-chan error {
	result := make(chan error, 1)
	go func() { result <- h.Serve() }()
	return result
}

func (s *taken) returns(t *testing.T, want error) {
	t.Helper()
	select {
	case err := <-s.result:
		if !errors.Is(err, want) {
			t.Errorf("Serve returns %v, want %v", err, want)
		}
	case <-time.After(patience):
		t.Fatal("Serve does not return")
	}
}

// close has the stream drain and end, whatever time that takes.
func (s *taken) close() { s.closeBy(time.Now().Add(time.Hour)) }

func (s *taken) closeBy(deadline time.Time) {
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown, Deadline: deadline})
}

// body reads the head and what comes until the end of the connection.
func body(t *testing.T, client net.Conn) string {
	t.Helper()
	br := bufio.NewReader(client)
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = br.ReadString('\n'); err != nil {
			t.Fatal("head:", err)
		}
	}
	b, err := io.ReadAll(br)
	if err != nil {
		t.Error("body:", err)
	}
	events, ok := strings.CutPrefix(string(b), first)
	if !ok {
		t.Errorf("the body begins with %.20q", b)
	}
	return events
}

func TestATakenOverStreamWritesWhatIsQueuedAndEndsWithNilWhenItIsClosed(t *testing.T) {
	server, client := tcp(t)
	s := take(t, t.Context(), server, time.Hour)
	send(t, s.Stream, "one")
	send(t, s.Stream, "two\nlines")
	s.close()
	if got, want := body(t, client), "data: one\n\ndata: two\ndata: lines\n\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	_ = client.Close()
	s.returns(t, nil)
}

func TestTheFirstByteGoesOutInOneWriteWithTheHead(t *testing.T) {
	server, client := net.Pipe() // each Write is a Read of its own
	s := take(t, t.Context(), server, time.Hour)
	b := make([]byte, 4096)
	n, err := client.Read(b)
	if got := string(b[:n]); err != nil || !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(got, "\r\n\r\n"+first) {
		t.Errorf("%q, %v", got, err)
	}
	_ = client.Close()
	s.returns(t, context.Canceled)
}

// A framework answers an error that a handler returns, unless its writer knows that there was an answer.
func TestAFrameworksWriterIsToldThatTheRequestIsAnswered(t *testing.T) {
	type echo struct {
		*owner
		Committed bool
	}
	type deep struct{ *echo }
	type unlike struct {
		*owner
		Committed int
	}
	for _, c := range []struct {
		w    http.ResponseWriter
		told func(http.ResponseWriter) bool
	}{
		{&echo{}, func(w http.ResponseWriter) bool { return w.(*echo).Committed }},
		{&deep{&echo{}}, func(w http.ResponseWriter) bool { return !w.(*deep).Committed }}, // not its own
		{&unlike{}, func(w http.ResponseWriter) bool { return w.(*unlike).Committed == 0 }},
		{echo{}, func(w http.ResponseWriter) bool { return true }},
	} {
		server, client := tcp(t)
		switch w := c.w.(type) {
		case *echo:
			w.owner = own(server)
		case *deep:
			w.echo.owner = own(server)
		case *unlike:
			w.owner = own(server)
		case echo:
			w.owner = own(server)
			c.w = w
		}
		s := claimed(8, time.Hour)
		spawn(s)
		result := &taken{s, serving(s.Hijack(context.Background(), c.w, request(t.Context())))}
		if !c.told(c.w) {
			t.Errorf("%+v", c.w)
		}
		_ = client.Close()
		result.returns(t, context.Canceled)
	}
}

// A connection that is closed while input is unread is reset, and the last events with it.
func TestTheLastEventsOfATakenOverStreamReachAClientThatTalks(t *testing.T) {
	server, client := tcp(t)
	s := take(t, t.Context(), server, time.Hour)
	const n = 8
	for i := range n {
		_, _ = client.Write(make([]byte, 1000))
		send(t, s.Stream, fmt.Sprint(i, strings.Repeat("x", 8<<10)))
	}
	s.close()
	br := bufio.NewReader(client)
	for events := 0; ; {
		line, err := br.ReadString('\n')
		if strings.HasPrefix(line, "data: ") {
			events++
			_, _ = client.Write(make([]byte, 1000)) // after the FIN too
		}
		if err == io.EOF && events == n {
			break
		}
		if err != nil {
			t.Fatalf("after %d events: %v", events, err)
		}
	}
	_ = client.Close()
	s.returns(t, nil)
}

func TestASilentTakenOverStreamCarriesACommentAndOnlyThen(t *testing.T) {
	idlePool(t)
	synctest.Test(t, func(t *testing.T) {
		server, client := net.Pipe() // which belongs to the bubble, and whose writes always wait for the reader
		var mu sync.Mutex
		var got bytes.Buffer
		go func() {
			b := make([]byte, 100)
			for {
				n, err := client.Read(b)
				mu.Lock()
				got.Write(b[:n])
				mu.Unlock()
				if err != nil {
					return
				}
			}
		}()
		text := func() string { // behind the head and the first byte
			mu.Lock()
			defer mu.Unlock()
			_, text, _ := strings.Cut(got.String(), "\r\n\r\n"+first)
			return text
		}
		s := take(t, context.Background(), server, 10*time.Second)
		synctest.Wait()
		for range 3 {
			time.Sleep(sseactor.KeepAlive - time.Second)
			send(t, s.Stream, "x")
			synctest.Wait()
		}
		if strings.Contains(text(), "\n:\n") {
			t.Errorf("a comment on a stream that was not silent: %q", text())
		}
		time.Sleep(2*sseactor.KeepAlive + time.Second)
		synctest.Wait()
		if n := strings.Count(text(), "\n:\n\n:\n\n"); n != 1 || strings.Count(text(), ":\n\n") != 2 {
			t.Errorf("comments in twice the time: %q", text())
		}
		s.close()
		s.returns(t, nil)
		time.Sleep(time.Hour) // no timer is left that would write
	})
}

func TestACommentIsNoPartOfAnEventAndIsSubjectToTheWriteWait(t *testing.T) {
	idlePool(t)
	synctest.Test(t, func(t *testing.T) {
		const wait = 4 * sseactor.KeepAlive
		server, client := net.Pipe()
		s := take(t, context.Background(), server, wait)
		br := bufio.NewReader(client)
		for line := ""; line != "\r\n"; {
			line, _ = br.ReadString('\n')
		}
		send(t, s.Stream, "1")
		event := make([]byte, len("data: 1\n\n"))
		_, _ = io.ReadFull(client, event[:3])
		time.Sleep(3*sseactor.KeepAlive + time.Second)
		if _, err := io.ReadFull(client, event[3:]); err != nil || string(event) != "data: 1\n\n" {
			t.Errorf("%q, %v", event, err)
		}
		_ = client.SetReadDeadline(time.Now().Add(time.Second))
		if n, err := client.Read(event); n > 0 {
			t.Errorf("right behind the event comes %q, %v", event[:n], err)
		}
		start := time.Now() // from now on it does not read
		if err := <-s.result; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(start); took < wait || took > wait+sseactor.KeepAlive {
			t.Error(took)
		}
	})
}

// idlePool waits until no worker of the pool is at the end of its work for another test, or a bubble's work could be done outside of it.

func idlePool(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(patience); time.Now().Before(end); <-look.C {
		if n := runtime.Stack(stacks, true); !bytes.Contains(stacks[:n], []byte("actors.(*Pool).work")) && !bytes.Contains(stacks[:n], []byte("actors.(*Elastic).work")) {
			return
		}
	}
	t.Fatal("the pool is not idle")
}

// settle lets the actors of streams handle what they have been sent.
func settle() {
	pools := actors.SharedPools()
	for range 2 { // what the one has done the other may have to follow
		pools.Streams().Settle()
		pools.Connections.Settle()
	}
}

func TestWhatCameBeforeAConnectionWasTakenOverFollowsTheHead(t *testing.T) {
	server, client := tcp(t)
	s := claimed(8, time.Hour)
	spawn(s)
	send(t, s, "early")
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown})
	settle() // which would be enough for it to end
	h := s.Hijack(context.Background(), own(server), request(t.Context()))
	result := &taken{s, serving(h)}
	if got := body(t, client); got != "data: early\n\n" {
		t.Errorf("%q", got)
	}
	_ = client.Close()
	result.returns(t, nil)
}

type plain struct{ net.Conn }

func TestAStreamTakesOverAConnectionOfAnyKind(t *testing.T) {
	server, client := tcp(t)
	s := take(t, t.Context(), plain{server}, time.Hour)
	go func() {
		for i := range 1000 {
			for s.Outbox().UserMessageCount() > 4 { // there is room for 8
				runtime.Gosched()
			}
			if err := s.Outbox().Send(actors.NewFrame(fmt.Append(nil, i))); err != nil {
				t.Error(i, err)
			}
		}
		s.close()
	}()
	var want strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&want, "data: %d\n\n", i)
	}
	if got := body(t, client); got != want.String() {
		t.Errorf("%d bytes: %.300q", len(got), got)
	}
	s.returns(t, nil)
}

func TestAWriterThatDoesNotPartWithItsConnectionIsLeftAlone(t *testing.T) {
	get := func() *http.Request { return request(t.Context()) }
	with := func(set func(*http.Request)) *http.Request { r := get(); set(r); return r }
	headed := func(name string) *owner { o := own(nil); o.Header().Set(name, "x"); return o }
	for name, c := range map[string]struct {
		w http.ResponseWriter
		r *http.Request
	}{
		"no Hijacker":       {httptest.NewRecorder(), get()},
		"behind a wrapper":  {wrapper{own(nil)}, get()},
		"HTTP/2":            {own(nil), with(func(r *http.Request) { r.ProtoMajor = 2 })},
		"TLS":               {own(nil), httptest.NewRequest(http.MethodGet, "https://x/", nil)},
		"HEAD":              {own(nil), with(func(r *http.Request) { r.Method = http.MethodHead })},
		"a request's body":  {own(nil), with(func(r *http.Request) { r.ContentLength = 1 })},
		"chunked request":   {own(nil), with(func(r *http.Request) { r.ContentLength = -1 })},
		"Content-Encoding":  {headed("Content-Encoding"), get()},
		"Content-Length":    {headed("Content-Length"), get()},
		"Trailer":           {headed("Trailer"), get()},
		"Transfer-Encoding": {headed("Transfer-Encoding"), get()},
		"Hijack fails":      {&owner{ResponseRecorder: httptest.NewRecorder(), fail: func() error { return http.ErrNotSupported }}, get()},
	} {
		s := claimed(8, time.Second)
		if h := s.Hijack(context.Background(), c.w, c.r); h != nil {
			t.Errorf("%s: taken over", name)
		}
		if r := s.Outbox().Reason(); r != actors.ReasonNone {
			t.Errorf("%s: the stream has ended: %v", name, r)
		}
	}
}
