package actors

import (
	"sync"
	"time"
)

// Stall gives up on something that waits for a peer when nothing has moved for as long as it may wait: not when it merely takes
// that long. It looks four times in that while. Its methods may be called from any goroutine.
type Stall struct {
	wait   time.Duration
	moved  func() bool
	giveUp func()

	mu    sync.Mutex
	timer *time.Timer
	due   time.Time // when the next look should be
	since time.Time // when something last moved
	over  bool
}

// NewStall begins to look. moved reports whether something has moved since it was last asked, and giveUp is called if that is
// not so for wait: both one at a time, on a goroutine of their own.
func NewStall(wait time.Duration, moved func() bool, giveUp func()) *Stall {
	now := time.Now()
	s := &Stall{wait: wait, moved: moved, giveUp: giveUp, since: now, due: now.Add(wait / 4)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timer = time.AfterFunc(wait/4, s.look)
	return s
}

// Moved says that something has moved.
func (s *Stall) Moved() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = time.Now()
}

// Stop ends looking. giveUp may be under way.
func (s *Stall) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.timer.Stop()
}

func (s *Stall) look() {
	moved := s.moved()
	if s.judge(moved, time.Now()) {
		s.giveUp()
	}
}

// judge reports whether to give up, and else sees to the next look.
func (s *Stall) judge(moved bool, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	if moved || StoodStill(s.due, now, s.wait) {
		s.since = now
	}
	left := s.wait - now.Sub(s.since)
	if left <= 0 {
		s.over = true
		return true
	}
	next := min(left, s.wait/4)
	s.due = now.Add(next)
	s.timer.Reset(next)
	return false
}

// StoodStill reports whether the machine, or this process, must have stood still when something that was due happens only now:
// it was stopped, suspended or had no processor to run on. What others did not do in a span of wait is then not to be held against them.
func StoodStill(due, now time.Time, wait time.Duration) bool {
	return now.Sub(due) > max(wait/8, minStill)
}

// minStill is what a timer may be late for want of a processor alone.
const minStill = 50 * time.Millisecond
