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
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
)

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

// A comment does not come between the parts of an event that is being written, nor is one sent for a stream that is not

// silent; a silent client that reads nothing at all is cut when a comment has had the write wait.

// The head is no exception: the end waits until it has been written.

func TestTheEndOfATakenOverStreamWaitsForTheHead(t *testing.T) {
	server, client := net.Pipe()
	s := take(t, t.Context(), server, time.Hour)
	s.close()
	settle() // which would be enough for the end
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
		s := claimed(8, time.Hour)
		h := s.Hijack(life, own(server), request(ctx))
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

// outside of it.

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
		s := claimed(8, time.Hour)
		h := s.Hijack(life, own(server), request(t.Context()))
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

// plain hides all but net.Conn of a connection, as a listener's wrapper does.

// Over a connection whose kind is not known every write is a goroutine's, and there is no half of it to close.

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
			s := claimed(8, time.Second)
			spawn(s)
			func() {
				defer func() {
					if recover() == nil {
						t.Error("no panic")
					}
				}()
				s.Hijack(context.Background(), w, request(t.Context()))
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
