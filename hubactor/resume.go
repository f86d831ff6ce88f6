package hubactor

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// errNotRecalled: Redis was asked for what is kept of a topic, and did not answer in time.
var errNotRecalled = errors.New("wskit: redis did not say in time what is kept of the topic")

// Of the registry's log, from its timers.
type (
	tooLong struct{} // who has waited longest has waited long enough
	sweep   struct{} // something is too old to be kept
)

// IgnoreDeadLetterLogging is for what comes after the hub has ended.
func (tooLong) IgnoreDeadLetterLogging() {}
func (sweep) IgnoreDeadLetterLogging()   {}

// begin makes a member of who was registered: with what the log has for it, and then whatever is broadcast.
func (r *registry) begin(each *member, cursor actors.Cursor, topics []*actors.Topic) {
	if r.log != nil {
		each.Outbox.Replay(r.log.welcome(cursor, names(topics), each.waits)...)
		each.from = r.log.at.N
	}
	each.waits = nil
	r.place(each)
	for _, topic := range topics {
		r.seating.Join(each.Outbox, topic)
	}
}

// names are those of topics, and that of the hub.
func names(topics []*actors.Topic) []string {
	list := make([]string, 1, len(topics)+1)
	for _, topic := range topics {
		list = append(list, topic.Name())
	}
	return list
}

// missing are the topics of which more has to be known for somebody to go on from a cursor.
func (r *registry) missing(cursor actors.Cursor, topics []*actors.Topic) (list []string) {
	if r.log == nil || r.log.own || cursor == (actors.Cursor{}) && r.log.down {
		return nil
	}
	p, ok := actors.ParsePosition(cursor.After)
	for _, topic := range names(topics) {
		switch {
		case cursor.After == "" && cursor.Last <= 0: // where the log stands is all that matters, if what comes of the topic comes here
			if ring := r.log.rings[topic]; topic == "" || ring != nil && ring.followed {
				continue
			}
		case cursor.After != "" && !ok:
			continue
		case cursor.After != "" && p.Epoch == r.log.at.Epoch && p.N <= r.log.at.N && r.log.reaches(topic, p.N):
			continue
		case cursor.After == "" && r.log.reaches(topic, 0):
			continue
		}
		list = append(list, topic)
	}
	return list
}

// logged takes what the link to Redis says of the log.
func (r *registry) logged(ctx actor.Context, m *actors.Logged) {
	if r.log == nil {
		return
	}
	r.log.heed(m)
	r.link.Book.SetAt(r.log.at)
	if m.Reset != "" {
		reset := actors.NewReset(m.At, m.Reset)
		for _, each := range r.members {
			each.Outbox.Replay(reset)
			each.from = m.At.N
		}
	}
	holes := make(map[*actors.Outbox]struct{})
	for _, t := range m.Topics {
		if t.Hole {
			for _, box := range r.in(t.Topic) {
				holes[box] = struct{}{}
			}
		}
	}
	reset := actors.NewReset(m.At, actors.ResetExpired)
	for box := range holes {
		box.Replay(reset)
	}
	r.told(ctx, m.Topics)
}

// in are those who are in a topic, or everybody.
func (r *registry) in(topic string) (list []*actors.Outbox) {
	if topic == "" {
		for _, each := range r.members {
			list = append(list, each.Outbox)
		}
		return list
	}
	return slices.Collect(r.seating.Members(r.link.Roll.Topic(topic)))
}

// recall answers what is kept of a topic, now or when Redis has said it.
func (r *registry) recall(ctx actor.Context, m *actors.Recall) {
	w := &waiting{recall: m}
	switch {
	case r.log == nil:
		answer(m.Reply, actors.Recalled{Err: actors.ErrNoHistory})
	case r.log.holds(m.Topic, m.Last):
		r.recalled(w)
	default:
		r.await(ctx, w, []string{m.Topic})
	}
}

func (r *registry) recalled(w *waiting) {
	list, last := w.loaded, max(w.recall.Last, 0)
	if list == nil {
		list = r.log.latest(last, math.MaxInt, []string{w.recall.Topic})
	}
	m := actors.Recalled{Messages: list[len(list)-min(len(list), last):]}
	if len(w.needs) > 0 {
		m = actors.Recalled{Err: errNotRecalled}
	}
	answer(w.recall.Reply, m)
}

// late sends a message that Redis has taken, at that position, to those who are members since before it had, and so do not have it. Who waits for what is
// kept finds it there, unless it is the exception.
func (r *registry) late(m *actors.Broadcast, at actors.Position) {
	to := m.Audience()
	r.link.Counters.Broadcasts.Add(1)
	if to.Nobody {
		return
	}
	for _, each := range r.index {
		if to.Topic != nil && !each.Outbox.IsIn(to.Topic) {
			continue
		}
		has := at.Epoch == r.log.at.Epoch && each.from >= at.N
		if each.waits == nil && each.Outbox != to.Except && !has {
			each.Outbox.Broadcast(m.Frame)
			r.delivered(m.Frame, 1)
			if at.Epoch == r.log.at.Epoch && at.N <= r.log.at.N { // so that it is not told that again when it comes back
				each.Outbox.Replay(actors.NewMark(r.log.at))
			}
		}
	}
	r.spare(to.Except, at)
}

// spare notes that somebody who waits is not to get a message.
func (r *registry) spare(box *actors.Outbox, at actors.Position) {
	if each := r.index[box]; each != nil && each.waits != nil {
		each.waits.except = append(each.waits.except, at.N)
	}
}

// besides sends those who wait for what they missed a message that is not in the log, and which they would not find there.
func (r *registry) besides(f *actors.Frame, to actors.Audience) {
	for w := range r.waiting.each {
		if w.member != nil && w.member.Outbox != to.Except && !to.Nobody && (to.Topic == nil || slices.Contains(w.topics, to.Topic)) {
			w.member.Outbox.Broadcast(f)
			r.delivered(f, 1)
		}
	}
}

// armSweep sets the timer for what gets too old, if anything does and it is not set.
func (r *registry) armSweep(ctx actor.Context) {
	if r.sweeps == nil && !r.log.empty() {
		r.sweeps = remind(ctx, min(max(r.log.kept.Age/2, time.Second), time.Minute), sweep{})
	}
}
