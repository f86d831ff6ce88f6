package hubactor

import (
	"bytes"
	"container/list"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// listener has the user's callbacks called, fenced, on goroutines of their own, and passes lifecycle events on. It is never
// blocked itself: whatever a callback does, nobody waits for it but the callbacks behind it in its lane.
type listener struct{ *callbacks }

// callbacks is what one incarnation of the listener leaves to the next.
type callbacks struct {
	cfg     *Config
	link    *actors.Link
	members *lane // OnConnect, OnDisconnect and OnDisconnectReason
	drops   *lane // OnDrop
	others  *lane // OnError, OnRedis, OnTimeout

	behind     bool          // members did not keep up, and has not been idle since
	passOverAt int           // how many wait there before passOver
	owed       int           // those who were connected, and not disconnected
	missed     *atomic.Int64 // drops that OnDrop was not called for
	drain      *actors.Drain // nil until the hub stops
}

// When this many callbacks of members wait, and one has waited for this long since the lane was last idle, it does not keep up. Then
// those are passed over who were gone before their OnConnect began: behind a callback that blocks they would be remembered for ever.
const (
	maxWaiting = 1024
	maxLag     = 250 * time.Millisecond
)

// To the listener.
type (
	// dropped, from an outbox: a message found no room.
	dropped struct {
		sub     actors.Subscriber
		frame   *actors.Frame
		waiting *atomic.Int64 // how many of these there are
	}
	// timedOut, from the hub: an operation that came as a message found no place in time.
	timedOut struct{ op actors.Op }
	// ran, from the goroutine that ran it: a callback has returned.
	ran struct {
		*task
		in  *lane
		err error
	}
)

// IgnoreDeadLetterLogging is for a callback that returns after its hub has ended.
func (*ran) IgnoreDeadLetterLogging() {}

// maxDrops is how many dropped messages wait for OnDrop.
const maxDrops = 1024

// dropTeller is what has OnDrop called for what outboxes drop, and the number of those it was too much for.
func dropTeller(link *actors.Link) (tell func(actors.Subscriber, *actors.Frame), missed *atomic.Int64) {
	waiting, missed := new(atomic.Int64), new(atomic.Int64)
	return func(sub actors.Subscriber, f *actors.Frame) {
		if waiting.Add(1) > maxDrops {
			waiting.Add(-1)
			missed.Add(1)
			return
		}
		link.System.Root.Send(link.Listener, &dropped{sub, f, waiting})
	}, missed
}

func listenerProps(cfg *Config, link *actors.Link, missed *atomic.Int64) *actor.Props {
	c := &callbacks{
		cfg: cfg, link: link, missed: missed, passOverAt: maxWaiting,
		members: newLane(cfg.CallbackConcurrency), drops: newLane(1), others: newLane(1),
	}
	return actor.PropsFromProducer(func() actor.Actor { return listener{c} }, actor.WithDispatcher(link.Goroutines))
}

func (l listener) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	switch m := ctx.Message().(type) {
	case *actors.Connected:
		l.connected(m)
	case *actors.Disconnected:
		l.disconnected(m)
	case *actors.Dropped, *actors.Subscribed:
		l.pass(m)
	case *actors.Failed:
		l.failed(m)
	case *actors.RedisChanged:
		l.redis(m)
	case *dropped:
		l.dropped(m)
	case *timedOut:
		if l.cfg.OnTimeout != nil {
			l.others.add(&task{op: "OnTimeout", fn: func() { l.cfg.OnTimeout(m.op.String()) }})
			l.run(l.others)
		}
	case *ran:
		l.ran(m)
	case *actors.Caught:
		answer(m.Reply, struct{}{})
	case *retire:
		ctx.Send(l.link.Hub, &retirement{m, l.quiet()})
	case *actors.Drain:
		l.drain = m
	case *actors.Crash:
		panic(m.Reason)
	}
	if l.drain != nil && l.quiet() {
		answer(l.drain.Done, struct{}{})
		l.drain = nil
	}
}

func (c *callbacks) connected(m *actors.Connected) {
	c.owed++
	t := &task{of: m.Subscriber, op: "OnConnect", then: func() { c.pass(m) }, box: m.Outbox}
	if c.cfg.OnConnect != nil {
		t.fn = func() {
			defer m.Outbox.Release()
			c.cfg.OnConnect(m.Subscriber)
		}
	}
	c.members.add(t)
	c.run(c.members)
}

