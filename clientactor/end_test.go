package clientactor_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
)

// A connection whose actor crashed is kept for a moment: to close it while input is unread would reset it, and the peer
// might not get to read why.
func TestAPeerCanAnswerTheCloseFrameOfACrashThatNobodyReadsFor(t *testing.T) {
	conns := make(chan *clientactor.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := clientactor.Accept(w, r, nil, standard, goroutines, nil, nil)
		if err != nil {
			t.Error(err)
			return
		}
		conns <- c
	}))
	defer srv.Close()
	conn, r := dialRaw(t, srv.URL)
	c := <-conns
	pid := spawn(c)
	if _, err := conn.Write(masked(0x81, []byte("unread"))); err != nil {
		t.Fatal(err)
	}
	actors.System().Root.Send(pid, &actors.Crash{Reason: "told to"})
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if b, err := r.ReadByte(); b != 0x88 || err != nil {
		t.Fatalf("read %x, %v; want a close frame", b, err)
	}
	await(t, c)
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); <-time.After(10 * time.Millisecond) {
		if _, err := conn.Write(masked(0x88, []byte{0x03, 0xf3})); err != nil {
			t.Fatalf("the connection was cut at once: %v", err)
		}
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	_, _ = io.Copy(io.Discard, r)
}

// watched is a context that counts who waits for its end.
type watched struct {
	context.Context
	waiting atomic.Int32
}

func (w *watched) Done() <-chan struct{} { return make(chan struct{}) }

// AfterFunc is what context.AfterFunc calls.
func (w *watched) AfterFunc(func()) (stop func() bool) {
	w.waiting.Add(1)
	return func() bool { w.waiting.Add(-1); return true }
}

func TestAConnectionThatHasEndedDoesNotWaitForItsContext(t *testing.T) {
	ctx := &watched{Context: context.Background()}
	conns := make(chan *clientactor.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := clientactor.Accept(w, r, nil, standard, goroutines, nil, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c.Watch(ctx)
		spawn(c)
		c.StartWriting()
		go c.ReadLoop()
		conns <- c
	}))
	defer srv.Close()
	conn, _ := dialRaw(t, srv.URL)
	c := <-conns
	if n := ctx.waiting.Load(); n != 1 {
		t.Fatalf("%d wait for the context, want 1", n)
	}
	conn.Close()
	await(t, c)
	if n := ctx.waiting.Load(); n != 0 {
		t.Errorf("%d wait for the context of a connection that has ended", n)
	}
}
