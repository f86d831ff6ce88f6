package sseactor_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
	"github.com/wskit/wskit/sseactor"
)

// opaque is a middleware's writer that lets neither deadlines through nor what it wraps.
type opaque struct{ http.ResponseWriter }

func (o opaque) Flush() { o.ResponseWriter.(http.Flusher).Flush() }

// behind is a server whose one stream is written through a middleware's writer.
type behind struct {
	*wstest.Server
	*sseactor.Stream
	result chan error
	end    context.CancelFunc // of the hub
}

func serveBehind(t *testing.T, kind wstest.Kind, wait time.Duration, wrap func(http.ResponseWriter, *http.Request) http.ResponseWriter) *behind {
	t.Helper()
	life, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	b := &behind{Stream: claimed(8, wait), result: make(chan error, 1), end: end}
	spawn(b.Stream)
	b.Server = wstest.Listen(t, kind, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.result <- b.Respond(life, wrap(w, r), r).Serve()
	}))
	return b
}

// stalled is the connection of a client that does not read, and is being written to.
func (b *behind) stalled(t *testing.T) {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL, nil)
	resp, err := b.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	send(t, b.Stream, strings.Repeat("x", 16<<20)) // more than the buffers in between hold
	for !b.Outbox().Drained() {                    // until it is being written
		runtime.Gosched()
	}
}

func (b *behind) returns(t *testing.T, want error) {
	t.Helper()
	if err := wstest.Receive(t, "Serve returns", b.result); !errors.Is(err, want) {
		t.Errorf("Serve returns %v, want %v", err, want)
	}
}

func onLinux(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("a connection is found by its addresses on Linux only")
	}
}

// A client that has stopped reading is cut after the write wait, and does not outlast an abort nor the hub, though nobody can
// set a deadline; then its request is over for the server too.
func TestAStalledStreamBehindAWriterThatTakesNoDeadlineIsBoundedLikeAnyOther(t *testing.T) {
	onLinux(t)
	wstest.EachStream(t, func(t *testing.T, kind wstest.Kind) {
		for name, c := range map[string]struct {
			wait time.Duration
			end  func(*behind)
			want error
		}{
			"write wait": {200 * time.Millisecond, func(*behind) {}, os.ErrDeadlineExceeded},
			"abort":      {time.Hour, func(b *behind) { b.Outbox().Abort() }, os.ErrDeadlineExceeded},
			"hub's end":  {time.Hour, func(b *behind) { b.end() }, nil},
		} {
			t.Run(name, func(t *testing.T) {
				b := serveBehind(t, kind, c.wait, func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter { return opaque{w} })
				b.stalled(t)
				c.end(b)
				b.returns(t, c.want)
				if kind == wstest.HTTP2 {
					return // the client may keep the connection
				}
				ctx, cancel := context.WithTimeout(context.Background(), wstest.Patience)
				defer cancel()
				if err := b.Config.Shutdown(ctx); err != nil {
					t.Error("Server.Shutdown:", err)
				}
			})
		}
	})
}

// One that reads, however slowly, is not cut, nor is one to whom nothing is sent: the guard is for a write that is under way.
func TestAStreamThatMovesBehindAWriterThatTakesNoDeadlineIsLeftAlone(t *testing.T) {
	const wait = 200 * time.Millisecond
	b := serveBehind(t, wstest.TCP, wait, func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter { return opaque{w} })
	resp, err := http.Get(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	select {
	case err := <-b.result:
		t.Fatal(err)
	case <-time.After(3 * wait):
	}
	send(t, b.Stream, "still there")
	b.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown})
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != first+"data: still there\n\n" {
		t.Errorf("%q, %v", body, err)
	}
	b.returns(t, nil)
}

