package hubactor

import (
	"bytes"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// ForeignBuf is how many messages wait for a subscriber that is not a connection of the hub before the newest is dropped.
// Frames are shared, so it costs a pointer a message.
const ForeignBuf = 16384

const foreignKind = "sub"

// foreign calls the Send and Close of a subscriber that wskit knows nothing about, so that however long they take and
// whatever they do, it is that subscriber's affair.
type foreign struct {
	link    *actors.Link
	sub     actors.Subscriber
	box     *actors.Outbox
	turns   turns
	dropped int
	closing bool
	closed  bool
}

// turns is the dispatcher of a foreign subscriber's mailbox: user code may block, so it runs where connections write that may, and
// is waited for in a flood like them while it keeps up.
type turns struct {
	actors.Tempo
	on *actors.Elastic
}

func (t *turns) Schedule(fn func()) { t.Tempo.Schedule(t.on, fn, false) }

// share is how long a turn took, of so many messages that took that long. A batch may be all that the queue holds, and quick ones take
// long together.
func share(took time.Duration, messages int) time.Duration {
	return took * actors.LeastTurn / time.Duration(max(messages, actors.LeastTurn))
}

// Throughput is how many batches are handed over before others have their turn.
func (*turns) Throughput() int { return (*actors.Elastic)(nil).Throughput() }

func newForeign(link *actors.Link, sub actors.Subscriber, box *actors.Outbox) *actors.Adopt {
	f := &foreign{link: link, sub: sub, box: box, turns: turns{on: link.Pools.Streams()}}
	box.RunOn(&f.turns)
	return &actors.Adopt{Kind: foreignKind, Subscriber: sub, Outbox: box, Actor: f, Refuse: f.refuse}
}

// refuse closes a subscriber for which there will be no actor.
func (f *foreign) refuse(r actors.Reason) {
	f.box.Close(&actors.Close{Reason: r})
	f.link.Goroutines.Schedule(func() {
		if err := actors.Fence("Close", f.sub.Close); err != nil {
			actors.UserFailed("Close", err).Log(f.link.Log)
		}
	})
}

func (f *foreign) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		f.send(ctx, m)
	case *actors.Overflowed:
		ctx.Send(ctx.Parent(), m)
	case *actors.Close:
		f.closing = true
		f.endIfDrained(ctx)
	case *actors.Abort:
		f.end(ctx)
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Stopping:
		f.close(ctx)
	case *actor.Stopped:
		f.box.Discard()
	}
}

// send hands over copies: a frame belongs to everybody, and a subscriber may keep or change what it is given.
func (f *foreign) send(ctx actor.Context, b *actors.Batch) {
	var episodes []int
	began := time.Now()
	err := f.link.Goroutines.Isolate("Send", func() {
		for frame := range b.Messages {
			if !f.sub.Send(bytes.Clone(frame.Payload())) {
				f.dropped++
				f.link.Counters.Drops[actors.BySubscriber].Add(1)
			} else if f.dropped > 0 {
				episodes = append(episodes, f.dropped)
				f.dropped = 0
			}
		}
	})
	f.turns.Wrote(share(time.Since(began), b.Count))
	for _, n := range episodes {
		ctx.Send(ctx.Parent(), &actors.Overflowed{Subscriber: f.sub, Count: n})
	}
	if err != nil {
		f.report(ctx, "Send", err)
		f.box.Close(&actors.Close{Reason: actors.ReasonCrashed})
		f.end(ctx)
		return
	}
	f.endIfDrained(ctx)
}

func (f *foreign) endIfDrained(ctx actor.Context) {
	if f.closing && f.box.Drained() {
		f.end(ctx)
	}
}

func (f *foreign) end(ctx actor.Context) {
	f.close(ctx)
	f.box.Stop()
}

func (f *foreign) close(ctx actor.Context) {
	if f.closed {
		return
	}
	f.closed = true
	if f.dropped > 0 {
		ctx.Send(ctx.Parent(), &actors.Overflowed{Subscriber: f.sub, Count: f.dropped})
	}
	if err := f.link.Goroutines.Isolate("Close", f.sub.Close); err != nil {
		f.report(ctx, "Close", err)
	}
}

func (f *foreign) report(ctx actor.Context, op string, err error) {
	ctx.Send(ctx.Parent(), &actors.Failed{Op: op, Err: err, Action: actors.ActStop, Attempt: 1})
}
