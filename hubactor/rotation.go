package hubactor

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/wskit/wskit/actors"
)

// rotation is who is to be told to come back, and when: while a drain is spread everybody, before that those who last as long as they
// may. It belongs to connections. Of nil the methods do nothing.
type rotation struct {
	link        *actors.Link
	age, jitter time.Duration // of connections; 0: they may last
	began       time.Time     // what turns count from
	turns       turnHeap      // a heap: the first to be told is in front
	timer       *time.Timer   // of that one; nil: there is none
	at          time.Duration // when it is to fire
	until       time.Duration // the end of the spread; 0: there is none
}

// turn is when somebody is told, who may have gone by then.
type turn struct {
	at time.Duration
	*entry
}

// leastWait is how long the timer runs at least: who is due by then is told together.
const leastWait = 5 * time.Millisecond

type (
	// spread, from the hub by way of the registry: tell everybody, until then.
	// The first turn is after phase, from 0 to 1, of the distance between two.
	spread struct {
		until time.Time
		phase float64
	}
	// spreadOver, to the hub: everybody has been told, or that time has come.
	spreadOver struct{}
	// turnsDue is from the timer.
	turnsDue struct{}
)

// IgnoreDeadLetterLogging is for what comes after the hub has ended.
func (*spread) IgnoreDeadLetterLogging()    {}
func (spreadOver) IgnoreDeadLetterLogging() {}
func (turnsDue) IgnoreDeadLetterLogging()   {}

// newRotation returns what connections last for according to cfg; nil: as long as they may.
func newRotation(cfg *Config, link *actors.Link) *rotation {
	if cfg.MaxAge <= 0 {
		return nil
	}
	return &rotation{link: link, age: cfg.MaxAge, jitter: cfg.MaxAgeJitter, began: time.Now()}
}

// add is for somebody who has come, one of so many.
func (r *rotation) add(e *entry, foreign bool, of int) {
	if r == nil {
		return
	}
	now := time.Since(r.began)
	switch {
	case r.until > 0:
		heap.Push(&r.turns, turn{now + part(r.until-now), e})
	case r.age > 0 && !foreign:
		heap.Push(&r.turns, turn{now + r.age + part(r.jitter), e})
	default:
		return
	}
	if len(r.turns) > 2*of+64 {
		r.tidy()
	}
	r.arm()
}

// part is any part of d.
func part(d time.Duration) time.Duration { return rand.N(max(d, 0) + 1) }

// tidy forgets those who have gone.
func (r *rotation) tidy() {
	all := r.turns
	r.turns = nil
	for _, t := range all {
		if t.Outbox.Reason() == actors.ReasonNone {
			r.turns = append(r.turns, t)
		}
	}
	heap.Init(&r.turns)
}

// spread gives everybody a turn until then, in random order and at equal distances.
func (r *rotation) spread(all map[string]*entry, until time.Time, phase float64) {
	r.clear()
	now := time.Since(r.began)
	r.until = max(until.Sub(r.began), now)
	for _, e := range all {
		r.turns = append(r.turns, turn{entry: e})
	}
	r.tidy()
	rand.Shuffle(len(r.turns), r.turns.Swap)
	for i := range r.turns { // in order, which a heap may be
		r.turns[i].at = now + time.Duration(float64(r.until-now)*(float64(i)+phase)/float64(len(r.turns)))
	}
	r.arm()
}

// tell tells those whose turn it is.
func (r *rotation) tell() {
	actors.StopTimers(r.timer)
	r.timer = nil
	reason := actors.ReasonMaxAge
	if r.until > 0 {
		reason = actors.ReasonRestart
	}
	for now := time.Since(r.began); len(r.turns) > 0 && r.turns[0].at <= now; {
		r.link.Gate.Force(&actors.Dismiss{Outbox: heap.Pop(&r.turns).(turn).Outbox, Reason: reason})
	}
	r.arm()
}

// over reports whether there is a spread, and nobody left to be told.
func (r *rotation) over() bool { return r != nil && r.until > 0 && len(r.turns) == 0 }

// clear is for when nobody is there.
func (r *rotation) clear() {
	if r != nil {
		actors.StopTimers(r.timer)
		r.turns, r.timer = nil, nil
	}
}

// arm sets the timer for the first turn.
func (r *rotation) arm() {
	if len(r.turns) == 0 || r.timer != nil && r.at <= r.turns[0].at {
		return
	}
	actors.StopTimers(r.timer)
	r.at = r.turns[0].at
	r.timer = time.AfterFunc(max(r.at-time.Since(r.began), leastWait), func() { r.link.System.Root.Send(r.link.Connections, turnsDue{}) })
}

type turnHeap []turn

// These implement heap.Interface.
func (t turnHeap) Len() int           { return len(t) }
func (t turnHeap) Less(i, k int) bool { return t[i].at < t[k].at }
func (t turnHeap) Swap(i, k int)      { t[i], t[k] = t[k], t[i] }
func (t *turnHeap) Push(x any)        { *t = append(*t, x.(turn)) }
func (t *turnHeap) Pop() any {
	last := len(*t) - 1
	x := (*t)[last]
	(*t)[last] = turn{}
	*t = (*t)[:last]
	return x
}