// A large event to a slow reader takes longer than the write wait, and gets through.
func TestALargeEventIsNotGivenUpWhileItGetsThrough(t *testing.T) {
	const wait, size = 400 * time.Millisecond, 4 << 20
	for name, wrap := range map[string]func(http.ResponseWriter, *http.Request) http.ResponseWriter{
		"deadlines": func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter { return w },
		"none":      func(w http.ResponseWriter, _ *http.Request) http.ResponseWriter { return opaque{w} },
	} {
		t.Run(name, func(t *testing.T) {
			s, result := claimed(8, wait), make(chan error, 1)
			spawn(s)
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				result <- s.Respond(context.Background(), wrap(w, r), r).Serve()
			}))
			srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
				_ = c.(*net.TCPConn).SetWriteBuffer(64 << 10)
				return ctx
			}
			srv.Start()
			defer srv.Close()
			conn, err := net.Dial("tcp", srv.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			_ = conn.SetDeadline(time.Now().Add(wstest.Patience))
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			began := time.Now()
			send(t, s, strings.Repeat("x", size))
			s.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown, Deadline: time.Now().Add(time.Hour)})
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			// So many bytes a tick that it takes three times the write wait.
			tick := time.NewTicker(wait / 20)
			defer tick.Stop()
			got := int64(0)
			for err == nil {
				var n int64
				n, err = io.CopyN(io.Discard, resp.Body, size/60)
				got += n
				<-tick.C
			}
			if want := int64(size + len(first) + len("data: \n\n")); err != io.EOF || got != want {
				t.Errorf("%d bytes of %d, %v", got, want, err)
			}
			if took := time.Since(began); took < 2*wait {
				t.Errorf("it took %v only", took)
			}
			if err := wstest.Receive(t, "Serve returns", result); err != nil {
				t.Error(err)
			}
		})
	}
}

// Another's address, which a proxy's header has put there, costs that other nothing, and the handler waits for its write: what
// net/http lends it must not be used when it is another's.
func TestAStreamOfUnknownAddressEndsAndItsHandlerWaitsForItsWrite(t *testing.T) {
	other := serveBehind(t, wstest.TCP, time.Hour, func(w http.ResponseWriter, r *http.Request) http.ResponseWriter { return w })
	conn := other.Conn(t)
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n") // of which the body comes as it is
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	writing, free := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(free) })
	defer release()
	b := serveBehind(t, wstest.TCP, 50*time.Millisecond, func(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
		r.RemoteAddr = conn.LocalAddr().String()
		r.Header.Set("X-Real-Ip", r.RemoteAddr)
		return stuck{opaque{w}, writing, free}
	})
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, b.URL, nil)
	if resp, err := b.Client().Do(req); err != nil {
		t.Fatal(err)
	} else {
		defer resp.Body.Close()
	}
	send(t, b.Stream, "x")
	<-writing
	wstest.Eventually(t, "the stream has ended", func() bool { return b.Outbox().Reason() == actors.ReasonWrite })
	wstest.Silent(t, "the handler returned", b.result)
	send(t, other.Stream, "unharmed")
	body := make([]byte, len(first+"data: unharmed\n\n"))
	if _, err := io.ReadFull(resp.Body, body); err != nil || string(body) != first+"data: unharmed\n\n" {
		t.Errorf("%q, %v", body, err)
	}
	release()
	b.returns(t, os.ErrDeadlineExceeded)
}

// stuck is a writer whose write of an event waits for something else than the connection.
type stuck struct {
	opaque
	writing, free chan struct{}
}

func (s stuck) Write(p []byte) (int, error) {
	if string(p) != first {
		close(s.writing)
		<-s.free
	}
	return s.opaque.Write(p)
}

// Where no server of net/http's is behind the writer, nothing is lost by returning; the writer is left alone from then on.
func TestAWriterOfNoServerDoesNotHoldTheHandlerUp(t *testing.T) {
	writing, free := make(chan struct{}), make(chan struct{})
	w := &response{}
	s, result := claimed(8, 50*time.Millisecond), make(chan error, 1)
	spawn(s)
	go func() {
		err := s.Respond(context.Background(), stuck{opaque{recording{w}}, writing, free}, httptest.NewRequest("GET", "/", nil)).Serve()
		result <- err
	}()
	send(t, s, "x")
	<-writing
	if err := wstest.Receive(t, "Serve returns", result); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	flushed := w.flushed
	close(free)
	for s.Outbox().UserMessageCount() > 0 {
		runtime.Gosched()
	}
	actors.SharedPools().Streams().Settle()
	if w.flushed != flushed {
		t.Error("the writer was flushed after the handler had returned")
	}
}

// recording is a response without deadlines.
type recording struct{ r *response }

func (r recording) Header() http.Header         { return r.r.Header() }
func (r recording) WriteHeader(status int)      { r.r.WriteHeader(status) }
func (r recording) Write(p []byte) (int, error) { return r.r.Write(p) }
func (r recording) Flush()                      { _ = r.r.FlushError() }
