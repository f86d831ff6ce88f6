package hubactor_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// A flood of broadcasts fills no queue of a connection that takes what it is handed: the registry is much faster than the
// connections' actors, and waits for them.
func TestAFloodOfBroadcastsDoesNotOverrunConnectionsThatKeepUp(t *testing.T) {
	t.Run("on the pool of connections", func(t *testing.T) {
		h := spawn(t, hubactor.Config{})
		flood(t, h, h.link.Pools.Connections, 10_000)
	})
	t.Run("on that of streams", func(t *testing.T) {
		h := spawn(t, hubactor.Config{})
		flood(t, h, h.link.Pools.Streams(), 10_000)
	})
}

func TestAFloodWaitsForConnectionsWhoseActorsAreStillToBeSpawned(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	first := newSub() // when it has come and gone, the registry runs, and asks connections no more who is there
	h.send(&actors.Register{Subscriber: first})
	h.send(&actors.Unregister{Subscriber: first})
	first.got.await(t, 1)
	busy := make(chan []actors.Member) // keeps connections until somebody takes the answer
	h.system.Root.Send(h.link.Connections, &actors.Members{Reply: busy})
	time.AfterFunc(100*time.Millisecond, func() { <-busy })
	flood(t, h, h.link.Pools.Connections, 2000)
}

// flood registers connections and broadcasts to them as fast as the hub takes it, which is to cost them no message.
func flood(t *testing.T, h *hub, on actor.Dispatcher, broadcasts int) {
	const members = 300
	all := &tally{done: make(chan struct{}, 1)}
	var dropped atomic.Int64
	for range members {
		c := &counter{&conn{box: actors.NewOutbox(actors.DefaultSendBufSize)}, all}
		c.box.SetHome(h.link, c)
		c.box.OnDrop(func(actors.Subscriber, *actors.Frame) {
			dropped.Add(1)
			all.delivered(1)
		})
		c.box.RunOn(on)
		c.box.Resume()
		h.system.Root.Send(h.link.Connections, &actors.Adopt{Kind: "flood", Subscriber: c, Outbox: c.box, Actor: c})
		h.send(&actors.Register{Subscriber: c})
	}
	for deadline := time.Now().Add(10 * time.Second); h.count() < members; {
		if time.Now().After(deadline) {
			t.Fatalf("%d members", h.count())
		}
	}
	all.due.Store(int64(members * broadcasts))
	f := actors.NewFrame([]byte("0123456789"))
	for range broadcasts {
		if err := h.link.Gate.Enter(&actors.Broadcast{Frame: f}, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-all.done:
	case <-time.After(20 * time.Second):
		t.Fatalf("%d deliveries are missing", all.due.Load())
	}
	if n := dropped.Load(); n > 0 {
		t.Errorf("%d of %d messages were dropped", n, members*broadcasts)
	}
}
