package hubactor_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// light is a foreign subscriber that only counts.
type light struct {
	sent   atomic.Int64
	onSend func()
}

func (l *light) Send([]byte) bool {
	if l.onSend != nil {
		l.onSend()
	}
	l.sent.Add(1)
	return true
}

func (*light) Close() {}

// enter has the hub take broadcasts as fast as it can.
func (h *hub) enter(t *testing.T, broadcasts int) {
	t.Helper()
	f := actors.NewFrame([]byte("0123456789"))
	for range broadcasts {
		if err := h.link.Gate.Enter(&actors.Broadcast{Frame: f}, 10*time.Second); err != nil {
			t.Fatal(err)
		}
	}
}

// join registers s and waits until a broadcast has reached it.
func (h *hub) join(t *testing.T, s *light) {
	t.Helper()
	if err := h.link.Gate.Enter(&actors.Register{Subscriber: s}, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	h.enter(t, 1)
	s.await(t, 1)
}

func (l *light) await(t *testing.T, n int64) {
	t.Helper()
	if !wstest.Poll(20*time.Second, func() bool { return l.sent.Load() >= n }) {
		t.Fatalf("%d of %d messages", l.sent.Load(), n)
	}
}

// A flood costs a foreign subscriber that keeps up no message, though its queue would be full in a moment: the registry is much
// faster than it.
func TestAFloodOfBroadcastsDoesNotOverrunAForeignSubscriberThatKeepsUp(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	s := &light{onSend: func() {
		for range 100 { // it works on each
			spin.Add(1)
		}
	}}
	h.join(t, s)
	const flood = 3 * hubactor.ForeignBuf
	h.enter(t, flood)
	s.await(t, 1+flood)
}

var spin atomic.Int64

// One that blocks delays a flood for a moment, not for as long as it blocks.
func TestAForeignSubscriberThatBlocksHoldsUpNoFlood(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	hold := make(chan struct{})
	defer close(hold)
	blocked, other := &light{}, &light{}
	h.join(t, other)
	other.sent.Store(0)
	blocked.onSend = func() { <-hold }
	h.link.Gate.Enter(&actors.Register{Subscriber: blocked}, 10*time.Second)
	h.enter(t, 5000)
	other.await(t, 5000)
}

// What a foreign subscriber's queue has no room for is told like what any other's has none for.
func TestOnDropIsToldOfAForeignSubscriber(t *testing.T) {
	drops := newInbox[actors.Subscriber]()
	h := spawn(t, hubactor.Config{OnDrop: func(s actors.Subscriber, _ []byte) { drops.add(s) }})
	hold := make(chan struct{})
	defer close(hold)
	s := &light{}
	h.join(t, s)
	s.onSend = func() { <-hold }
	h.enter(t, 2*hubactor.ForeignBuf)
	if got := drops.await(t, 1); got[0] != s {
		t.Error(got)
	}
}
