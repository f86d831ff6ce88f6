package actors

import "time"

// Tempo is how quickly the writes of one connection go that may wait for its peer, and so where the next of them is to run: on
// the pool of streams, whose Settle waits for it; apart, so that it costs the others no place there; or, of a peer that takes
// longer than Settle waits, where nobody waits for it, until it has been quick again. It belongs to whoever begins a write and
// has been told that the last is over.
type Tempo struct {
	slow  uint8 // how many quick writes it takes to come back to the pool
	stale bool
}

const (
	// slowWrite is what a write takes that has met a peer which takes its time.
	slowWrite = 5 * time.Millisecond
	// probation is how many quick writes in a row it takes then.
	probation = 64
)

// Schedule has the next write run; apart if it is known that it will have to wait.
func (t *Tempo) Schedule(write func(), apart bool) {
	switch {
	case t.stale:
		go write()
	case apart || t.slow > 0:
		Streams().ScheduleApart(write)
	default:
		Streams().Schedule(write)
	}
}

// Wrote notes how long a write took for the peer's sake.
func (t *Tempo) Wrote(took time.Duration) {
	switch {
	case took >= slowWrite:
		t.slow, t.stale = probation, took >= staleLooks*lookEvery
	case t.slow > 0:
		t.slow, t.stale = t.slow-1, false
	}
}
