package hubactor

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// registry knows the members, and the topics they are in, and fans broadcasts out to their outboxes. It runs no user code and waits for nobody.
type registry struct {
	link    *actors.Link
	frames  []*actors.Frame // broadcasts that go out at the next fanOut
	to      actors.Audience // of all of these
	seating actors.Seating  // of this incarnation
	ahead   int             // messages posted since connections were last known to have had their turn
	bytes   int             // of payload, of these
	unseen  int             // messages posted since it was last seen whether that is needed
	crowded bool            // it is: somebody has much in the queue
	events  int             // sent to the listener since it was last known to have seen them all
	fresh   bool            // somebody was registered since then, whose actor may be still to be spawned
	members []*member       // in no particular order: the last takes the place of one that leaves
	index   map[*actors.Outbox]*member

	log     *history    // nil: nothing is kept
	waiting waitingRoom // for what Redis has of it
	overdue *time.Timer
	sweeps  *time.Timer
}

// fanOut, from itself, comes when the broadcasts that waited along with the first have been taken.
type fanOut struct{}

// IgnoreDeadLetterLogging is for one that comes after the last broadcast went out and the registry stopped.
func (fanOut) IgnoreDeadLetterLogging() {}

// maxAhead is how many messages the registry may be ahead of the connections' actors when one of these has much to write. It is so much
// faster than they that it would fill the queue of a client that reads, and have its messages dropped, for want of a turn on the pool.
const maxAhead = actors.DefaultSendBufSize / 2

type member struct {
	actors.Member
	at      int      // in members
	waits   *waiting // it is to be one of these when it has what it missed; nil: it is
	from    uint64   // what comes after that position it is sent; before, it has it from the log
	arrived bool     // it writes, or was waited for
}

func registryProps(link *actors.Link) *actor.Props {
	log := newHistory(link)
	return actor.PropsFromProducer(func() actor.Actor { return &registry{link: link, log: log} }, actor.WithDispatcher(link.Goroutines))
}

func (r *registry) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	if op, ok := ctx.Message().(actors.Operation); ok {
		r.link.Gate.Leave(op.Op())
	}
	if m, ok := ctx.Message().(*actors.Broadcast); ok {
		if to := m.Audience(); to != r.to {
			r.fanOut(ctx)
			r.to = to
		}
		if f := r.record(ctx, m); f != nil {
			if r.frames = append(r.frames, f); len(r.frames) == 1 {
				ctx.Send(ctx.Self(), fanOut{})
			}
		}
		return
	}
	r.fanOut(ctx) // before whatever else comes: operations happen in order, and none is lost in a crash
	switch m := ctx.Message().(type) {
	case *actors.Register:
		r.register(ctx, m)
	case *actors.Unregister:
		if each := r.index[m.Outbox()]; each != nil {
			each.Outbox.Close(&actors.Close{Reason: actors.ReasonUnregistered})
			r.remove(ctx, each.Member)
		}
	case *actors.Dismiss:
		m.Outbox.Close(&actors.Close{Reason: m.Reason}) // of which it hears
	case *actors.Left:
		r.remove(ctx, m.Member)
	case *actors.Join:
		if box, topic := m.Membership(); r.index[box] != nil {
			r.join(r.index[box], topic)
		}
	case *actors.Leave:
		if box, topic := m.Membership(); topic != nil && r.index[box] != nil {
			r.leave(r.index[box], topic)
		}
	case *actors.Logged:
		r.logged(ctx, m)
	case *actors.Recall:
		r.recall(ctx, m)
	case tooLong:
		r.overdue = nil
		r.giveUp(ctx, time.Now().Add(-actors.ResumeTimeout))
	case sweep:
		r.sweeps = nil
		r.log.sweep(time.Now())
		r.armSweep(ctx)
	case *actors.DisconnectUser: // what was broadcast before has gone out
		ctx.Send(r.link.Connections, m)
	case *spread: // who was registered before is there
		ctx.Send(r.link.Connections, m)
	case *actors.Drain:
		r.removeAll(ctx, m.Deadline)
		m.Done <- struct{}{}
	case *retire:
		ctx.Send(r.link.Listener, m)
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		r.rebuild(ctx)
	case *actor.Restarting:
		actors.StopTimers(r.overdue, r.sweeps)
	case *actor.Stopping:
		r.removeAll(ctx, time.Time{}) // nobody left, if the hub could drain
		actors.StopTimers(r.overdue, r.sweeps)
	}
}

