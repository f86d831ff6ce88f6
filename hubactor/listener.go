package hubactor

import (
	"bytes"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// listener runs the user's callbacks, one at a time and fenced, and passes lifecycle events on. It may be blocked for as
// long as a callback likes: nobody waits for it but other callbacks.
type listener struct {
	cfg  Config
	link *actors.Link
}

// dropped, from an outbox: a message found no room.
type dropped struct {
	sub     actors.Subscriber
	frame   *actors.Frame
	waiting *atomic.Int64 // how many of these there are
}

// maxDrops is how many dropped messages wait for OnDrop.
const maxDrops = 1024

// dropTeller is what has OnDrop called for what outboxes drop.
func dropTeller(root *actor.RootContext, listener *actor.PID) func(actors.Subscriber, *actors.Frame) {
	waiting := new(atomic.Int64)
	return func(sub actors.Subscriber, f *actors.Frame) {
		if waiting.Add(1) > maxDrops {
			waiting.Add(-1)
			return
		}
		root.Send(listener, &dropped{sub, f, waiting})
	}
}

// timedOut, from the hub: an operation that came as a message found no place in time.
type timedOut struct{ op actors.Op }

func listenerProps(cfg Config, link *actors.Link) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &listener{cfg: cfg, link: link} }, actor.WithDispatcher(link.Goroutines))
}

func (l *listener) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	switch m := ctx.Message().(type) {
	case *actors.Connected:
		l.connected(ctx, m)
	case *actors.Disconnected:
		if l.cfg.OnDisconnect != nil {
			l.run(ctx, "OnDisconnect", func() { l.cfg.OnDisconnect(m.Subscriber) })
		}
		l.pass(ctx, m)
	case *actors.Dropped, *actors.Subscribed:
		l.pass(ctx, m)
	case *actors.Failed:
		l.failed(ctx, m)
	case *dropped:
		m.waiting.Add(-1)
		l.run(ctx, "OnDrop", func() { l.cfg.OnDrop(m.sub, bytes.Clone(m.frame.Payload())) })
	case *timedOut:
		if l.cfg.OnTimeout != nil {
			l.run(ctx, "OnTimeout", func() { l.cfg.OnTimeout(m.op.String()) })
		}
	case *actors.Drain:
		m.Done <- struct{}{}
	case *actors.Crash:
		panic(m.Reason)
	}
}

func (l *listener) connected(ctx actor.Context, m *actors.Connected) {
	defer m.Outbox.Release()
	if l.cfg.OnConnect != nil {
		l.run(ctx, "OnConnect", func() { l.cfg.OnConnect(m.Subscriber) })
	}
	l.pass(ctx, m)
}

func (l *listener) failed(ctx actor.Context, m *actors.Failed) {
	if l.cfg.OnError != nil {
		if err := l.link.Goroutines.Isolate("OnError", func() { l.cfg.OnError(m.Op, m.Err) }); err != nil {
			actors.UserFailed("OnError", err).Log(l.cfg.Logger) // telling OnError would not help
		}
	}
	l.pass(ctx, m)
}

func (l *listener) run(ctx actor.Context, op string, fn func()) {
	if err := l.link.Goroutines.Isolate(op, fn); err != nil {
		f := actors.UserFailed(op, err)
		f.Log(l.cfg.Logger)
		l.failed(ctx, f)
	}
}

func (l *listener) pass(ctx actor.Context, event any) {
	if l.cfg.Events != nil {
		ctx.Send(l.cfg.Events, event)
	}
}
