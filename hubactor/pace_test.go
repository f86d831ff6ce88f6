package hubactor_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// A flood of broadcasts fills no queue of a connection that takes what it is handed: the registry is much faster than the
// connections' actors, and waits for them.
func TestAFloodOfBroadcastsDoesNotOverrunConnectionsThatKeepUp(t *testing.T) {
	const members, broadcasts = 300, 10_000
	h := spawn(t, hubactor.Config{})
	all := &tally{done: make(chan struct{}, 1)}
	var dropped atomic.Int64
	for range members {
		c := &counter{&conn{box: actors.NewOutbox(actors.DefaultSendBufSize)}, all}
		c.box.SetHome(h.link.Connections, c)
		c.box.OnDrop(func(actors.Subscriber, *actors.Frame) {
			dropped.Add(1)
			all.delivered(1)
		})
		c.box.Resume()
		h.system.Root.Send(h.link.Connections, &actors.Adopt{Kind: "flood", Subscriber: c, Outbox: c.box, Actor: c})
		h.send(&actors.Register{Subscriber: c})
	}
	for deadline := time.Now().Add(10 * time.Second); h.count() < members; {
		if time.Now().After(deadline) {
			t.Fatalf("%d members", h.count())
		}
	}
	all.due.Store(members * broadcasts)
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
