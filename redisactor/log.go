package redisactor

import (
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wskit/wskit/actors"
)

// history is the log of a hub that has one, as far as its redis actor knows it. A message of its own is known again by its tag, so it
// needs no ledger: it is delivered when it comes back, with its position, or is found in a stream when it does not.
//
// On one subscription connection messages come in order of their positions, whatever their topic. What does not fit, or a connection that
// was lost, tears the log: what comes is held back then, until what was missed has been read from the streams.
type history struct {
	keys
	name   string        // what its tags begin with
	span   time.Duration // how long a stream lives at least
	most   int           // messages that are read of a topic
	serial uint64        // of the last message of its own

	at    actors.Position // of what was delivered last
	known actors.Position // that the registry may learn of
	fresh bool            // since it has subscribed nothing was confirmed yet
	torn  bool
	since time.Time // since when
	down  bool      // the registry was told so

	held      []arrival // what came since, in order
	heldBytes int

	reading  *reading   // nil: none is under way
	tokens   uint64     // of readings
	failures int        // of readings, one after the other
	loads    [][]string // that the registry waits for; each is answered as a whole

	own        map[string]*publication // by tag
	order      []*publication          // the same in publish order, and some that are over
	unanswered int                     // whose callers do not know what became of them
	waiting    int                     // that local subscribers may get yet
}

// arrival is a message with its place.
type arrival struct {
	*record
	topic *topic
	whole *received // nil: it was read from a stream
}

func (r arrival) frame() *actors.Frame {
	if r.whole != nil {
		return r.whole.frame()
	}
	return r.record.frame()
}

// histories numbers those of this process.
var histories atomic.Uint64

func newHistory(channel string, keep actors.History) *history {
	keep = keep.WithDefaults()
	return &history{
		keys: keysOf(channel), name: actors.Instance() + "." + strconv.FormatUint(histories.Add(1), 36) + "-", span: keep.Age,
		most: max(actors.MaxResume, keep.Messages), fresh: true, torn: true, since: time.Now(), own: make(map[string]*publication),
	}
}

// messageLogged is message in a hub with history. It reports whether the credit goes on with it.
func (a *redisActor) messageLogged(t *topic, m *message) bool {
	if m.record == nil {
		if isRecord(m.payload) {
			a.warnOf(t.channel)
			return false
		}
		if !t.members {
			return false
		}
		a.gate.deliver(actors.Broadcast{Frame: m.frame(), Topic: t.name}, nil, m.to.member)
		return true
	}
	r := arrival{m.record, t, m.received}
	if a.history.torn {
		a.holdBack(r)
		return false
	}
	return a.live(r, m.to.member)
}

// warnOf logs, once, that a record was none.
func (b *books) warnOf(where string) {
	if !b.warned {
		b.warned = true
		b.log().Warn("wskit: a message of a hub with history cannot be read and was ignored, and so will be others", "where", where)
	}
}

// live takes a message that Redis has just sent, and is not torn.
func (a *redisActor) live(r arrival, credit *member) bool {
	h, t := a.history, r.topic
	switch {
	case r.at.Epoch != h.at.Epoch:
		a.turnTo(actors.Position{Epoch: r.at.Epoch, N: r.at.N - 1})
		defer a.proceed()
	case r.at.N <= h.at.N:
		return false
	case t.traced && r.prev > t.seen:
		a.tear(true)
		a.holdBack(r)
		a.proceed()
		return false
	}
	a.hand(r, credit)
	return true
}

// turnTo begins with another epoch, from that position on. What is read of the one before is not wanted.
func (a *redisActor) turnTo(at actors.Position) {
	h := a.history
	a.stopReading()
	m := &actors.Logged{At: at, Down: h.down}
	if h.at.Epoch != "" {
		m.Reset = actors.ResetEpoch
	}
	h.at = at
	a.eachTopic(func(t *topic) { t.seen = at.N })
	a.gate.logged(m)
}

// hand delivers what is next in the log, and returns it as it was delivered; nil: it was not.
func (a *redisActor) hand(r arrival, credit *member) *actors.Frame {
	h, t := a.history, r.topic
	h.at.N, t.seen, t.traced = r.at.N, r.at.N, true
	a.knows(h.at)
	p := h.own[r.tag]
	b := actors.Broadcast{Topic: t.name}
	var own *entry
	if p != nil {
		p.came = true
	}
	switch {
	case p == nil:
		b.Frame = r.frame()
	case p.local: // they have it, and what is kept of the topic has a hole
		if credit != nil {
			credit.release()
		}
		h.loads = append(h.loads, []string{t.name})
		a.proceed()
		return nil
	default:
		if !p.delivered {
			p.delivered = true
			h.waiting--
		}
		if a.apart && r.whole != nil {
			a.together()
		}
		b.Frame, b.Except, own = p.frame, p.except, p.parted()
	}
	b.Frame = b.Frame.Placed(r.placement(t.name))
	if h.reading != nil && h.reading.load != nil {
		h.reading.note(t.name, r.record, b.Frame)
	}
	a.gate.place(b, own, credit)
	return b.Frame
}

// eachTopic calls fn for each topic that the hub has a subscription to.
func (b *books) eachTopic(fn func(*topic)) {
	for _, t := range b.topics {
		if t.sub != nil {
			fn(t)
		}
	}
	if b.own.sub != nil {
		fn(b.own)
	}
}

// confirmLogged takes it that Redis has confirmed a topic's subscription.
func (a *redisActor) confirmLogged(t *topic, again bool) {
	h := a.history
	if again {
		return
	}
	t.traced = false
	switch {
	case t == a.own:
	case t.owed && h.reading != nil && h.reading.load == nil: // which was too early for this one
		a.stopReading()
	case t.owed && !h.torn, slices.ContainsFunc(h.order, func(p *publication) bool { return !p.delivered && p.early && p.topic == t.name }):
		h.loads = append(h.loads, []string{t.name}) // what was published before the subscription does not come
	}
	a.proceed()
}

// interruptLogged is for when messages may have been missed.
func (a *redisActor) interruptLogged() {
	a.eachTopic(func(t *topic) { t.owed = t.owed || t.traced })
	a.tear(true)
}

// leaveLogged is for when the hub does not want what others publish any more.
func (a *redisActor) leaveLogged() {
	names := make(map[string]bool)
	a.eachTopic(func(t *topic) { names[t.name] = true })
	a.tear(true)
	a.history.fresh = true
	if !a.drained {
		a.leftLogged(names)
	}
}

// leftLogged is for topics whose channels the hub has left.
func (a *redisActor) leftLogged(names map[string]bool) {
	m := &actors.Logged{At: a.history.at, Down: a.history.down}
	for name := range names {
		m.Topics = append(m.Topics, actors.LoggedTopic{Topic: name})
	}
	a.flushLogged(func(p *publication) bool { return names[p.topic] })
	a.gate.logged(m)
}
