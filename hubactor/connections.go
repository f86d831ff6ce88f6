package hubactor

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// connections supervises one actor per subscriber. It knows who is there; the registry asks it after a crash.
type connections struct {
	link    *actors.Link
	reason  actors.Reason                // of who ends with the hub
	props   *actor.Props                 // of every connection
	next    *actors.Adopt                // the one being spawned
	entries map[string]*entry            // by PID id
	foreign map[actors.Subscriber]*entry // nil: there is none
	parked  []*actors.Adopt              // foreign subscribers that came again before they had quite left
	serial  uint64

	orders   *orders
	rotation *rotation // nil: none has been needed
	unserved bool      // that there was one is logged
	draining *actors.Drain
	limit    *time.Timer // of draining
}

type entry struct {
	actors.Member
	serial uint64
}

type (
	// listed, from the hub: complete the answer to actors.Tree.
	listed struct {
		names []string
		reply chan<- []string
	}
	// inspected, from the hub: complete the answer to actors.Inspect.
	inspected struct {
		actors []actors.ActorInfo
		reply  chan<- []actors.ActorInfo
	}
	// allLeft, from itself: all that those who left had reported has been handled.
	allLeft struct{}
	// overdue, from its own timer: the drain deadline has passed; last, and nothing will end what still runs.
	overdue struct{ last bool }
)

func connectionsProps(cfg *Config, link *actors.Link) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor {
		c := &connections{link: link, reason: farewell(link), entries: map[string]*entry{}, orders: newOrders(link),
			rotation: newRotation(cfg, link)}
		c.props = actor.PropsFromProducer(func() actor.Actor { return c.next.Actor },
			actor.WithDispatcher(link.Pools.Connections), actor.WithMailbox(func() actor.Mailbox { return c.next.Outbox }))
		return c
	}, actor.WithDispatcher(link.Goroutines))
}

func (c *connections) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	switch m := ctx.Message().(type) {
	case *actors.Adopt:
		c.adopt(ctx, m)
	case *actor.Terminated:
		c.ended(ctx, m.Who)
	case *actors.Members:
		m.Reply <- c.joined()
	case *actors.Caught:
		m.Reply <- struct{}{}
	case *actors.Overflowed:
		ctx.Send(c.link.Listener, &actors.Dropped{Subscriber: m.Subscriber, Count: m.Count})
	case *actors.Unserved:
		if !c.unserved {
			c.unserved = true
			c.link.Log.Warn("wskit: a client was accepted and not served within 10 s, and is closed: run its ReadPump and WritePump, or Serve, in goroutines of their own")
		}
	case *actors.Failed: // from a connection that caught a panic in user code
		m.Log(c.link.Log)
		ctx.Send(c.link.Listener, m)
	case *actors.Oversized:
		c.link.Log.Warn("wskit: a client sent a message that is longer than it may be and is closed with 1009; WithMaxMessageSize allows longer ones", "limit", m.Limit)
	case *spread:
		if c.rotation == nil {
			c.rotation = &rotation{link: c.link, began: time.Now()}
		}
		c.rotation.spread(c.entries, m.until, m.phase)
		c.told(ctx)
	case turnsDue:
		c.rotation.tell()
		c.told(ctx)
	case *actors.Drain:
		c.drain(ctx, m)
	case *retire:
		c.retire(ctx, m)
	case *overdue:
		c.overdue(ctx, m)
	case *allLeft:
		answer(c.draining.Done, struct{}{})
	case *listed:
		for id := range c.entries {
			m.names = append(m.names, id)
		}
		answer(m.reply, m.names)
	case *inspected:
		for id, e := range c.entries {
			m.actors = append(m.actors, actors.ActorInfo{Name: id, Mailbox: e.Outbox.UserMessageCount(), Subscriber: e.Subscriber})
		}
		answer(m.reply, m.actors)
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Stopping:
		if c.limit != nil {
			c.limit.Stop()
		}
		c.orders.stop()
		c.rotation.clear()
	default:
		c.orders.receive(ctx, m)
	}
}

func (c *connections) adopt(ctx actor.Context, m *actors.Adopt) {
	c.link.Adoptions.Taken(m)
	isForeign := m.Kind == foreignKind
	if isForeign && c.foreign[m.Subscriber] != nil {
		c.park(m)
		return
	}
	c.serial++
	c.next = m
	pid, err := ctx.SpawnNamed(c.props, m.Kind+"-"+strconv.FormatUint(c.serial, 10))
	if err != nil {
		panic(err) // the serial makes names unique
	}
	c.next = nil
	e := &entry{Member: actors.Member{Subscriber: m.Subscriber, Outbox: m.Outbox}, serial: c.serial}
	c.entries[pid.Id] = e
	if isForeign {
		if c.foreign == nil {
			c.foreign = make(map[actors.Subscriber]*entry)
		}
		c.foreign[m.Subscriber] = e
	}
	if c.draining != nil {
		m.Outbox.Close(&actors.Close{Reason: c.reason, Deadline: c.draining.Deadline})
		return
	}
	c.rotation.add(e, isForeign, len(c.entries))
}

