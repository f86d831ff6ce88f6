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

// response writes through net/http, on the handler's goroutine, each time under a deadline: a client that has stopped
// reading must not park the handler, nor the server's WriteTimeout end the stream.
type response struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	wait    time.Duration
	lasting bool  // a deadline that passes between two writes does no harm: HTTP/1, not HTTP/2
	over    bool  // the actor has ended, or there is none
	err     error // what for, if not for the hub

	mu    sync.Mutex
	until time.Time // the deadline that is set; zero: none
	off   bool      // cut or detached: it is not to be touched any more
}

// Serve answers the request with the stream and blocks until it ends: with nil when the hub closed it or hub ended,
// with the request context's error when the client left, else with the error of the failed write.
func (s *Stream) Serve(hub context.Context, w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	setHeader(w.Header())
	out := &response{w: w, rc: http.NewResponseController(w), wait: wait, lasting: r.ProtoMajor == 1}
	s.out = out
	defer s.loop.end()
	defer func() { s.out = nil; out.detach() }()
	s.box.OnAbort(out.cut)
	// An actor that is gone, or never was, can close nothing.
	defer context.AfterFunc(hub, func() { s.loop.call(func() { out.end(s.err) }) })()
	if err := out.open(); err != nil {
		s.leave(out, err)
	}
	s.box.Resume()
	defer s.startBeat().Stop()

	request := r.Context()
	for runs, gone := s.loop.begin(), request.Done(); !out.over; {
		select {
		case run := <-runs:
			run()
		case <-gone:
			gone = nil
			s.leave(out, request.Err())
		}
	}
	// net/http ends the context when a write fails; one that took too long is not a client that left.
	if err := request.Err(); out.err != nil && err != nil && !errors.Is(out.err, os.ErrDeadlineExceeded) {
		return err
	}
	return out.err
}

// leave has the actor end because of err.
func (s *Stream) leave(out *response, err error) {
	if s.err == nil {
		s.err = err
	}
	s.box.PostUserMessage(left{})
	if !s.started { // an actor that comes later ends by itself
		s.box.Close(&actors.Close{Reason: actors.ReasonPeer})
		out.end(s.err)
	}
}

func (r *response) end(err error) { r.over, r.err = true, err }

// open sends the headers: now the client knows that there is a stream.
func (r *response) open() error {
	if err := actors.Fence("ResponseWriter", func() { r.w.WriteHeader(http.StatusOK) }); err != nil {
		return err
	}
	_, err := r.write(actors.Gathered{}, time.Now())
	return err
}

// write writes g and flushes. A panic of a ResponseWriter around the server's is an error like any other.
func (r *response) write(g actors.Gathered, now time.Time) (pending bool, err error) {
	r.limit(now)
	fenced := actors.Fence("ResponseWriter", func() {
		if len(g.Bytes) > 0 {
			_, err = r.w.Write(g.Bytes)
		}
		if err == nil {
			err = r.rc.Flush()
		}
	})
	g.Release()
	if fenced != nil {
		err = fenced
	}
	if !r.lasting {
		r.deadline(time.Time{})
	}
	return false, err
}

// limit gives a write that begins now at least the write wait, and at most a quarter more: setting a deadline costs as much as
// an eighth of a write, so it is not set for each. Not every writer can; then the server's own deadlines hold.
func (r *response) limit(now time.Time) {
	r.mu.Lock()
	enough := r.until.Sub(now) >= r.wait
	r.mu.Unlock()
	if !enough {
		r.deadline(now.Add(r.wait + r.wait/4))
	}
}

func (r *response) deadline(t time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.off {
		r.until = t
		_ = r.rc.SetWriteDeadline(t)
	}
}

// cut fails the write under way, and every other, from whatever goroutine.
func (r *response) cut() {
	r.deadline(time.Unix(1, 0))
	r.mu.Lock()
	r.off = true
	r.mu.Unlock()
}

// detach is for when the handler returns: the writer is not ours any more, and the connection may serve other requests.
func (r *response) detach() {
	r.deadline(time.Time{})
	r.mu.Lock()
	r.off = true
	r.mu.Unlock()
}