// fanOut gives those they are for the broadcasts taken so far: in bundles, so that each member is visited once for many of them.
func (r *registry) fanOut(ctx actor.Context) {
	rest, to := r.frames, r.to
	r.frames, r.to = nil, actors.Audience{}
	if r.log != nil && len(rest) > 0 {
		defer r.link.Book.SetAt(r.log.at)
	}
	r.link.Counters.Broadcasts.Add(uint64(len(rest)))
	for len(rest) > 0 && !to.Nobody {
		var f *actors.Frame
		f, rest = actors.Bundle(rest)
		if r.unseen+f.Count() > maxAhead {
			if r.unseen = 0; r.crowded {
				r.pace(ctx)
				r.ahead, r.bytes, r.crowded = 0, 0, false
			}
		}
		r.ahead, r.bytes, r.unseen = r.ahead+f.Count(), r.bytes+f.Len(), r.unseen+f.Count()
		r.post(f, to)
	}
}

// record has the log note a message, and returns it as it is to go out; nil: it is not.
func (r *registry) record(ctx actor.Context, m *actors.Broadcast) *actors.Frame {
	if r.log == nil {
		return m.Frame
	}
	if at := m.Keep.LateAt(); at.Epoch != "" {
		r.fanOut(ctx)
		r.late(m, at)
		return nil
	}
	f := r.log.record(m)
	switch {
	case r.waiting.all.Len() == 0 || f == nil:
	case f.Placement().Epoch == "":
		r.besides(f, r.to)
	default:
		r.spare(r.to.Except, f.Placement().Position)
	}
	r.armSweep(ctx)
	return f
}

func (r *registry) post(f *actors.Frame, to actors.Audience) {
	members := 0
	if to.Topic != nil {
		for box := range r.seating.Members(to.Topic) {
			if box == to.Except {
				continue
			}
			if members++; box.Broadcast(f) {
				r.crowded = true
			}
		}
	} else {
		for _, each := range r.members {
			if each.Outbox == to.Except {
				continue
			}
			if members++; each.Outbox.Broadcast(f) {
				r.crowded = true
			}
		}
	}
	r.delivered(f, members)
}

// delivered counts what was posted to so many.
func (r *registry) delivered(f *actors.Frame, members int) {
	r.link.Counters.Deliveries.Add(uint64(members) * uint64(f.Count()))
	r.link.Counters.Bytes.Add(uint64(members) * uint64(f.Len()))
}

// pace lets the connections' actors have their turn.
func (r *registry) pace(ctx actor.Context) {
	if r.fresh {
		r.fresh = false
		r.catchUp(ctx, r.link.Connections)
		r.awaitNewcomers()
	}
	r.link.Pools.Settle(r.ahead, r.bytes)
}

// maxArrival is how long a burst waits for those whose upgrade is about to end: they count from before it does.
const maxArrival = 50 * time.Millisecond

// awaitNewcomers lets those who came since the last time get as far as writing.
func (r *registry) awaitNewcomers() {
	patience := time.NewTimer(maxArrival)
	defer patience.Stop()
	for _, each := range r.members {
		if each.arrived {
			continue
		}
		each.arrived = true
		if begun := each.Outbox.Begun(); begun != nil {
			select {
			case <-begun:
			case <-patience.C:
				patience.Reset(0) // it is over for all
			}
		}
	}
}

// maxEvents is how many events the registry may be ahead of the listener, which has more to do for each.
const maxEvents = 256

// tell sends the listener an event. It waits when there are too many that the listener has not seen.
func (r *registry) tell(ctx actor.Context, event any) {
	ctx.Send(r.link.Listener, event)
	if r.events++; r.events >= maxEvents {
		r.events = 0
		r.catchUp(ctx, r.link.Listener)
	}
}

// catchUp waits until all that was sent to another child of the hub has been handled.
func (r *registry) catchUp(ctx actor.Context, child *actor.PID) {
	reply := make(chan struct{}, 1)
	ctx.Send(child, &actors.Caught{Reply: reply})
	_, _ = await(reply) // late or never: then its mailbox is what there is
}

// await is for what connections and the listener answer, who wait for nobody.
func await[T any](reply <-chan T) (answer T, ok bool) {
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case answer = <-reply:
		return answer, true
	case <-patience.C:
		return answer, false
	}
}

// rebuild asks connections who is there: nobody at first, everybody after a crash. Waiting for the answer here keeps
// every accepted operation where it is safe, in the mailbox; connections waits for nobody, but may be seconds behind: 200,000
// subscribers that have just come are to get their actors first. Only when it is gone, and with it the hub, there is no answer.
func (r *registry) rebuild(ctx actor.Context) {
	reply := make(chan []actors.Member, 1)
	ctx.Send(r.link.Connections, &actors.Members{Reply: reply})
	list, ok := await(reply)
	for !ok && r.haveConnections() {
		list, ok = await(reply)
	}
	r.seating = actors.Seating(seatings.Add(1))
	r.members = make([]*member, 0, len(list))
	r.index = make(map[*actors.Outbox]*member, len(list))
	for _, each := range list {
		r.place(r.know(each))
		if r.log != nil && !each.Outbox.Current() { // it waited for what it missed
			r.seating.Enter(each.Outbox)
			each.Outbox.Replay(actors.NewReset(r.log.at, actors.ResetUnknown))
		}
	}
	if r.log != nil {
		r.armSweep(ctx)
		r.link.Book.SetResuming(0)
	}
}