func (c *connections) ended(ctx actor.Context, who *actor.PID) {
	e := c.entries[who.Id]
	if e == nil {
		return
	}
	delete(c.entries, who.Id)
	if c.foreign[e.Subscriber] == e {
		delete(c.foreign, e.Subscriber)
		c.unpark(ctx, e.Subscriber)
	}
	if n := e.Outbox.Unreported(); n > 0 {
		ctx.Send(c.link.Listener, &actors.Dropped{Subscriber: e.Subscriber, Count: n})
	}
	if len(c.entries) == 0 {
		// Maps keep the room of their busiest hour.
		c.entries, c.foreign = map[string]*entry{}, nil
		c.rotation.clear()
		c.told(ctx)
		c.drained(ctx)
	}
}

// told says so when everybody has been told who was to be.
func (c *connections) told(ctx actor.Context) {
	if c.rotation.over() {
		ctx.Send(c.link.Hub, spreadOver{})
	}
}

// maxParked is how many registrations of one foreign subscriber wait for the end of the one before them.
const maxParked = 1024

// park keeps a foreign subscriber that came again before it had quite left: Close comes before the next Send, so it is one actor
// after the other. Of one that comes and goes again and again while a Send blocks, those are forgotten that have gone.
func (c *connections) park(m *actors.Adopt) {
	n := 0
	for _, each := range c.parked {
		if each.Subscriber == m.Subscriber {
			n++
		}
	}
	if n >= maxParked {
		c.parked = slices.DeleteFunc(c.parked, func(each *actors.Adopt) bool {
			return each.Subscriber == m.Subscriber && each.Outbox.Reason() != actors.ReasonNone
		})
	}
	c.parked = append(c.parked, m)
}

func (c *connections) unpark(ctx actor.Context, sub actors.Subscriber) {
	for i, m := range c.parked {
		if m.Subscriber == sub {
			c.parked = append(c.parked[:i:i], c.parked[i+1:]...)
			c.adopt(ctx, m)
			return
		}
	}
}

// joined is who has joined the hub, those included whose actor is still to be spawned, or who are still to come here, in that order.
func (c *connections) joined() []actors.Member {
	var list []actors.Member
	entries := slices.SortedFunc(maps.Values(c.entries), func(a, b *entry) int { return cmp.Compare(a.serial, b.serial) })
	for _, e := range entries {
		if e.Outbox.Joined() {
			list = append(list, e.Member)
		}
	}
	for _, m := range c.parked {
		if m.Outbox.Joined() {
			list = append(list, actors.Member{Subscriber: m.Subscriber, Outbox: m.Outbox})
		}
	}
	return c.link.Adoptions.AppendJoined(list)
}

func (c *connections) drain(ctx actor.Context, m *actors.Drain) {
	c.draining = m
	c.rotation.clear()
	if len(c.entries) == 0 {
		c.drained(ctx)
		return
	}
	for _, e := range c.entries {
		e.Outbox.Close(&actors.Close{Reason: c.reason, Deadline: m.Deadline})
	}
	c.limit = remind(ctx, time.Until(m.Deadline), &overdue{})
}

func (c *connections) overdue(ctx actor.Context, m *overdue) {
	if c.draining == nil || len(c.entries) == 0 {
		return
	}
	if m.last {
		c.link.Log.Warn("wskit: connections left behind by the drain timeout", "count", len(c.entries))
		c.drained(ctx)
		return
	}
	for _, e := range c.entries {
		e.Outbox.Abort()
	}
	c.limit = remind(ctx, time.Until(c.draining.Limit)/2, &overdue{last: true})
}

// drained is for when nobody is left. What the last ones reported may still be in the mailbox: their end overtook it.
func (c *connections) drained(ctx actor.Context) {
	if c.draining != nil {
		ctx.Send(ctx.Self(), &allLeft{})
	}
}

// HandleFailure implements actor.SupervisorStrategy: a connection is temporary. It ends with 1011, and it alone.
func (c *connections) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	f := actors.NewFailed(who, reason, actors.Decision{Action: actors.ActStop, Attempt: 1})
	f.Log(c.link.Log)
	c.link.System.Root.Send(c.link.Listener, f)
	if e := c.entries[who.Id]; e != nil {
		e.Outbox.Close(&actors.Close{Reason: actors.ReasonCrashed})
	}
	sup.StopChildren(who)
}