func (c *callbacks) disconnected(m *actors.Disconnected) {
	c.owed--
	t := &task{of: m.Subscriber, op: "OnDisconnect", then: func() { c.pass(m) }, box: m.Outbox}
	if c.cfg.OnDisconnect != nil {
		t.fn = func() { c.cfg.OnDisconnect(m.Subscriber) }
	}
	if c.cfg.OnDisconnectReason != nil { // a call of its own, right behind
		reason := &task{of: m.Subscriber, op: "OnDisconnectReason", then: t.then}
		reason.fn = func() { c.cfg.OnDisconnectReason(m.Subscriber, m.Reason, int(m.Code)) }
		t.then = func() { c.members.next(reason) }
	}
	c.members.add(t)
	c.behind = c.behind || c.members.lag() > maxLag || c.members.waiting.Len() > 8*maxWaiting
	if c.behind && c.members.waiting.Len() > c.passOverAt {
		c.passOver()
	}
	c.run(c.members)
}

// passOver forgets those who wait for both their callbacks.
func (c *callbacks) passOver() {
	greetings := map[*actors.Outbox]*list.Element{} // each OnConnect that waits
	for e := c.members.waiting.Front(); e != nil; {
		t, next := e.Value.(*task), e.Next()
		if greeting := greetings[t.box]; greeting != nil {
			c.members.remove(greeting)
			c.members.remove(e)
			delete(greetings, t.box)
			t.box.Release()
		} else if t.op == "OnConnect" {
			greetings[t.box] = e
		}
		e = next
	}
	// Not again for each who leaves when many wait who are still there.
	c.passOverAt = max(maxWaiting, 2*c.members.waiting.Len())
}

func (c *callbacks) dropped(m *dropped) {
	c.drops.add(&task{
		op: "OnDrop",
		fn: func() {
			m.waiting.Add(-1)
			c.cfg.OnDrop(m.sub, bytes.Clone(m.frame.Payload()))
		},
		then: func() {
			if n := c.missed.Load(); n > 0 && c.drops.waiting.Len() == 0 {
				c.missed.Add(-n)
				f := &actors.Failed{Op: "OnDrop", Err: &actors.MissedDropsError{Count: int(n)}, Action: actors.ActResume, Attempt: 1}
				f.Log(c.cfg.Logger)
				c.failed(f)
			}
		},
	})
	c.run(c.drops)
}

func (c *callbacks) failed(m *actors.Failed) {
	t := &task{op: "OnError", then: func() { c.pass(m) }}
	if c.cfg.OnError != nil {
		t.fn = func() { c.cfg.OnError(m.Op, m.Err) }
	}
	c.others.add(t)
	c.run(c.others)
}

func (c *callbacks) redis(m *actors.RedisChanged) {
	t := &task{op: "OnRedis", then: func() { c.pass(m) }}
	if c.cfg.OnRedis != nil {
		t.fn = func() { c.cfg.OnRedis(m.Up) }
	}
	c.others.add(t)
	c.run(c.others)
}

// run starts what may run in a lane now.
func (c *callbacks) run(in *lane) {
	root := c.link.System.Root
	for t := in.take(); t != nil; t = in.take() {
		if t.fn == nil {
			c.finish(t, in, nil)
			continue
		}
		c.link.Goroutines.Start(t.op, t.fn, func(err error) { root.Send(c.link.Listener, &ran{t, in, err}) })
	}
}

func (c *callbacks) ran(m *ran) {
	c.finish(m.task, m.in, m.err)
	c.run(m.in)
}

func (c *callbacks) finish(t *task, in *lane, err error) {
	in.done(t)
	if in == c.members && in.idle() {
		c.behind = false
	}
	if err != nil {
		f := actors.UserFailed(t.op, err)
		f.Log(c.cfg.Logger)
		if t.op != "OnError" { // telling OnError would not help
			c.failed(f)
		}
	}
	if t.then != nil {
		t.then()
	}
}

func (c *callbacks) pass(event any) {
	if c.cfg.Events != nil {
		c.link.System.Root.RequestWithCustomSender(c.cfg.Events, event, c.link.Hub)
	}
}
