package redisactor

import (
	"time"

	"github.com/wskit/wskit/actors"
)

func (a *redisActor) publish(m *actors.Publish) {
	if a.drain != nil {
		answerCaller(m.Reply, actors.ErrHubStopped)
		return
	}
	now := time.Now()
	e := a.ledger.Enter(m.Frame, m.Reply, now, a.confirmed)
	switch {
	case a.confirmed:
	case a.gate.full():
		a.gate.timedOut()
	default:
		a.deliverOwn(m.Frame)
	}
	a.jobs = append(a.jobs, job{e, a.origin})
	switch len(a.jobs) {
	case 1: // what is in the mailbox already comes before it
		a.hub.System.Root.Send(a.self, sendOff{})
	case maxBatch:
		a.sendOff()
	}
	a.arm()
}

// sendOff hands the publisher what was published since the last time.
func (a *redisActor) sendOff() {
	if len(a.jobs) > 0 {
		a.link.publish(&jobs{a.jobs})
		a.jobs = nil
	}
}

// arm sets the timer for the caller who waits longest, if it is not set.
func (a *redisActor) arm() {
	if a.overdue != nil {
		return
	}
	at, ok := a.ledger.Oldest()
	if !ok {
		return
	}
	a.overdue = a.after(time.Until(at.Add(answerWithin)), &overdue{})
}

func (a *redisActor) giveUp(now time.Time) {
	a.overdue = nil
	calls := a.ledger.GiveUp(now.Add(-answerWithin))
	for _, c := range calls {
		a.settle(c, errNoAnswer)
	}
	if len(calls) > 0 {
		a.trouble(errNoAnswer)
	}
	a.arm()
}

func (a *redisActor) answered(results []result) {
	for _, r := range results {
		c, ok := a.ledger.Answer(r.entry, r.answer)
		if !ok {
			continue // it was given up on, and that was reported
		}
		a.settle(c, r.err)
		if r.answer != answerExecuted {
			a.trouble(r.err)
		} else if a.confirmed || a.wanted == 0 {
			a.outage = false
		}
	}
}

// settle does what the end of a call asks for.
func (a *redisActor) settle(c call, err error) {
	if c.frame != nil {
		a.deliverOwn(c.frame)
	}
	answerCaller(c.reply, err)
}

// hangUp ends all calls: the hub stops.
func (a *redisActor) hangUp() {
	for _, c := range a.ledger.GiveUp(time.Now()) {
		a.settle(c, actors.ErrHubStopped)
	}
}

func answerCaller(reply chan<- error, err error) {
	if reply != nil {
		select {
		case reply <- err:
		default: // it was to have room
		}
	}
}
