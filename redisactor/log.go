package redisactor

import (
	"fmt"
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
	fresh bool            // since it has subscribed nothing was confirmed yet
	torn  bool
	down  bool // the registry was told so

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

// publication is a message of this hub's own.
type publication struct {
	entry
	by    *history
	topic string
	key   string
	keep  actors.History
	tag   string
	on    uint64 // the connection on which it has to come back; 0: none

	since     time.Time // when its outcome was known
	taken     actors.Position
	delivered bool // it was handed to local subscribers, or will not be
	local     bool // without a position
	came      bool // it was found in the log
	placed    bool // its caller waits for that no more, or learns it from the gate
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

const (
	// watchEvery is how often own messages are looked at.
	watchEvery = 100 * time.Millisecond

	// missAfter is how much later than the answer an echo may be before it is looked for in the streams; missSoon the same where echoes
	// are known not to come.
	missAfter = time.Second
	missSoon  = 50 * time.Millisecond

	// doubtFor is how long a message of unknown outcome, or one whose echo is missing, waits for being found; forgetAfter when it is not
	// known again any more.
	doubtFor    = 10 * time.Second
	forgetAfter = time.Minute
)

// histories numbers those of this process.
var histories atomic.Uint64

func newHistory(channel string, keep actors.History) *history {
	keep = keep.WithDefaults()
	return &history{
		keys: keysOf(channel), name: actors.Instance() + "." + strconv.FormatUint(histories.Add(1), 36) + "-", span: keep.Age,
		most: max(actors.MaxResume, keep.Messages), fresh: true, torn: true, own: make(map[string]*publication),
	}
}

// watch, to itself from its timer: how do own messages do?
type watch struct{}

// publishLogged is publish in a hub with history.
func (a *redisActor) publishLogged(m *actors.Publish) {
	h := a.history
	if len(h.own) >= maxNotes {
		a.gate.timedOut()
		notify(m.Reply, actors.ErrTimeout)
		return
	}
	keep := a.hub.History
	if m.History != nil {
		keep = m.History
	}
	h.serial++
	p := &publication{
		entry: entry{frame: m.Frame, except: m.Except, at: time.Now()},
		by:    h, topic: m.Topic, key: m.Key, keep: keep.WithDefaults(), tag: h.name + strconv.FormatUint(h.serial, 36),
	}
	p.entry.logged = p
	p.caller.wait(m.Reply)
	h.own[p.tag] = p
	h.order = append(h.order, p)
	h.unanswered++
	h.waiting++
	t := a.topicOf(m.Topic)
	switch {
	case a.member == nil:
		a.deliverHere(p)
	case t == nil:
		a.settle(p)
	case a.confirmed(t):
		p.on = t.on
	}
	a.post(job{&p.entry, a.origin(m.Topic)})
	a.armWatch()
}

// settle is for one that nobody here is to get, or will.
func (a *redisActor) settle(p *publication) {
	if !p.delivered {
		p.delivered = true
		a.history.waiting--
	}
	p.place()
}

// place has the caller not wait any more for the place.
func (p *publication) place() {
	if !p.placed {
		p.placed = true
		p.caller.place(nil)
	}
}

// parted is the entry with which the message is handed to the gate, which tells its caller, once.
func (p *publication) parted() *entry {
	if p.placed {
		return &entry{}
	}
	p.placed = true
	return &p.entry
}

// deliverHere delivers a message of the hub's own without a position, now.
func (a *redisActor) deliverHere(p *publication) {
	if p.delivered {
		return
	}
	p.local = true
	if t := a.topicOf(p.topic); t == nil || !t.members {
		a.settle(p)
		return
	}
	p.delivered = true
	a.history.waiting--
	a.gate.deliver(actors.Broadcast{Frame: p.frame, Topic: p.topic, Except: p.except}, p.parted(), nil)
}

// tell answers the caller, once.
func (h *history) tell(p *publication, err error) {
	if !p.told {
		p.told = true
		h.unanswered--
		p.caller.answer(err)
	}
}

// answeredLogged takes what became of one that was published.
func (a *redisActor) answeredLogged(r result) {
	h, p := a.history, r.entry.logged
	if p.answer == answerExecuted || p.answer == answerRefused || p.answer == r.answer {
		return
	}
	p.answer, p.since = r.answer, time.Now()
	known := p.told
	switch r.answer {
	case answerExecuted:
		p.taken = r.taken.at
		h.tell(p, nil)
		if r.taken.twin {
			a.settle(p)
		} else if h.passed(p) {
			a.deliverHere(p)
		}
	case answerRefused:
		h.tell(p, r.err)
		a.deliverHere(p)
	case answerUnknown:
		a.unknown(p, r.err)
	}
	if r.answer == answerExecuted && len(a.barred) > 0 {
		if t := a.topicOf(p.topic); t == nil || t.sub == nil || a.confirmed(t) {
			a.unbar(a.origin(p.topic).channel)
		}
	}
	switch {
	case known: // it was given up on, and that was reported
	case r.answer == answerExecuted && !h.torn && h.failures == 0 && !a.apart || a.wanted == 0:
		a.well()
	case r.answer == answerExecuted:
	case r.taken != nil && p.topic != "":
		a.bar(a.origin(p.topic).channel, r.err)
	default:
		a.trouble(r.err)
	}
}

// unknown tells the caller so, unless the message has come back.
func (a *redisActor) unknown(p *publication, err error) {
	if p.came {
		err = nil
	} else {
		err = fmt.Errorf("%w: %w", actors.ErrUnknownOutcome, err)
	}
	a.history.tell(p, err)
	p.place()
}

// passed reports whether a message that Redis has taken would have come by now.
func (h *history) passed(p *publication) bool {
	return !h.torn && p.taken.Epoch == h.at.Epoch && p.taken.N <= h.at.N
}

// armWatch sets the timer for own messages, if there are any and it is not set.
func (a *redisActor) armWatch() {
	if len(a.history.order) > 0 && a.watch == nil {
		a.watch = a.after(watchEvery, &watch{})
	}
}

func (a *redisActor) watchOver(now time.Time) {
	h := a.history
	a.watch = nil
	patience := missAfter
	if a.apart {
		patience = missSoon
	}
	missing, late, rest := false, false, h.order[:0]
	for _, p := range h.order {
		age := now.Sub(p.at)
		if age >= answerWithin-watchEvery {
			if !p.told {
				late = true
				p.answer, p.since = answerUnknown, now
				a.unknown(p, errNoAnswer)
			}
			p.place()
		}
		switch {
		case p.delivered:
		case p.answer == answerExecuted && h.passed(p):
			a.deliverHere(p)
		case age >= doubtFor && (p.answer != answerUnknown || p.key == ""):
			a.deliverHere(p)
		case age >= forgetAfter:
			a.settle(p)
		case (p.answer == answerExecuted || p.answer == answerUnknown && p.key == "") && now.Sub(p.since) >= patience:
			missing = true
		}
		if p.over(age) {
			delete(h.own, p.tag)
		} else {
			rest = append(rest, p)
		}
	}
	clear(h.order[len(rest):])
	if h.order = rest; len(rest) == 0 {
		h.order = nil
	}
	if late {
		a.trouble(errNoAnswer)
	}
	if missing && !h.torn && a.confirmed(a.own) && !a.gate.behind() && !a.member.behind() {
		a.tear(false)
		a.proceed()
	}
	a.armWatch()
}

// over reports whether nothing more can be heard of it.
func (p *publication) over(age time.Duration) bool {
	switch {
	case !p.delivered || !p.told || p.answer == answerPending:
		return false
	case p.answer == answerUnknown:
		return age >= forgetAfter || p.came && !p.local
	}
	return true
}

// flushLogged ends the wait for echoes: there may be none any more.
func (a *redisActor) flushLogged(which func(*publication) bool) {
	for _, p := range a.history.order {
		switch {
		case p.delivered || !which(p):
		case p.key != "" && (p.answer == answerUnknown || p.answer == answerPending && a.drained):
			a.settle(p)
		default:
			a.deliverHere(p)
		}
	}
}

// hangUpLogged answers all callers.
func (a *redisActor) hangUpLogged(err error) {
	if a.history == nil {
		return
	}
	for _, p := range a.history.order {
		a.history.tell(p, err)
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

// turnTo begins with another epoch, from that position on.
func (a *redisActor) turnTo(at actors.Position) {
	h := a.history
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
