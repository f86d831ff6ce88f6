package sseactor

import (
	"sync"

	"github.com/wskit/wskit/actors"
)

// loop is the dispatcher that runs a stream's mailbox on the goroutine of the HTTP handler, the only one that may use the
// ResponseWriter. Once the handler has returned, what still reaches the mailbox runs on the pool.
type loop struct {
	mu    sync.Mutex
	ended bool
	runs  chan func() // at most one: a mailbox is not scheduled again before its run has begun
}

func newLoop() *loop { return &loop{runs: make(chan func(), 1)} }

// Throughput implements actor.Dispatcher.
func (l *loop) Throughput() int { return actors.Connections().Throughput() }

// Schedule implements actor.Dispatcher.
func (l *loop) Schedule(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		actors.Connections().Schedule(fn)
		return
	}
	l.runs <- fn
}

// end is called by the handler's goroutine when it has run the mailbox for the last time.
func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	select {
	case fn := <-l.runs:
		actors.Connections().Schedule(fn)
	default:
	}
}