// seatings numbers incarnations of registries.
var seatings atomic.Uint64

func (r *registry) haveConnections() bool {
	_, there := r.link.System.ProcessRegistry.Get(r.link.Connections)
	return there
}

func (r *registry) register(ctx actor.Context, m *actors.Register) {
	box, foreign := m.Outbox()
	if r.index[box] != nil {
		r.seat(r.index[box], m)
		return
	}
	if foreign {
		adopt := newForeign(r.link, m.Subscriber, box)
		r.link.Adoptions.Add(adopt)
		ctx.Send(r.link.Connections, adopt)
	}
	joined := actors.Member{Subscriber: m.Subscriber, Outbox: box}
	if m.Cursor.After != "" {
		r.link.Counters.Resumes.Add(1)
	}
	r.tell(ctx, &actors.Connected{Member: joined})
	box.SetJoined(true)
	each := r.know(joined)
	if missing := r.missing(m.Cursor, m.InTopics()); len(missing) > 0 {
		each.waits = &waiting{member: each, cursor: m.Cursor, topics: m.InTopics(), known: m.Known()}
		r.await(ctx, each.waits, missing)
	} else {
		r.begin(each, m.Cursor, m.InTopics())
	}
	if box.Reason() != actors.ReasonNone { // it has come and gone already
		r.remove(ctx, joined)
	}
}

// seat gives who was registered before the topics that came along.
func (r *registry) seat(each *member, m *actors.Register) {
	for _, topic := range m.InTopics() {
		r.join(each, topic)
	}
}

func (r *registry) join(each *member, topic *actors.Topic) {
	switch {
	case each.waits == nil:
		r.seating.Join(each.Outbox, topic)
	case !slices.Contains(each.waits.topics, topic):
		each.waits.topics = append(slices.Clip(each.waits.topics), topic)
	}
}

func (r *registry) leave(each *member, topic *actors.Topic) {
	r.seating.Leave(each.Outbox, topic)
	if w := each.waits; w != nil {
		w.topics = slices.DeleteFunc(slices.Clone(w.topics), func(t *actors.Topic) bool { return t == topic })
	}
}

// know notes somebody who is to be a member.
func (r *registry) know(m actors.Member) *member {
	r.fresh = true
	each := &member{Member: m, at: -1}
	r.index[m.Outbox] = each
	return each
}

// place makes a member of somebody who is known.
func (r *registry) place(each *member) {
	each.at = len(r.members)
	r.members = append(r.members, each)
	r.seating.Resume(each.Outbox) // what it has of topics, if a registry before this one knew it
}

// remove takes m out and says so, once: what counts is whether its outbox had joined, which a crash of the registry does
// not make it forget. A message that it sent and that is being handled is handled first.
func (r *registry) remove(ctx actor.Context, m actors.Member) {
	if each := r.index[m.Outbox]; each != nil {
		if each.waits != nil {
			r.waiting.remove(each.waits)
			r.link.Book.SetResuming(r.waiting.all.Len())
		} else {
			last := len(r.members) - 1
			r.members[each.at] = r.members[last]
			r.members[each.at].at = each.at
			r.members[last] = nil
			r.members = r.members[:last]
		}
		delete(r.index, m.Outbox)
		if len(r.index) == 0 {
			r.members, r.index = nil, map[*actors.Outbox]*member{} // maps keep the room of their busiest hour
		}
	}
	r.seating.LeaveAll(m.Outbox) // also of one that had gone when this registry began
	if m.Outbox.SetJoined(false) {
		root, listener := r.link.System.Root, r.link.Listener
		event := &actors.Disconnected{Member: m, Reason: m.Outbox.Reason(), Code: m.Outbox.CloseCode()}
		r.link.Counters.Disconnected(event.Reason)
		m.Outbox.WhenQuiet(func() { root.Send(listener, event) })
	}
}

func (r *registry) removeAll(ctx actor.Context, deadline time.Time) {
	for w := range r.waiting.each {
		r.waiting.remove(w)
		if w.recall != nil {
			answer(w.recall.Reply, actors.Recalled{Err: actors.ErrHubStopped})
		} else {
			w.member.waits = nil
			r.place(w.member)
		}
	}
	for len(r.members) > 0 {
		m := r.members[len(r.members)-1].Member
		m.Outbox.Close(&actors.Close{Reason: farewell(r.link), Deadline: deadline})
		r.remove(ctx, m)
	}
}
