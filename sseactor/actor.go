package sseactor

import (
	"os"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// stream is a Stream as its actor sees it.
type stream Stream

// sink is what a stream writes to.
type sink interface {
	// write writes g, which begins now, and releases it; pending means that the actor will be sent a written, and that there
	// must be no other write before that.
	write(g actors.Gathered, now time.Time) (pending bool, err error)
	// check is called now and then, after KeepAlive for the first time at the latest.
	check()
	// end is the last call: the actor has ended, for err if not for the hub.
	end(err error)
}

// What a stream's actor is told, through its Outbox.
type (
	attached struct{}            // out is set, and being written to
	left     struct{ err error } // the client left, or the response cannot be written
	beat     struct{}            // it is time to look whether the stream was silent
	written  struct{ err error } // the pending write is done, or failed
)

func (s *stream) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		if s.attached {
			s.write(m.Gather(s.cfg.encode()))
		}
	case attached:
		s.attached, s.pending, s.last = true, true, time.Now()
	case *written:
		s.pending = false
		if s.check(m.err) {
			s.box.Resume()
			s.endIfDrained()
		}
	case beat:
		s.beat()
	case *actors.Overflowed:
		ctx.Send(ctx.Parent(), m)
	case *actors.Close:
		s.close(m)
	case *left:
		if s.err == nil {
			s.err = m.err
		}
		s.box.Close(&actors.Close{Reason: actors.ReasonPeer})
		s.box.Stop()
	case *actors.Abort:
		if s.pending && s.err == nil {
			s.err = os.ErrDeadlineExceeded // it has had its time
		}
		s.box.Stop()
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		s.started.Store(true)
	case *actor.Stopping:
		s.mu.Lock()
		s.over = true // the rest of what mu guards does not change any more
		s.mu.Unlock()
		actors.StopTimers(s.limit, s.timer)
	case *actor.Stopped:
		s.box.Discard()
		s.attached = false
		if s.out != nil {
			s.out.end(s.err)
			s.out = nil
		}
	}
}

// write writes g, and the outbox waits if that takes its time.
func (s *stream) write(g actors.Gathered) {
	s.last = time.Now()
	pending, err := s.out.write(g, s.last)
	if !s.check(err) {
		return
	}
	if pending {
		s.pending = true
		s.box.Pause()
		return
	}
	s.endIfDrained()
}

// beat writes a comment if the stream was silent, and sees to the next beat.
func (s *stream) beat() {
	if !s.attached {
		return
	}
	s.out.check()
	silence, ok := s.cfg.keepAlive()
	if !ok {
		return
	}
	left := silence - time.Since(s.last)
	if left <= 0 {
		left = silence
		if !s.pending {
			s.write(actors.Gathered{Bytes: s.sign()})
		}
	}
	s.timer.Reset(left)
}

// sign is a sign of life: a comment, or where the hub's log stands if the client keeps a cursor.
func (s *stream) sign() []byte {
	if mark := s.box.Mark(); mark != nil {
		return s.cfg.encode()(mark)
	}
	return comment
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

// close lets what is queued go out first. A stream that nobody is about to attach has nowhere to write to.
func (s *stream) close(m *actors.Close) {
	s.closing, s.comesBack = true, m.Reason.ComesBack()
	s.mu.Lock()
	claimed := s.claimed
	s.over = !claimed
	s.mu.Unlock()
	if !claimed {
		s.box.Stop()
		return
	}
	deadline := m.Deadline
	if deadline.IsZero() {
		deadline = time.Now().Add(actors.Linger)
	}
	s.limit = time.AfterFunc(time.Until(deadline), func() { s.box.PostUserMessage(&actors.Abort{}) })
	s.endIfDrained()
}

func (s *stream) endIfDrained() {
	switch {
	case !s.closing || !s.attached || s.pending || !s.box.Drained():
	case s.comesBack:
		s.comesBack = false
		s.write(actors.Gathered{Bytes: comeBack()}) // and then it ends
	default:
		s.box.Stop()
	}
}
