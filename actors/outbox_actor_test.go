package actors_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

// peer is an actor behind an Outbox, as the connections are.
type peer struct {
	outbox *actors.Outbox
	got    *[]any
}

func (p *peer) Receive(ctx actor.Context) {
	defer actors.Trace("peer")
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		*p.got = append(*p.got, payloads(m))
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Stopped:
		p.outbox.Discard()
		*p.got = append(*p.got, "stopped")
	case *actor.Started:
		*p.got = append(*p.got, "started")
	case *actor.Stopping, *actor.Restarting:
	default:
		*p.got = append(*p.got, m)
	}
}

func peerSpec(o *actors.Outbox, got *[]any, kind actors.Kind, recovery actors.Recovery) actors.Spec {
	return actors.Spec{Name: "p", Kind: kind, Recovery: recovery, Budget: budget, Props: actor.PropsFromProducer(
		func() actor.Actor { return &peer{o, got} },
		actor.WithMailbox(func() actor.Mailbox { return o }), actor.WithDispatcher(actors.NewPool(2)))}
}

func TestWhatWasSentBeforeTheActorExistsArrivesAfterStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, got := actors.NewOutbox(2), new([]any)
		o.Resume()
		for i := range 3 {
			o.Send(frame(fmt.Sprint(i)))
		}
		o.PostUserMessage("control")
		b := employ(t, peerSpec(o, got, actors.Permanent, actors.Restart))
		b.tell("p", frame("3"))
		r := recorder{got: *got}
		r.expect(t, "started", "control", []string{"0", "1"}, &actors.Overflowed{Count: 1}, []string{"3"})
	})
}

func TestAnActorOnAnOutboxIsRestartedOrResumedWithItsMailbox(t *testing.T) {
	for recovery, want := range map[actors.Recovery][]any{
		actors.Restart: {"started", "started", "control", []string{"a", "b"}},
		actors.Resume:  {"started", "control", []string{"a", "b"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			o, got := actors.NewOutbox(8), new([]any)
			b := employ(t, peerSpec(o, got, actors.Permanent, recovery))
			must(t, o.Send(frame("a")))
			o.PostUserMessage(&actors.Crash{Reason: "boom"})
			o.PostUserMessage("control")
			must(t, o.Send(frame("b")))
			o.Resume()
			synctest.Wait()
			r := recorder{got: *got}
			r.expect(t, want...)
			equal(t, "failures", len(b.failed), 1)
		})
	}
}

func TestATemporaryActorOnAnOutboxIsGoneAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, got := actors.NewOutbox(8), new([]any)
		b := employ(t, peerSpec(o, got, actors.Temporary, 0))
		must(t, o.Send(frame("lost")))
		b.tell("p", &actors.Crash{Reason: "boom"})
		equal(t, "alive", b.alive("p"), false)
		r := recorder{got: *got}
		r.expect(t, "started", "stopped")
		must(t, errIfNot(o.Send(frame("late")), actors.ErrHubStopped))
		equal(t, "messages kept", o.UserMessageCount(), 0)
	})
}
