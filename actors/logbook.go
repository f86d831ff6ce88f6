package actors

import (
	"sync"
	"sync/atomic"
)

// MaxResuming is how many subscribers may wait for Redis to go on from their cursor before others are told to come back later.
const MaxResuming = 1 << 14

// LogBook says where the log of a hub stands, by what its registry has sent out. It may be used from any goroutine.
type LogBook struct {
	mu sync.Mutex
	at Position

	known    atomic.Uint64
	resuming atomic.Int64
}

// At is where the log stands: what comes before has been handed to the Outboxes of those it is for. SetAt is the registry's.
func (l *LogBook) At() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

func (l *LogBook) SetAt(p Position) {
	l.mu.Lock()
	l.at = p
	l.mu.Unlock()
}

// Known is a position that all has that this hub's program was told Redis has taken, and all that came from there: what is published from
// now on has a higher one. SetKnown is for the child that links the hub to Redis, before it tells.
func (l *LogBook) Known() uint64     { return l.known.Load() }
func (l *LogBook) SetKnown(n uint64) { l.known.Store(n) }

// Resuming is how many subscribers wait for Redis to go on from their cursor. SetResuming is the registry's.
func (l *LogBook) Resuming() int     { return int(l.resuming.Load()) }
func (l *LogBook) SetResuming(n int) { l.resuming.Store(int64(n)) }
