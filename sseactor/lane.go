package sseactor

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// lane is the dispatcher of a stream's mailbox. Nothing runs before the stream is attached to its response. Then it runs on a
// pool; but while its client takes its time, apart from the others, so that it does not cost them a place again and again.
type lane struct {
	pool actor.Dispatcher // set before it opens
	slow atomic.Int32     // how many quick writes it takes to come back to the pool

	open atomic.Bool
	mu   sync.Mutex // guards what comes before that
	held func()     // a mailbox is not scheduled again before its run has begun
}

const (
	slowWrite = 5 * time.Millisecond // one that takes this long has met a client that takes its time
	probation = 64                   // how many quick writes in a row it takes then
)

// Throughput implements actor.Dispatcher.
func (l *lane) Throughput() int { return actors.Streams().Throughput() }

// Schedule implements actor.Dispatcher.
func (l *lane) Schedule(fn func()) {
	switch {
	case !l.open.Load() && l.hold(fn):
	case l.slow.Load() > 0:
		actors.Streams().ScheduleApart(fn)
	default:
		l.pool.Schedule(fn)
	}
}

func (l *lane) hold(fn func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.Load() {
		return false
	}
	l.held = fn
	return true
}

// release lets the mailbox run, on that pool. Only the first call counts.
func (l *lane) release(pool actor.Dispatcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.Load() {
		return
	}
	l.pool = pool
	l.open.Store(true)
	if l.held != nil {
		pool.Schedule(l.held)
		l.held = nil
	}
}

// wrote notes how long a write took.
func (l *lane) wrote(took time.Duration) {
	switch {
	case took >= slowWrite:
		l.slow.Store(probation)
	case l.slow.Load() > 0:
		l.slow.Add(-1)
	}
}
