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
	runs  chan func()
}

// A mailbox is not scheduled again before its run has begun; beside that run there are the two calls of Serve.
func newLoop() *loop { return &loop{runs: make(chan func(), 3)} }

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

// call runs fn on the handler's goroutine too, if that has not returned.
func (l *loop) call(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.runs <- fn
	}
}

// end is called by the handler's goroutine when it has run the mailbox for the last time.
func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for len(l.runs) > 0 {
		actors.Connections().Schedule(<-l.runs)
	}
}
