package clientactor

import (
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// liveness is what a connection's actor knows about whether the peer is there. Only one that is dead is to be found dead: a
// ping is overdue when the write wait has passed and there is no other sign of life since.
type liveness struct {
	timer    *time.Timer   // of the next tick
	due      time.Time     // when that should be
	pinged   time.Time     // when the last ping was sent
	before   actors.Vitals // just before that
	awaiting bool          // a sign of life
}

// tick, from the timer: a ping may be due, or a look at whether the last was answered.
type tick struct{}

// heard is called with whatever is read: that is a sign of life.
func (c *Conn) heard() {
	if !c.alive.Load() { // most have been heard already, and a load costs the other processors nothing
		c.alive.Store(true)
	}
}

// ponged is told how a ping on a borrowed connection went.
func (c *Conn) ponged(err error) {
	if err != nil {
		c.box.PostUserMessage(broken{})
		return
	}
	c.heard()
}

// servedWithin is how soon somebody is to read from or write to a client that was accepted.
const servedWithin = 10 * time.Second

// expectService has the client closed if nobody serves it. One that the caller brought is the caller's to time.
func (c *connection) expectService() {
	if c.wire != nil {
		c.tickIn(servedWithin)
	}
}

// startPinging spreads the first pings over half an interval, so that clients that came together do not ping together.
func (c *connection) startPinging() {
	c.tickIn(c.cfg.PingInterval/2 + rand.N(c.cfg.PingInterval/2+1))
}

// tickIn sets the timer, which is made when it is first needed.
func (c *connection) tickIn(d time.Duration) {
	c.life.due = time.Now().Add(d)
	if c.life.timer == nil {
		c.life.timer = time.AfterFunc(d, func() { c.box.PostUserMessage(tick{}) })
		return
	}
	c.life.timer.Reset(d)
}

func (c *connection) tick(ctx actor.Context) {
	switch {
	case c.over || c.closing:
		return
	case !c.started: // the tick of expectService
		if !c.reading.Load() {
			ctx.Send(ctx.Parent(), &actors.Unserved{})
			c.box.Close(&actors.Close{Reason: actors.ReasonUnserved})
		}
		return
	}
	l, now := &c.life, time.Now()
	since := now.Sub(l.pinged)
	if l.awaiting && c.shown(now) {
		l.awaiting = false
	}
	switch limit := c.sink().Wait(); {
	case l.awaiting && since >= limit:
		c.fail(actors.ReasonPing)
	case l.awaiting:
		c.tickIn(lookAfter(since, limit))
	case since < c.cfg.PingInterval:
		c.tickIn(c.cfg.PingInterval - since)
	case c.pending: // a ping would wait behind that, and is not needed: a write that does not get on is given up
		c.tickIn(min(c.cfg.PingInterval, c.cfg.WriteWait) / 2)
	default:
		c.ping(now)
	}
}

func (c *connection) ping(now time.Time) {
	if mark := c.box.Mark(); mark != nil { // so that a quiet peer's cursor does not stay behind
		_ = c.box.Send(mark)
	}
	c.life.before = c.sink().Vitals()
	c.alive.Store(false)
	c.life.awaiting, c.life.pinged = true, now
	if err := c.sink().ping(); err != nil {
		c.fail(actors.ReasonWrite)
		return
	}
	c.tickIn(min(c.cfg.PingInterval, lookAfter(0, c.cfg.WriteWait)))
}

// shown reports whether there has been a sign of life since the last ping, or reason not to expect one: nobody reads, and so
// sees none, or what is read has to wait, or this process itself stood still.
func (c *connection) shown(now time.Time) bool {
	return c.alive.Load() || !c.reading.Load() || c.box.Engaged() || c.pending ||
		actors.StoodStill(c.life.due, now, c.cfg.WriteWait) || c.sink().Vitals().MovedSince(c.life.before)
}

// lookAfter is how long to wait for the next look at whether a ping is answered. There are several, since a process that
// stood still for the time between two, and nothing but, finds out by that the next is late.
func lookAfter(since, wait time.Duration) time.Duration {
	for _, look := range []time.Duration{wait / 2, wait / 4 * 3, wait} {
		if look > since {
			return look - since
		}
	}
	return 0
}
