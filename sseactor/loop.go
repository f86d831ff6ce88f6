package sseactor

import (
	"sync"

	"github.com/wskit/wskit/actors"
)

// loop is the dispatcher that runs a stream's mailbox on the goroutine of the HTTP handler, the only one that may use the
// ResponseWriter. Once that has returned, or does without the writer, what reaches the mailbox runs on the pool.
type loop struct {
	mu    sync.Mutex
	ended bool
	runs  chan func()
}

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
	l.queue() <- fn
}

// begin returns what the handler's goroutine is to run.
func (l *loop) begin() <-chan func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue()
}

// call runs fn on the handler's goroutine too, if that has not returned. It is called once at most.
func (l *loop) call(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.queue() <- fn
	}
}

// queue is made when it is first needed. A mailbox is not scheduled again before its run has begun, and there is one call.
func (l *loop) queue() chan func() {
	if l.runs == nil {
		l.runs = make(chan func(), 2)
	}
	return l.runs
}

// end is called by the handler's goroutine when it has run the mailbox for the last time.
func (l *loop) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for len(l.runs) > 0 {
		actors.Connections().Schedule(<-l.runs)
	}
	l.runs = nil
}
