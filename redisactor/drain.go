package redisactor

import (
	"time"

	"github.com/wskit/wskit/actors"
)

// lingerFor is how long a hub that stops waits for echoes once all it published is answered. Redis writes an echo before
// the answer, so there is rarely anything to wait for.
const lingerFor = 100 * time.Millisecond

// startDrain is for when the hub stops: no more is taken, and what was published is seen through.
func (a *redisActor) startDrain(m *actors.Drain) {
	if a.drained {
		notify(m.Done, struct{}{})
		return
	}
	a.drain = m
	a.gate.force()
	a.setDrainTimers()
}

func (a *redisActor) setDrainTimers() {
	if a.drain == nil || a.drained {
		return
	}
	if at := a.drain.Deadline; !at.IsZero() { // without a deadline the 2 s of each Publish are the limit
		a.draining = a.after(time.Until(at), &drainOver{})
	}
	if a.waits {
		a.lingering = a.after(lingerFor, &drainOver{})
	}
}

// goOnDraining looks after every message whether the drain is over.
func (a *redisActor) goOnDraining() {
	switch {
	case a.drain == nil || a.drained || a.ledger.unanswered > 0 || len(a.announced) > 0:
	case a.history != nil && a.history.unanswered > 0:
	case a.ledger.waiting == 0 && (a.history == nil || a.history.waiting == 0):
		a.finish()
	case !a.waits:
		a.waits = true
		a.lingering = a.after(lingerFor, &drainOver{})
	}
}

// finish delivers what is left. From now on the actor ignores everything.
func (a *redisActor) finish() {
	if a.drain == nil || a.drained {
		return
	}
	a.drained = true
	a.flush()
	a.hangUp(time.Now(), actors.ErrHubStopped)
	a.hangUpLogged(actors.ErrHubStopped)
	a.hush(time.Now(), actors.ErrHubStopped)
	a.leave()
	a.gate.force() // had the gate stopped meanwhile
	a.stopTimers()
	notify(a.drain.Done, struct{}{})
}

// notify sends v, if anybody wants it.
func notify[T any](to chan<- T, v T) {
	select {
	case to <- v:
	default: // it was to have room; nil has none
	}
}
