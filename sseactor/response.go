package sseactor

import (
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/wskit/wskit/actors"
)

// Response is a stream that is written through net/http. The stream's actor writes while the handler waits in Serve, each
// time under a deadline: a client that has stopped reading must not hold the actor up for ever, nor the server's
// WriteTimeout end the stream.
type Response struct {
	stream  *Stream
	request context.Context
	rc      *http.ResponseController
	wait    time.Duration
	lasting bool        // a deadline that passes between two writes does no harm: HTTP/1, not HTTP/2
	unwatch func() bool // of the hub's life

	using sync.Mutex          // held while the writer is used
	w     http.ResponseWriter // nil once the handler returns

	mu    sync.Mutex
	until time.Time // the deadline that is set; zero: none
	off   bool      // that was the last: cut or detached
	over  bool      // how the stream ended is decided
	err   error     // what for, if not for the hub
	done  chan struct{}
}

var errDetached = errors.New("wskit: the handler has returned")

// Respond begins to answer the request with the stream. The Response is to be served, and needs less stack for that.
func (s *Stream) Respond(hub context.Context, w http.ResponseWriter, r *http.Request, wait time.Duration) *Response {
	var out *Response
	begun := false
	defer func() {
		if begun {
			return
		}
		s.Refuse(actors.ReasonWrite) // a writer around the server's has panicked, or ended this goroutine
		if out != nil && out.unwatch != nil {
			out.unwatch()
		}
	}()
	setHeader(w.Header())
	out = &Response{stream: s, request: r.Context(), w: w, rc: http.NewResponseController(w), wait: wait,
		lasting: r.ProtoMajor == 1, done: make(chan struct{})}
	s.out = out
	s.box.OnAbort(out.cut)
	// An actor that is gone, or never was, can close nothing.
	out.unwatch = context.AfterFunc(hub, func() { out.end(nil) })
	if err := out.open(); err != nil {
		s.box.PostUserMessage(&written{err})
	}
	s.startBeat()
	s.box.Resume()
	s.lane.release(actors.Streams())
	begun = true
	return out
}

// Serve blocks until the stream ends: with nil when the hub closed it or hub ended, with the request context's error when
// the client left, else with the error of the failed write.
func (r *Response) Serve() error {
	defer r.detach()
	select {
	case <-r.done:
	case <-r.request.Done():
		r.leave(r.request.Err())
	}
	// net/http ends the context when a write fails; one that took too long is not a client that left.
	if err := r.request.Err(); r.err != nil && err != nil && !errors.Is(r.err, os.ErrDeadlineExceeded) {
		return err
	}
	return r.err
}

// leave has the actor end because of err.
func (r *Response) leave(err error) {
	s := r.stream
	s.box.PostUserMessage(&left{err})
	if !s.started.Load() { // an actor that comes later ends by itself
		s.box.Close(&actors.Close{Reason: actors.ReasonPeer})
		r.end(err)
	}
	<-r.done
}

// end implements sink: the first call decides how the stream ended.
func (r *Response) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.over, r.err = true, err
		close(r.done)
	}
}

// open sends the headers and a first byte: now the client knows that there is a stream.
func (r *Response) open() error {
	if err := actors.Fence("ResponseWriter", func() { r.w.WriteHeader(http.StatusOK) }); err != nil {
		return err
	}
	first := comment
	if _, recorder := r.w.(interface{ Result() *http.Response }); recorder {
		first = nil // an httptest.ResponseRecorder: there is no network, and what it holds is compared with what was sent
	}
	_, err := r.write(actors.Gathered{Bytes: first}, time.Now())
	return err
}

// write implements sink: it writes g and flushes. A panic of a ResponseWriter around the server's is an error like any other.
func (r *Response) write(g actors.Gathered, now time.Time) (pending bool, err error) {
	r.using.Lock()
	defer r.using.Unlock()
	defer g.Release()
	if r.w == nil {
		return false, errDetached
	}
	over := false
	defer func() {
		if !over { // the writer has ended this goroutine
			r.stream.err = actors.NewGoexitError("ResponseWriter")
		}
	}()
	r.limit(now)
	fenced := actors.Fence("ResponseWriter", func() {
		if len(g.Bytes) > 0 {
			_, err = r.w.Write(g.Bytes)
		}
		if err == nil {
			err = r.rc.Flush()
		}
	})
	if fenced != nil {
		err = fenced
	}
	if !r.lasting {
		r.deadline(time.Time{})
	}
	r.stream.lane.wrote(time.Since(now))
	over = true
	return false, err
}

// limit gives a write that begins now at least the write wait, and at most a quarter more: setting a deadline costs as much as
// an eighth of a write, so it is not set for each. Not every writer can; then the server's own deadlines hold.
func (r *Response) limit(now time.Time) {
	r.mu.Lock()
	enough := r.until.Sub(now) >= r.wait
	r.mu.Unlock()
	if !enough {
		r.deadline(now.Add(r.wait + r.wait/4))
	}
}

func (r *Response) deadline(t time.Time) { r.setDeadline(t, false) }

// setDeadline sets the deadline, unless there was a last one.
func (r *Response) setDeadline(t time.Time, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.off {
		r.until, r.off = t, last
		_ = actors.Fence("ResponseWriter", func() { _ = r.rc.SetWriteDeadline(t) })
	}
}

// cut fails the write under way, and every other, from whatever goroutine.
func (r *Response) cut() { r.setDeadline(time.Unix(1, 0), true) }

// detach is for when the handler returns: the writer is not ours any more, and the connection may serve other requests.
func (r *Response) detach() {
	r.unwatch()
	if !r.using.TryLock() { // the hub has ended, or the client left before there was an actor, and a write is under way
		r.cut()
		r.using.Lock()
	}
	r.w = nil
	r.using.Unlock()
	r.setDeadline(time.Time{}, true)
}
