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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
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
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if server, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	_ = server.SetWriteBuffer(4 << 10)
	_ = client.SetReadBuffer(4 << 10)
	_ = client.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _, _ = server.Close(), client.Close() })
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
	s := sseactor.NewServed(8)
	spawn(s)
	w := own(conn)
	h := s.Hijack(context.Background(), w, request(ctx), wait)
	if h == nil {
		t.Fatal("not taken over")
	}
	if n := w.rw.Reader.Size() + w.rw.Writer.Size(); n != 0 {
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
	return string(b)
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

func TestATakenOverStreamWaitsForNoClientThatStaysAfterTheEnd(t *testing.T) {
	server, client := tcp(t)
	s := take(t, t.Context(), server, time.Hour)
	s.close()
	_ = body(t, client)
	s.returns(t, nil) // though client is open
	if _, err := server.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Error("the connection is still there:", err)
	}
}

// A client leaves by closing, by closing the half it writes to, or by a reset.
func TestATakenOverStreamEndsWithCanceledWhenTheClientLeaves(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"close":      func(c *net.TCPConn) { _ = c.Close() },
		"half close": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"reset":      func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := tcp(t)
			s := take(t, t.Context(), server, time.Hour)
			leave(client)
			s.returns(t, context.Canceled)
			if got := s.Outbox().Reason(); got != actors.ReasonPeer {
				t.Errorf("reason %v", got)
			}
			if err := s.Outbox().Send(actors.NewFrame(nil)); !errors.Is(err, actors.ErrHubStopped) {
				t.Error("Send afterwards:", err)
			}
		})
	}
}

// Whichever of the two notices first: a write to a client that is gone says no more than its absence.
func TestAWriteToAClientThatLeftIsNoOtherErrorThanItsLeaving(t *testing.T) {
	for range 100 {
		server, client := tcp(t)
		s := take(t, t.Context(), server, time.Hour)
		_ = client.SetLinger(0)
		var sender sync.WaitGroup
		sender.Go(func() {
			for s.Outbox().Send(actors.NewFrame([]byte("x"))) != actors.ErrHubStopped {
				runtime.Gosched()
			}
		})
		_ = client.Close()
		s.returns(t, context.Canceled)
		sender.Wait()
	}
}

func TestATakenOverStreamEndsWithTheContext(t *testing.T) {
	for _, stalled := range []bool{false, true} {
		server, client := tcp(t)
		cause, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
		s := take(t, cause, server, time.Hour)
		if stalled {
			send(t, s.Stream, strings.Repeat("x", big))
		}
		if !stalled {
			_ = body(t, client) // ends without an error
			_ = client.Close()
		}
		s.returns(t, context.DeadlineExceeded)
		end()
	}
}

// A client that has stopped reading is cut after the write wait; frames wait for it meanwhile, within the bound.
func TestATakenOverStreamWhoseClientDoesNotReadIsCutAfterTheWriteWait(t *testing.T) {
	const wait = 200 * time.Millisecond
	server, _ := tcp(t)
	s := take(t, t.Context(), server, wait)
	start := time.Now()
	send(t, s.Stream, strings.Repeat("x", big))
	for !s.Outbox().Drained() { // until it is being written
		runtime.Gosched()
	}
	for range 8 {
		send(t, s.Stream, "waits")
	}
	if err := s.Outbox().Send(actors.NewFrame(nil)); !errors.Is(err, actors.ErrSendBufferFull) {
		t.Error("one too many:", err)
	}
	s.returns(t, os.ErrDeadlineExceeded)
	if took := time.Since(start); took < wait {
		t.Errorf("after %v", took)
	}
	if got := s.Outbox().Reason(); got != actors.ReasonWrite {
		t.Errorf("reason %v", got)
	}
}

