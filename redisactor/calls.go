package redisactor

import (
	"cmp"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

// caller is who waits for a Publish: for the answer of Redis, and for the message's place in this hub's order, which it has
// when its echo, or what is delivered in place of it, has been admitted to the hub's Gate. The place may be decided with the
// gate locked. The zero caller waits for nothing.
type caller struct {
	reply    chan<- error
	left     atomic.Int32
	answered error // why Redis does not have the message; set before its turn
	placed   error // why local subscribers do not get it; likewise
}

// wait begins the wait.
func (c *caller) wait(reply chan<- error) {
	c.reply = reply
	c.left.Store(2)
}

func (c *caller) answer(err error) {
	c.answered = err
	c.turn()
}

func (c *caller) place(err error) {
	c.placed = err
	c.turn()
}

func (c *caller) turn() {
	if c.left.Add(-1) == 0 {
		notify(c.reply, cmp.Or(c.placed, c.answered))
	}
}

// doubtAfter is how long an echo may be later than the answer before the link is asked whether it comes at all.
const doubtAfter = 300 * time.Millisecond

func (a *redisActor) publish(m *actors.Publish) {
	switch {
	case a.drain != nil:
		notify(m.Reply, actors.ErrHubStopped)
		return
	case a.gate.full():
		a.gate.timedOut()
		notify(m.Reply, actors.ErrTimeout)
		return
	case a.history != nil:
		a.publishLogged(m)
		return
	}
	t := a.topicOf(m.Topic)
	confirmed, epoch := a.confirmed(t), uint64(0)
	if confirmed {
		epoch = t.on
	}
	// Where nobody is in the topic there is nobody to wait for the echo, and whoever comes before it did not ask for this.
	e := a.ledger.Enter(m.Topic, m.Frame, m.Except, time.Now(), confirmed && t.members && !a.apart, epoch)
	e.caller.wait(m.Reply)
	if e.echo != echoAwaited {
		a.deliverOwn(e)
	}
	a.post(job{e, a.origin(m.Topic)})
	a.arm()
}

// post has a job handed to the publisher.
func (a *redisActor) post(j job) {
	a.jobs = append(a.jobs, j)
	switch len(a.jobs) {
	case 1: // what is in the mailbox already comes before it
		a.hub.System.Root.Send(a.self, sendOff{})
	case maxBatch:
		a.sendOff()
	}
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
	a.overdue = a.after(time.Until(at.Add(answerWithin)), &timeIsUp{})
}

func (a *redisActor) giveUp(now time.Time) {
	a.overdue = nil
	if a.hangUp(now.Add(-answerWithin), errNoAnswer) {
		a.trouble(errNoAnswer)
	}
	a.arm()
}

// hangUp ends the calls that began at or before the given time. What still awaits its echo is delivered now.
func (a *redisActor) hangUp(before time.Time, err error) (unanswered bool) {
	for _, o := range a.ledger.GiveUp(before) {
		if o.deliver {
			a.deliverOwn(o.entry)
		}
		if o.tell {
			unanswered = true
			o.caller.answer(err)
		}
	}
	return unanswered
}

func (a *redisActor) answered(results []result) {
	// Of PINGs that were sent while nothing was in the ledger this hub was not told, and their answers may be long in coming: none of
	// those sent by now is behind what is answered.
	a.ledger.Pinged(a.link.numbers.Load())
	late := false
	for _, r := range results {
		if r.entry.logged != nil {
			a.answeredLogged(r)
			continue
		}
		if r.entry.account == nil {
			a.announcedAs(r.entry, r.err)
			continue
		}
		deliver, tell := a.ledger.Answer(r.entry, r.answer)
		if deliver {
			a.deliverOwn(r.entry)
		}
		late = late || r.entry.echo == echoAwaited
		if !tell {
			continue // it was given up on, and that was reported
		}
		r.entry.caller.answer(r.err)
		topic := r.entry.account.topic
		if r.err == nil && len(a.barred) > 0 {
			if t := a.topicOf(topic); t == nil || t.sub == nil || a.confirmed(t) {
				a.unbar(a.origin(topic).channel)
			}
		}
		switch {
		case topic != "" && redis.IsPermissionError(r.err):
			a.bar(a.origin(topic).channel, r.err)
		case r.answer != answerExecuted:
			a.trouble(r.err)
		case a.confirmed(a.own) && !a.apart || a.wanted == 0:
			a.well()
		}
	}
	if late {
		a.armDoubt()
	}
}

// armDoubt sets the timer for echoes that come later than the answer, if it is not set.
func (a *redisActor) armDoubt() {
	if a.doubt == nil {
		a.doubt = a.after(doubtAfter, &doubtful{a.ledger.last})
	}
}

// doubtful looks whether an echo is missing that was so when the timer was set; last was then the last message.
func (a *redisActor) doubtful(last uint64) {
	a.doubt = nil
	id := a.ledger.Doubtful()
	if id > 0 && id <= last {
		a.link.tell(&doubt{})
	}
	if id > 0 {
		a.armDoubt()
	}
}
