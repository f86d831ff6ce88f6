package clientactor

import (
	"time"

	"github.com/wskit/wskit/actors"
	"golang.org/x/time/rate"
)

// maxBehind is how long reading may stand still for a peer that sends more messages than it may, before that is closed.
const maxBehind = time.Second

// meter is how fast the peer sends messages. It belongs to whoever reads.
//
// Behind is reading whose messages wait for the limit. It has caught up when it has waited for the peer as long as the other way
// round: so a peer that keeps to the limit on the whole stays. What the handler takes counts for neither.
type meter struct {
	limit  *rate.Limiter
	behind time.Duration // how long reading has stood still, less how long it has waited for the peer since
	ready  time.Time     // when the last message was done with
	ended  chan struct{} // closed when the connection's end begins; nil while nothing had to wait
}

// limited reports whether there is a limit: rate.Inf is none.
func (c *Conn) limited() bool { return c.cfg.Rate > 0 && c.cfg.Rate < float64(rate.Inf) }

// abide waits until the peer's next message may be handed on, and reports whether it is to be: the end may begin meanwhile, as it does
// when the peer has been too fast for too long. Nothing is read, so TCP slows the peer down.
func (c *Conn) abide() bool {
	if c.rare == nil {
		c.rare = new(rare)
	}
	m := c.rare.meter
	if m == nil {
		m = &meter{limit: rate.NewLimiter(rate.Limit(c.cfg.Rate), max(c.cfg.Burst, 1))}
		c.rare.meter = m
	}
	now := time.Now()
	wait := m.limit.ReserveN(now, 1).DelayFrom(now)
	m.behind = max(m.behind-now.Sub(m.ready), 0)
	if wait == 0 {
		return true
	}
	if m.ended == nil {
		ended := make(chan struct{})
		m.ended = ended
		c.box.OnEnd(func() { close(ended) })
	}
	left := maxBehind - m.behind
	timer := time.NewTimer(min(wait, left))
	defer timer.Stop()
	select {
	case <-m.ended:
		return false
	case <-timer.C:
	}
	if m.behind += wait; wait > left {
		c.box.Close(&actors.Close{Reason: actors.ReasonRate})
		return false
	}
	return true
}