func TestATakenOverStreamWhoseClientDoesNotReadCannotOutlastADeadlineOrAnAbort(t *testing.T) {
	for name, end := range map[string]func(*taken){
		"deadline": func(s *taken) { s.closeBy(time.Now().Add(50 * time.Millisecond)) },
		"abort":    func(s *taken) { s.Outbox().Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			server, client := tcp(t)
			s := take(t, t.Context(), server, time.Hour)
			send(t, s.Stream, strings.Repeat("x", big))
			for !s.Outbox().Drained() {
				runtime.Gosched()
			}
			start := time.Now()
			end(s)
			s.returns(t, os.ErrDeadlineExceeded)
			if took := time.Since(start); took > 900*time.Millisecond {
				t.Errorf("it took %v: there is nobody to wait for", took)
			}
			if _, err := io.Copy(io.Discard, client); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
		})
	}
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
		text := func() string { mu.Lock(); defer mu.Unlock(); return got.String() }
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

// A comment does not come between the parts of an event that is being written, nor is one sent for a stream that is not
// silent; a silent client that reads nothing at all is cut when a comment has had the write wait.
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

// The head is no exception: the end waits until it has been written.
func TestTheEndOfATakenOverStreamWaitsForTheHead(t *testing.T) {
	server, client := net.Pipe()
	s := take(t, t.Context(), server, time.Hour)
	s.close()
	time.Sleep(10 * time.Millisecond) // which would be enough for the end
	if got := body(t, client); got != "" {
		t.Errorf("%q", got)
	}
	s.returns(t, nil)
}

// watched is a context that counts who watches it.
type watched struct {
	context.Context
	n atomic.Int32
}

func (w *watched) Done() <-chan struct{} { return make(chan struct{}) }
func (w *watched) AfterFunc(func()) func() bool {
	w.n.Add(1)
	return func() bool { w.n.Add(-1); return true }
}

// A stream that has ended leaves no watch and no timer behind, also one without an actor.
func TestATakenOverStreamLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, ctx := &watched{Context: context.Background()}, &watched{Context: context.Background()}
		server, client := net.Pipe()
		go func() { _, _ = io.CopyN(io.Discard, client, 10); _ = client.Close() }()
		s := sseactor.NewServed(8)
		h := s.Hijack(life, own(server), request(ctx), time.Hour)
		if life.n.Load() != 1 || ctx.n.Load() != 1 {
			t.Error("watched by", life.n.Load(), ctx.n.Load())
		}
		if err := h.Serve(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if life.n.Load() != 0 || ctx.n.Load() != 0 {
			t.Error("still watched by", life.n.Load(), ctx.n.Load())
		}
		synctest.Wait()
		queued := s.Outbox().UserMessageCount()
		time.Sleep(time.Hour)
		if n := s.Outbox().UserMessageCount() - queued; n > 0 {
			t.Error(n, "messages by timers afterwards")
		}
	})
}

// idlePool waits until no worker of the pool is at the end of its work for another test, or a bubble's work could be done
// outside of it.
func idlePool(t *testing.T) {
	t.Helper()
	stacks := make([]byte, 1<<20)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if n := runtime.Stack(stacks, true); !bytes.Contains(stacks[:n], []byte("actors.(*Pool).work")) {
			return
		}
	}
	t.Fatal("the pool is not idle")
}

func TestAClientOfATakenOverStreamMaySend64KBAndNoMore(t *testing.T) {
	const limit = 64 << 10
	server, client := tcp(t)
	s := take(t, t.Context(), server, time.Hour)
	_, _ = client.Write(make([]byte, limit))
	send(t, s.Stream, "still there")
	br := bufio.NewReader(client)
	for line := ""; !strings.HasPrefix(line, "data: "); {
		var err error
		if line, err = br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-s.result:
		t.Fatal("at the limit:", err)
	case <-time.After(50 * time.Millisecond):
	}
	_, _ = client.Write([]byte{0})
	if err := <-s.result; err == nil || errors.Is(err, context.Canceled) {
		t.Error("beyond the limit:", err)
	}
	if _, err := io.Copy(io.Discard, br); err != nil {
		t.Error(err)
	}
}

