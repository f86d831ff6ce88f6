package hubactor_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// occupy keeps connections at one message until release.
func (h *hub) occupy() (release func()) {
	busy := make(chan []actors.Member)
	h.system.Root.Send(h.link.Connections, &actors.Members{Reply: busy})
	return func() { <-busy }
}

// bubble is synctest.Test for tests with hubs.
func bubble(t *testing.T, test func(t *testing.T)) {
	actors.System() // not in the bubble: the process keeps them
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Second) }) // the last: a dead letter leaves a goroutine for a moment
		test(t)
	})
}

// However long connections needs to say who is there, a registry that has crashed waits for that: it is no failure.
func TestARegistryWaitsForConnectionsHoweverBusyTheyAre(t *testing.T) {
	bubble(t, func(t *testing.T) {
		failures := newInbox[string]()
		h := spawn(t, hubactor.Config{OnError: func(_ string, err error) { failures.add(err.Error()) }})
		s := newSub()
		h.send(&actors.Register{Subscriber: s})
		h.broadcast("1")
		s.got.await(t, 1)
		release := h.occupy()
		h.crash("registry", "told to")
		h.broadcast("2")
		time.Sleep(10 * time.Minute)
		release()
		if got := s.got.await(t, 2); !slices.Equal(got, []string{"1", "2"}) {
			t.Error(got)
		}
		synctest.Wait()
		if got := failures.all(); len(got) != 1 {
			t.Errorf("failures: %q", got)
		}
	})
}

// What the registry has taken to go out with the next broadcasts goes out though it crashes before there is a next.
func TestABroadcastThatWaitsForOthersOutlivesACrash(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	s := newSub()
	h.send(&actors.Register{Subscriber: s})
	h.broadcast("0")
	s.got.await(t, 1)
	release := h.occupy()
	h.crash("registry", "so that it waits for connections")
	root, registry := h.system.Root, h.child("registry")
	for i := range 3 { // all of this is in its mailbox when it goes on: each broadcast is taken, and then it crashes
		root.Send(registry, &actors.Broadcast{Frame: actors.NewFrame(fmt.Append(nil, i+1))})
		root.Send(registry, &actors.Crash{Reason: "told to"})
	}
	release()
	s.got.await(t, 4)
	h.broadcast("4") // the hub is not to stop while it restarts a child: that would take the drain timeout
	if got := s.got.await(t, 5); !slices.Equal(got, numbered(5)) {
		t.Error(got)
	}
}

// A foreign subscriber that came again, and waits for the end of the one it was before, is a member: also of a registry that has
// crashed.
func TestARegistryThatCrashesRemembersWhoWaitsToComeAgain(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	s := newSub()
	hold, held := make(chan struct{}), make(chan struct{})
	s.onSend = func(text string) {
		if text == "blocks" {
			close(held)
			<-hold
		}
	}
	witness := newSub()
	h.send(&actors.Register{Subscriber: s})
	h.send(&actors.Register{Subscriber: witness})
	h.broadcast("blocks")
	<-held
	h.send(&actors.Unregister{Subscriber: s})
	h.send(&actors.Register{Subscriber: s})
	h.broadcast("before the crash")
	witness.got.await(t, 2) // it has been posted
	h.crash("registry", "told to")
	h.broadcast("after it")
	witness.got.await(t, 3)
	close(hold)
	if got := s.got.await(t, 4); !slices.Equal(got, []string{"blocks", "closed", "before the crash", "after it"}) {
		t.Error(got)
	}
}

// A hub that has ended restarts nobody: no timer of it is left.
func TestAHubThatStopsGivesUpRestartsThatAreDue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var started atomic.Int64
		link := actors.Spec{
			Name: "redis", Kind: actors.Permanent, Budget: actors.Budget{Failures: 10, Within: time.Hour}, Backoff: actors.Backoff{Min: time.Minute, Max: time.Minute},
			Props: actor.PropsFromFunc(func(ctx actor.Context) {
				switch m := ctx.Message().(type) {
				case *actor.Started:
					started.Add(1)
				case *actors.Crash:
					panic(m.Reason)
				case *actors.Drain:
					m.Done <- struct{}{}
				}
			}),
		}
		h := spawn(t, hubactor.Config{DrainTimeout: time.Second, Redis: func(*actors.Link) actors.Spec { return link }})
		late := 0
		dead := h.system.EventStream.Subscribe(func(event any) {
			if letter, ok := event.(*actor.DeadLetterEvent); ok {
				if _, resolve := letter.Message.(*actors.Resolve); resolve {
					late++
				}
			}
		})
		defer h.system.EventStream.Unsubscribe(dead)
		h.crash("redis", "told to")
		synctest.Wait()
		h.send(&actors.Shutdown{})
		h.awaitEnd()
		time.Sleep(time.Hour)
		synctest.Wait()
		if late != 0 || started.Load() != 1 {
			t.Errorf("%d timers of the hub came after its end, and its child was started %d times", late, started.Load())
		}
	})
}
