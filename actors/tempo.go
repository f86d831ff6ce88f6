package actors

import "time"

// Tempo is how quickly the writes of one connection go that may wait for its peer, and so where the next of them is to run: on
// the pool of streams, whose Settle waits for it; apart, so that it costs the others no place there; or, of a peer that takes
// longer than Settle waits again and again, where nobody waits for it, until it has been quick once. It belongs to whoever begins
// a write and has been told that the last is over.
type Tempo struct {
	slow   uint8 // how many quick writes it takes to come back to the pool
	lapses uint8 // writes in a row for which Settle would not wait
}

const (
	// slowWrite is what a write takes that has met a peer which takes its time.
	slowWrite = 5 * time.Millisecond
	// probation is how many quick writes in a row it takes then.
	probation = 64
	// maxLapses is how often it is waited for in vain: once may be for want of a processor.
	maxLapses = 3
)

// LeastTurn is how many messages are written at least before a connection leaves its place on the pool of streams to others.
const LeastTurn = 32

// Schedule has the next write run on a pool of streams; apart if it is known that it will have to wait.
func (t *Tempo) Schedule(on *Elastic, write func(), apart bool) {
	switch {
	case t.lapses >= maxLapses:
		go write()
	case apart || t.slow > 0:
		on.ScheduleApart(write)
	default:
		on.Schedule(write)
	}
}

// Wrote notes how long a write took for the peer's sake.
func (t *Tempo) Wrote(took time.Duration) {
	switch {
	case took >= lostLooks*lookEvery:
		t.slow, t.lapses = probation, maxLapses
	case took >= staleLooks*lookEvery:
		t.slow, t.lapses = probation, min(t.lapses+1, maxLapses)
	case took >= slowWrite:
		t.slow, t.lapses = probation, 0
	default:
		t.slow, t.lapses = max(t.slow, 1)-1, 0
	}
}
