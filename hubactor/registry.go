package hubactor

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// registry knows the members and fans broadcasts out to their outboxes. It runs no user code and waits for nobody.
type registry struct {
	cfg     Config
	link    *actors.Link
	frames  []*actors.Frame // broadcasts that go out at the next fanOut
	ahead   int             // messages posted since connections were last known to have had their turn
	fresh   bool            // somebody was registered since then, whose actor may be still to be spawned
	members []*member       // in no particular order: the last takes the place of one that leaves
	index   map[actors.Subscriber]*member
}

// fanOut, from itself, comes when the broadcasts that waited along with the first have been taken.
type fanOut struct{}

// IgnoreDeadLetterLogging is for one that comes after the last broadcast went out and the registry stopped.
func (fanOut) IgnoreDeadLetterLogging() {}

// maxAhead is how many messages the registry may be ahead of the connections' actors. It is so much faster than they that it
// would fill the queue of a client that reads, and have its messages dropped, for want of a turn on the pool.
const maxAhead = actors.DefaultSendBufSize / 2

type member struct {
	actors.Member
	at int // in members
}

func registryProps(cfg Config, link *actors.Link) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &registry{cfg: cfg, link: link} }, actor.WithDispatcher(link.Goroutines))
}

func (r *registry) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	if op, ok := ctx.Message().(actors.Operation); ok {
		r.link.Gate.Leave(op.Op())
	}
	if m, ok := ctx.Message().(*actors.Broadcast); ok {
		if r.frames = append(r.frames, m.Frame); len(r.frames) == 1 {
			ctx.Send(ctx.Self(), fanOut{})
		}
		return
	}
	r.fanOut(ctx) // before whatever else comes: operations happen in order, and none is lost in a crash
	switch m := ctx.Message().(type) {
	case *actors.Register:
		r.register(ctx, m)
	case *actors.Unregister:
		if each := r.index[m.Subscriber]; each != nil {
			each.Outbox.Close(&actors.Close{Reason: actors.ReasonUnregistered})
			r.remove(ctx, each.Member)
		}
	case *actors.Left:
		r.remove(ctx, m.Member)
	case *actors.Drain:
		r.removeAll(ctx, m.Deadline)
		m.Done <- struct{}{}
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		r.rebuild(ctx)
	case *actor.Stopping:
		r.removeAll(ctx, time.Time{}) // nobody left, if the hub could drain
	}
}

// fanOut gives every member the broadcasts taken so far: in bundles, so that each member is visited once for many of them.
func (r *registry) fanOut(ctx actor.Context) {
	for rest := r.frames; len(rest) > 0; {
		var f *actors.Frame
		f, rest = actors.Bundle(rest)
		if r.ahead += f.Count(); r.ahead > maxAhead {
			r.pace(ctx)
			r.ahead = f.Count()
		}
		for _, each := range r.members {
			each.Outbox.PostUserMessage(f)
		}
	}
	r.frames = nil
}

// pace lets the connections' actors have their turn.
func (r *registry) pace(ctx actor.Context) {
	if r.fresh {
		reply := make(chan struct{}, 1)
		ctx.Send(r.link.Connections, &actors.Adopted{Reply: reply})
		_, _ = await(reply) // late or never: then somebody's queue is what there is
		r.fresh = false
	}
	actors.Connections().Settle()
	actors.Streams().Settle()
}

// await is for what connections answers, which waits for nobody.
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
// every accepted operation where it is safe, in the mailbox; connections waits for nobody.
func (r *registry) rebuild(ctx actor.Context) {
	reply := make(chan []actors.Member, 1)
	ctx.Send(r.link.Connections, &actors.Members{Reply: reply})
	list, ok := await(reply)
	if !ok {
		panic(errors.New("wskit: registry got no answer from connections"))
	}
	r.members = make([]*member, 0, len(list))
	r.index = make(map[actors.Subscriber]*member, len(list))
	for _, each := range list {
		r.add(each)
	}
	r.link.Gate.SetMembers(len(r.members), false)
}

func (r *registry) register(ctx actor.Context, m *actors.Register) {
	reserved := m.Reserved
	defer func() {
		if reserved {
			r.link.Gate.Unreserve()
		}
	}()
	if old := r.index[m.Subscriber]; old != nil {
		if old.Outbox.Reason() == actors.ReasonNone {
			return
		}
		r.remove(ctx, old.Member) // it is on its way out
	}
	var box *actors.Outbox
	if c, ok := m.Subscriber.(actors.Connection); ok {
		box = c.Outbox()
	}
	if box == nil || !box.At(r.link.Connections) {
		adopt := newForeign(r.link, m.Subscriber)
		box = adopt.Outbox
		ctx.Send(r.link.Connections, adopt)
	}
	joined := actors.Member{Subscriber: m.Subscriber, Outbox: box}
	if box.Reason() != actors.ReasonNone { // it has come and gone already
		ctx.Send(r.link.Listener, &actors.Connected{Member: joined})
		ctx.Send(r.link.Listener, &actors.Disconnected{Member: joined, Reason: box.Reason()})
		return
	}
	if r.cfg.OnConnect != nil {
		box.Hold()
	}
	box.SetJoined(true)
	r.add(joined)
	r.link.Gate.SetMembers(len(r.members), reserved) // before OnConnect asks
	reserved = false
	ctx.Send(r.link.Listener, &actors.Connected{Member: joined})
}

func (r *registry) add(m actors.Member) {
	r.fresh = true
	each := &member{Member: m, at: len(r.members)}
	r.members = append(r.members, each)
	r.index[m.Subscriber] = each
}

// remove takes m out and says so, once: what counts is whether its outbox had joined, which a crash of the registry does
// not make it forget.
func (r *registry) remove(ctx actor.Context, m actors.Member) {
	if each := r.index[m.Subscriber]; each != nil && each.Outbox == m.Outbox {
		last := len(r.members) - 1
		r.members[each.at] = r.members[last]
		r.members[each.at].at = each.at
		r.members[last] = nil
		r.members = r.members[:last]
		delete(r.index, m.Subscriber)
		if last == 0 {
			r.members, r.index = nil, map[actors.Subscriber]*member{} // maps keep the room of their busiest hour
		}
		r.link.Gate.SetMembers(last, false)
	}
	if m.Outbox.SetJoined(false) {
		ctx.Send(r.link.Listener, &actors.Disconnected{Member: m, Reason: m.Outbox.Reason()})
	}
}

func (r *registry) removeAll(ctx actor.Context, deadline time.Time) {
	for len(r.members) > 0 {
		m := r.members[len(r.members)-1].Member
		m.Outbox.Close(&actors.Close{Reason: actors.ReasonShutdown, Deadline: deadline})
		r.remove(ctx, m)
	}
}