// An actor that never was cannot end a stream: the hub's end does, and the client's leaving.
func TestATakenOverStreamThatNobodyAdoptedEnds(t *testing.T) {
	for _, hubEnds := range []bool{true, false} {
		server, client := tcp(t)
		life, end := context.WithCancel(context.Background())
		s := sseactor.NewServed(8)
		h := s.Hijack(life, own(server), request(t.Context()), time.Hour)
		result := &taken{s, serving(h)}
		if hubEnds {
			end()
			_ = body(t, client)
			_ = client.Close()
			result.returns(t, nil)
		} else {
			_ = client.Close()
			result.returns(t, context.Canceled)
		}
		end()
		if err := s.Outbox().Send(actors.NewFrame(nil)); !errors.Is(err, actors.ErrHubStopped) {
			t.Error(err)
		}
	}
}

// What was accepted before the actor runs, and a Close, wait for the head.
func TestWhatCameBeforeAConnectionWasTakenOverFollowsTheHead(t *testing.T) {
	server, client := tcp(t)
	s := sseactor.NewServed(8)
	spawn(s)
	send(t, s, "early")
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown})
	time.Sleep(10 * time.Millisecond) // which would be enough for it to end
	h := s.Hijack(context.Background(), own(server), request(t.Context()), time.Hour)
	result := &taken{s, serving(h)}
	if got := body(t, client); got != "data: early\n\n" {
		t.Errorf("%q", got)
	}
	_ = client.Close()
	result.returns(t, nil)
}

// plain hides all but net.Conn of a connection, as a listener's wrapper does.
type plain struct{ net.Conn }

// Over a connection whose kind is not known every write is a goroutine's, and there is no half of it to close.
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
		s := sseactor.NewServed(8)
		if h := s.Hijack(context.Background(), c.w, c.r, time.Second); h != nil {
			t.Errorf("%s: taken over", name)
		}
		if r := s.Outbox().Reason(); r != actors.ReasonNone {
			t.Errorf("%s: the stream has ended: %v", name, r)
		}
	}
}

// conn is a connection that notes whether it was closed, and panics when it is written to.
type conn struct {
	net.Conn
	closed bool
}

func (c *conn) Close() error { c.closed = true; return nil }

// A panic of a middleware's writer ends the stream, and leaves no connection behind.
func TestAPanicWhileAConnectionIsTakenOverEndsTheStream(t *testing.T) {
	c := &conn{}
	for name, w := range map[string]http.ResponseWriter{
		"in Hijack":    &owner{ResponseRecorder: httptest.NewRecorder(), fail: func() error { panic("hijack") }},
		"after Hijack": halfOwner{own(c)},
	} {
		t.Run(name, func(t *testing.T) {
			s := sseactor.NewServed(8)
			spawn(s)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				s.Hijack(context.Background(), w, request(t.Context()), time.Second)
			}()
			if r := s.Outbox().Reason(); r != actors.ReasonWrite {
				t.Errorf("reason %v", r)
			}
			for s.Outbox().UserMessageCount() > 0 { // its actor ends
				runtime.Gosched()
			}
		})
	}
	if !c.closed {
		t.Error("the connection is still open")
	}
}

// halfOwner's Hijack has forgotten the buffers.
type halfOwner struct{ *owner }

func (h halfOwner) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.conn, nil, nil }

// However leaving, sending, closing and aborting meet, the stream ends and nothing is left behind (see TestMain).
func TestEndsOfATakenOverStreamThatMeet(t *testing.T) {
	for i := range 300 {
		server, client := tcp(t)
		ctx, cancel := context.WithCancel(context.Background())
		s := take(t, ctx, server, time.Hour)
		var all sync.WaitGroup
		all.Go(func() {
			for range 20 {
				s.Outbox().PostUserMessage(actors.NewFrame(make([]byte, 1000)))
			}
		})
		for j, end := range []func(){
			func() { _ = client.Close() }, cancel, func() { s.close() }, s.Outbox().Abort,
		} {
			if i>>j&1 == 0 {
				all.Go(end)
			}
		}
		all.Wait()
		_ = client.Close()
		cancel()
		select {
		case <-s.result:
		case <-time.After(patience):
			t.Fatal(i, ": Serve does not return")
		}
		if s.Outbox().Reason() == actors.ReasonNone {
			t.Fatal(i, ": the outbox is open")
		}
	}
}
