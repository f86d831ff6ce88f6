package sseactor

import (
	"net/http"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// stream is the actor of a Stream.
type stream struct {
	*Stream
	closing bool
	limit   *time.Timer
}

type (
	left struct{} // the client left, or the response cannot be written
	beat struct{} // the stream was silent for KeepAlive
)

func (s *stream) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		s.write(m)
	case beat:
		s.beat()
	case *actors.Overflowed:
		ctx.Send(ctx.Parent(), m)
	case *actors.Close:
		s.close(m)
	case left:
		s.box.Close(&actors.Close{Reason: actors.ReasonPeer})
		s.box.Stop()
	case *actors.Abort:
		s.box.Stop()
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		s.started = true
	case *actor.Stopping:
		if s.limit != nil {
			s.limit.Stop()
		}
	case *actor.Stopped:
		s.box.Discard()
		s.over = true
	}
}

func (s *stream) write(b *actors.Batch) {
	if s.out == nil {
		return
	}
	g := b.Gather((*actors.Frame).SSE)
	err := s.out.write(g.Bytes)
	g.Release()
	if s.check(err) {
		s.endIfDrained()
	}
}

// beat writes a comment if the stream was silent, and sees to the next beat.
func (s *stream) beat() {
	if s.out == nil {
		return
	}
	left := KeepAlive - time.Since(s.out.last)
	if left <= 0 && s.check(s.out.write(comment)) {
		left = KeepAlive
	}
	s.out.beat.Reset(max(left, 0))
}

// check ends the stream when writing failed.
func (s *stream) check(err error) bool {
	if err == nil {
		return true
	}
	s.err = err
	s.box.Close(&actors.Close{Reason: actors.ReasonWrite})
	s.box.Stop()
	return false
}

// close lets what is queued go out first. A stream that is not attached has nowhere to write to.
func (s *stream) close(m *actors.Close) {
	s.closing = true
	if s.loop == nil {
		s.box.Stop()
		return
	}
	deadline := m.Deadline
	if deadline.IsZero() {
		deadline = time.Now().Add(actors.DefaultWriteWait)
	}
	s.limit = time.AfterFunc(time.Until(deadline), func() { s.box.PostUserMessage(&actors.Abort{}) })
	s.endIfDrained()
}

func (s *stream) endIfDrained() {
	if s.closing && s.box.Drained() {
		s.box.Stop()
	}
}

// response writes to the client, each time under a deadline: a client that has stopped reading must not park the handler, nor
// the server's WriteTimeout end the stream.
type response struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	wait    time.Duration
	lasting bool // a deadline that passes between two writes does no harm: HTTP/1, not HTTP/2
	beat    *time.Timer
	last    time.Time // when the last write began

	mu    sync.Mutex
	until time.Time // the deadline that is set; zero: none
	off   bool      // cut or detached: it is not to be touched any more
}

var comment = []byte(":\n\n")

// open sends the headers: now the client knows that there is a stream.
func (r *response) open() error {
	if err := actors.Fence("ResponseWriter", func() { r.w.WriteHeader(http.StatusOK) }); err != nil {
		return err
	}
	return r.write(nil)
}

// write writes p and flushes. A panic of a ResponseWriter around the server's is an error like any other.
func (r *response) write(p []byte) (err error) {
	r.last = time.Now()
	r.limit(r.last)
	fenced := actors.Fence("ResponseWriter", func() {
		if len(p) > 0 {
			_, err = r.w.Write(p)
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
	return err
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
