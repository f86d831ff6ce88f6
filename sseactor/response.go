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
	request *http.Request
	rc      *http.ResponseController
	wait    time.Duration
	lasting bool        // a deadline that passes between two writes does no harm: HTTP/1, not HTTP/2
	limited bool        // the kernel was asked to bound what is not acknowledged
	unwatch func() bool // of the hub's life

	using sync.Mutex          // held while the writer is used
	w     http.ResponseWriter // nil once the handler returns

	mu    sync.Mutex
	until time.Time   // the deadline that is set; zero: none
	off   bool        // that was the last: cut or detached
	guard *time.Timer // in the place of a deadline, of a writer that takes none; else nil. Set by whoever writes
	over  bool        // how the stream ended is decided
	err   error       // what for, if not for the hub
	done  chan struct{}
}

var errDetached = errors.New("wskit: the handler has returned")

// Respond begins to answer the request with the stream. The Response is to be served, and needs less stack for that.
func (s *Stream) Respond(hub context.Context, w http.ResponseWriter, r *http.Request) *Response {
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
	out = &Response{stream: s, request: r, w: w, rc: http.NewResponseController(w), wait: s.cfg.WriteWait,
		lasting: r.ProtoMajor == 1, done: make(chan struct{})}
	s.box.OnAbort(out.cut)
	// An actor that is gone, or never was, can close nothing.
	out.unwatch = context.AfterFunc(hub, func() { out.end(nil) })
	alive := s.attach(out)
	err := out.open()
	if alive {
		s.box.PostUserMessage(&written{err})
	} else {
		out.end(nil)
	}
	begun = true
	return out
}

// Serve blocks until the stream ends: with nil when the hub closed it or hub ended, with the request context's error when
// the client left, else with the error of the failed write.
func (r *Response) Serve() error {
	defer r.detach()
	select {
	case <-r.done:
	case <-r.request.Context().Done():
		r.leave(r.request.Context().Err())
	}
	// net/http ends the context when a write fails; one that took too long is not a client that left.
	if err := r.request.Context().Err(); r.err != nil && err != nil && !errors.Is(r.err, os.ErrDeadlineExceeded) {
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
	// An httptest.ResponseRecorder: there is no network, and what it holds is compared with what was sent.
	_, recorder := r.w.(interface{ Result() *http.Response })
	return r.put(actors.Gathered{Bytes: r.stream.cfg.first(!recorder)}, time.Now())
}

// write implements sink.
func (r *Response) write(g actors.Gathered, now time.Time) (pending bool, err error) {
	over := false
	defer func() {
		if !over { // the writer has ended this goroutine
			r.stream.err = actors.NewGoexitError("ResponseWriter")
		}
	}()
	err = r.put(g, now)
	over = true
	return false, err
}

// put writes g and flushes. A panic of a ResponseWriter around the server's is an error like any other.
func (r *Response) put(g actors.Gathered, now time.Time) (err error) {
	r.using.Lock()
	defer r.using.Unlock()
	defer g.Release()
	if r.w == nil {
		return errDetached
	}
	fenced := actors.Fence("ResponseWriter", func() { err = r.writePieces(g.Bytes, now) })
	if fenced != nil {
		err = fenced
	}
	r.rest()
	r.stream.lane.wrote(time.Since(now))
	return err
}

// piece is how many bytes of an event are written at a time: each has the write wait to itself, so that a large one is not given up
// while it gets through.
const piece = 64 << 10

func (r *Response) writePieces(p []byte, now time.Time) error {
	for first := true; first || len(p) > 0; first = false {
		if !first {
			now = time.Now()
		}
		if !r.limit(now) {
			return os.ErrDeadlineExceeded
		}
		n := min(len(p), piece)
		if n > 0 {
			if _, err := r.w.Write(p[:n]); err != nil {
				return r.failed(err)
			}
		}
		p = p[n:]
	}
	if r.guard != nil && !r.limit(now) { // the handler may have returned meanwhile
		return os.ErrDeadlineExceeded
	}
	return r.failed(r.rc.Flush())
}

// limit gives a write that begins now at least the write wait, and at most a quarter more: setting a deadline costs as much as
// an eighth of a write, so it is not set for each. It reports whether there may be a write.
func (r *Response) limit(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.off:
		return false
	case r.guard != nil:
		r.guard.Reset(r.wait + r.wait/4)
	case r.until.Sub(now) < r.wait:
		if err := r.setDeadline(now.Add(r.wait + r.wait/4)); errors.Is(err, http.ErrNotSupported) {
			r.guard = time.AfterFunc(r.wait+r.wait/4, r.giveUp)
			r.limitUnacknowledged()
		}
	}
	return true
}

// rest is for when a write is over.
func (r *Response) rest() {
	switch {
	case r.guard != nil:
		r.guard.Stop()
	case !r.lasting:
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.off {
			_ = r.setDeadline(time.Time{})
		}
	}
}

// takesNoDeadline reports whether the writer does not let deadlines through.
func (r *Response) takesNoDeadline() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.guard != nil
}

// failed is err, or what it means if the connection was shut down for want of a deadline.
func (r *Response) failed(err error) error {
	if err == nil || r.guard == nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off {
		return os.ErrDeadlineExceeded
	}
	return err
}

// setDeadline sets the deadline. The lock is held.
func (r *Response) setDeadline(t time.Time) (err error) {
	r.until = t
	_ = actors.Fence("ResponseWriter", func() { err = r.rc.SetWriteDeadline(t) })
	return err
}

// giveUp is what a guard does when its time has come: the stream has ended, whatever becomes of the write.
func (r *Response) giveUp() {
	r.stream.box.Close(&actors.Close{Reason: actors.ReasonWrite})
	r.end(os.ErrDeadlineExceeded)
	r.cut()
}

// cut fails the write under way, and every other, from whatever goroutine.
func (r *Response) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.off {
		return
	}
	r.off = true
	if r.guard == nil {
		_ = r.setDeadline(time.Unix(1, 0))
		return
	}
	r.guard.Stop()
	if e, known := endsOf(r.request); known && !r.idle() {
		descriptors.find(e, shutDown) // with all that an HTTP/2 client has asked for over it
	}
}

// idle reports whether nothing is being written.
func (r *Response) idle() bool {
	if !r.using.TryLock() {
		return false
	}
	r.using.Unlock()
	return true
}

// check implements sink. A stream that has lived for a while is worth the search that limitUnacknowledged takes.
func (r *Response) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.limitUnacknowledged()
}

// limitUnacknowledged has the kernel find out that the client's network has vanished: else what is written goes into its buffer
// for a quarter of an hour before it says so. The lock is held.
func (r *Response) limitUnacknowledged() {
	if r.limited {
		return
	}
	r.limited = true
	if e, known := endsOf(r.request); known {
		descriptors.find(e, func(fd int) { limitUnacknowledged(fd, max(r.wait, actors.UserTimeout)) })
	}
}

// detach is for when the handler returns: the writer is not ours any more, and the connection may serve other requests. It
// waits for a write that is under way, however long that takes: net/http would give the buffers that it is in to others.
func (r *Response) detach() {
	r.unwatch()
	if !r.using.TryLock() { // the hub has ended, or the client left before there was an actor
		r.cut()
		if r.takesNoDeadline() && r.request.Context().Value(http.ServerContextKey) == nil {
			return // no server of net/http's is behind a writer that would hold this up for ever
		}
		r.using.Lock()
	}
	r.w = nil
	r.using.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.off {
		r.off = true
		if r.guard == nil {
			_ = r.setDeadline(time.Time{})
		} else {
			r.guard.Stop()
		}
	}
}
