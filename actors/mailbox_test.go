package actors_test

import (
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

func TestAMailboxHandsOnWhatCameInOrderAndSystemMessagesFirst(t *testing.T) {
	box, seen, d := actors.NewMailbox(), &recorder{}, &manual{}
	box.RegisterHandlers(seen, d)
	var want []any
	for n := range 3 * d.Throughput() {
		box.PostUserMessage(n)
		want = append(want, n)
	}
	box.PostUserMessage(nil)
	box.PostSystemMessage("a")
	box.PostSystemMessage("b")
	if n := box.UserMessageCount(); n != len(want)+1 || d.pending() != 1 {
		t.Error(n, "messages,", d.pending(), "runs")
	}
	d.step()
	seen.expect(t, append(append([]any{"a", "b"}, want...), nil)...)
	if n := box.UserMessageCount(); n != 0 || d.step() {
		t.Error(n, "messages are left, or a run")
	}
	box.PostUserMessage("again")
	d.step()
	seen.expect(t, "again")
}

func TestAMailboxWhoseActorHasPanickedWaitsForTheSupervisor(t *testing.T) {
	box, seen, d := actors.NewMailbox(), &recorder{}, &manual{}
	seen.hook = func(m any) {
		if m == "panic" {
			box.PostSystemMessage(&actor.SuspendMailbox{}) // as an actor's context does when it escalates
			panic(m)
		}
	}
	box.RegisterHandlers(seen, d)
	box.PostUserMessage("panic")
	box.PostUserMessage("1")
	d.step()
	seen.expect(t, "panic")
	if !slices.Equal(seen.failedOn, []any{"panic"}) {
		t.Error(seen.failedOn)
	}
	box.PostUserMessage("2")
	if d.step() {
		t.Error("it runs")
	}
	box.PostSystemMessage("restart")
	d.step()
	seen.expect(t, "restart")
	box.PostSystemMessage(&actor.ResumeMailbox{})
	d.step()
	seen.expect(t, "1", "2")
}

// "Before those whose restarts are counted have begun": what they share can be set then.
func TestChildrenBeginWhenTheSupervisorHasBeenToldOfAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []*actor.PID
		var begun atomic.Int32
		props := func() *actor.Props {
			return actor.PropsFromProducer(func() actor.Actor {
				<-time.After(time.Second) // meanwhile the one before could begin
				return actor.ReceiveFunc(func(ctx actor.Context) {
					if _, ok := ctx.Message().(*actor.Started); ok && len(told) == 2 {
						begun.Add(1)
					}
				})
			})
		}
		b := employ(t)
		b.Restarts, b.Spawned = make([]atomic.Uint64, 2), func(children []*actor.PID) { told = children }
		actors.System().Root.Send(b.pid, func(ctx actor.Context) {
			must(t, b.Start(ctx, []actors.Spec{{Name: "first", Props: props()}, {Name: "second", Props: props()}}))
		})
		<-time.After(3 * time.Second)
		synctest.Wait()
		if begun.Load() != 2 || told[1].Id != b.pid.Id+"/second" {
			t.Error(begun.Load(), "began after", told)
		}
	})
}
