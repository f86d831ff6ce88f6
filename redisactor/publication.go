package redisactor

import (
	"fmt"
	"strconv"
	"time"

	"github.com/wskit/wskit/actors"
)

// publication is a message of this hub's own.
type publication struct {
	entry
	by    *history
	topic string
	key   string
	keep  actors.History
	tag   string
	on    uint64 // the connection on which it has to come back; 0: none
	early bool   // it was published before the topic's first subscription, and may not come back

	since     time.Time // when its outcome was known
	taken     actors.Position
	delivered bool // it was handed to local subscribers, or will not be
	local     bool // without a position
	came      bool // it was found in the log
	placed    bool // its caller waits for that no more, or learns it from the gate
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
	h.serial++
	p := &publication{
		entry: entry{frame: m.Frame, except: m.Except, at: time.Now()},
		by:    h, topic: m.Topic, key: m.Keep.OnceAs(), keep: m.Keep.Of(*a.hub.History), tag: h.name + strconv.FormatUint(h.serial, 36),
	}
	p.entry.logged = p
	p.caller.wait(m.Reply)
	h.own[p.tag] = p
	h.order = append(h.order, p)
	h.unanswered++
	h.waiting++
	t := a.topicOf(m.Topic)
	switch {
	case a.member == nil && p.key == "":
		a.deliverHere(p)
	case a.member == nil:
	case t == nil:
		a.settle(p)
	case a.confirmed(t):
		p.on = t.on
	default:
		p.early = !t.owed
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

// deliverHere delivers a message of the hub's own now, before those who are connected would get it from the log. One with a key that Redis has
// not taken may be sent again, and is not delivered then.
func (a *redisActor) deliverHere(p *publication) {
	switch {
	case p.delivered:
		return
	case p.key != "" && p.answer != answerExecuted:
		a.settle(p)
		return
	}
	a.deliverLate(p)
}

// deliverLate delivers a message of the hub's own without a position. If Redis has taken it, it is for those alone who do not have it from the log.
func (a *redisActor) deliverLate(p *publication) {
	p.local = true
	if t := a.topicOf(p.topic); t == nil || !t.members {
		a.settle(p)
		return
	}
	p.delivered = true
	a.history.waiting--
	b := actors.Broadcast{Frame: p.frame, Topic: p.topic, Except: p.except}
	if a.member != nil && p.taken.Epoch != "" {
		b.Keep = actors.Late(p.taken)
	}
	a.gate.deliver(b, p.parted(), nil)
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
		a.knows(p.taken)
		h.tell(p, nil)
		switch {
		case r.taken.twin:
			a.settle(p)
		case a.member == nil || h.passed(p):
			a.deliverHere(p)
		case !p.delivered && p.early && a.confirmed(a.topicOf(p.topic)):
			h.loads = append(h.loads, []string{p.topic})
			a.proceed()
		case h.torn && time.Since(h.since) >= missAfter: // its position is its place, and there may be nothing else to wait for in a while
			p.place()
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

// knows notes a position that the log has.
func (a *redisActor) knows(at actors.Position) {
	h := a.history
	switch {
	case at.Epoch != h.known.Epoch:
		h.known = at
	case at.N <= h.known.N:
		return
	}
	h.known.N = at.N
	a.hub.Book.SetKnown(at.N)
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
		case p.answer == answerExecuted && (h.passed(p) || h.torn && h.fresh && age >= answerWithin && !a.gate.behind()):
			a.deliverHere(p)
		case age >= doubtFor && (p.answer != answerUnknown || p.key == ""):
			a.deliverHere(p)
		case age >= forgetAfter:
			a.settle(p)
		case (p.answer == answerExecuted || p.answer == answerUnknown && p.key == "") && now.Sub(p.since) >= patience:
			missing = true
		}
		if a.over(p, age) {
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
	if missing && !h.torn && a.reread == nil && a.confirmed(a.own) && !a.gate.behind() && !a.member.behind() {
		a.tear(false)
		a.proceed()
	}
	a.armWatch()
}

// over reports whether nothing more can be heard of a message, or what is heard does not matter.
func (a *redisActor) over(p *publication, age time.Duration) bool {
	switch {
	case !p.delivered || !p.told || p.answer == answerPending:
		return false
	case p.came || p.answer == answerRefused || age >= forgetAfter || a.member == nil:
		return true
	}
	return p.answer == answerExecuted && (!p.local || a.history.passed(p))
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
