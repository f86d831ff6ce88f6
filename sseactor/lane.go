package sseactor

import (
	"sync/atomic"
	"time"

	"github.com/wskit/wskit/actors"
)

// lane is the dispatcher of a stream's mailbox. It runs on the pool for what may block; but while its client takes its time,
// apart from the others, so that it does not cost them a place again and again. On a connection that was taken over nothing
// blocks.
type lane struct {
	box    *actors.Outbox // of the stream
	direct atomic.Bool    // it writes to a connection that was taken over
	slow   atomic.Int32   // how many quick writes it takes to come back to the pool
}

const (
	slowWrite = 5 * time.Millisecond // one that takes this long has met a client that takes its time
	probation = 64                   // how many quick writes in a row it takes then
)

// Throughput implements actor.Dispatcher.
func (*lane) Throughput() int { return (*actors.Elastic)(nil).Throughput() }

// Schedule implements actor.Dispatcher.
func (l *lane) Schedule(fn func()) {
	switch l.choose() {
	case onConnections:
		l.box.Pools().Connections.Schedule(fn)
	case apart:
		l.box.Pools().Streams().ScheduleApart(fn)
	default:
		l.box.Pools().Streams().Schedule(fn)
	}
}

// Where a mailbox runs.
const (
	onStreams = iota
	apart
	onConnections
)

func (l *lane) choose() int {
	switch {
	case l.direct.Load():
		return onConnections
	case l.slow.Load() > 0:
		return apart
	}
	return onStreams
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
