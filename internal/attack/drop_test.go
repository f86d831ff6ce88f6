package attack_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// Each episode of dropping is reported once, when it has ended, with its number: by the next message that fits or by the
// end of the client.
func TestEachEpisodeOfDroppingIsReportedOnceWithItsNumber(t *testing.T) {
	h, events := wstest.Embed(t, hubactor.Config{})
	stalled, c := silent(t, serve(t, h.Hub, wskit.WithSendBufSize(2)))
	h.Count(t, 1)
	filler := strings.Repeat("x", bulk)
	var want []int
	for episode := 1; episode <= 3; episode++ {
		stuff(t, c, filler) // this one ends the episode before
		for range 2 + episode {
			c.Send([]byte("m"))
		}
		want = append(want, episode)
		if episode < 3 {
			stalled.Expect(t, filler, "m", "m")
		}
		wstest.Eventually(t, "the episodes so far are reported", func() bool { return slices.Equal(wstest.Dropped(events)[c], want[:episode-1]) })
	}
	_ = stalled.Close() // the third ends with the client
	h.Count(t, 0)
	wstest.Eventually(t, "the last episode is reported", func() bool { return slices.Equal(wstest.Dropped(events)[c], want) })
}

// A client that is disconnected for its slowness is reported with all that it lost, and the reason.
func TestADisconnectedSlowClientIsReportedWithAllItLost(t *testing.T) {
	h, events := wstest.Embed(t, hubactor.Config{})
	stalled, c := silent(t, serve(t, h.Hub, wskit.WithSendBufSize(4), wskit.WithOverflow(wskit.Disconnect)))
	h.Count(t, 1)
	stuff(t, c, strings.Repeat("x", bulk))
	for range 9 {
		h.Broadcast([]byte("m"))
	}
	h.Settled(t)
	_ = stalled.Close()
	var left *actors.Disconnected
	wstest.Eventually(t, "it is reported", func() bool {
		for _, e := range events.All() {
			if d, ok := e.(*actors.Disconnected); ok && d.Subscriber == c {
				left = d
			}
		}
		return left != nil && len(wstest.Dropped(events)[c]) > 0
	})
	if left.Reason != actors.ReasonSlow {
		t.Error("reason", left.Reason)
	}
	if got := wstest.Dropped(events)[c]; !slices.Equal(got, []int{5}) { // the rest came after the end
		t.Error("dropped", got)
	}
}

// What a foreign subscriber refused is reported when it ends, also when many end at once and the actors are busy.
func TestWhatWasDroppedIsReportedHoweverManyEndAtOnce(t *testing.T) {
	const n, m = 300, 5
	h, events := wstest.Embed(t, hubactor.Config{})
	want := map[actors.Subscriber][]int{}
	var subs []*wstest.Probe
	for range n {
		p := &wstest.Probe{OnSend: func(string) bool { return false }}
		subs, want[p] = append(subs, p), []int{m}
		h.Register(p)
	}
	h.Count(t, n)
	for range m {
		h.Broadcast([]byte("refused"))
	}
	h.Settled(t)
	h.Halt(t)
	for _, p := range subs {
		p.Expect(t, append(slices.Repeat([]string{"refused"}, m), wstest.Closed)...)
	}
	wstest.Poll(margin, func() bool { return len(wstest.Dropped(events)) == n })
	got := wstest.Dropped(events)
	if len(got) != n {
		t.Errorf("%d of %d subscribers have their losses reported", len(got), n)
	}
	for s, counts := range got {
		if fmt.Sprint(counts) != fmt.Sprint(want[s]) {
			t.Fatalf("%v, want %v", counts, want[s])
		}
	}
}

// The same where the supervisor of the connections is made to be behind: what ends a client must not overtake what it lost.
func TestWhatWasDroppedIsReportedThoughTheSupervisorIsBehind(t *testing.T) {
	h, events := wstest.Embed(t, hubactor.Config{})
	srv := servePumps(t, h.Hub, func(*wskit.Client) {}, wskit.WithSendBufSize(1))
	p, c := srv.Browser(t)
	p.Listen(t)
	h.Count(t, 1)
	connections := wstest.One(t, h.Hub, "connections")
	reply := make(chan []actors.Member)
	actors.System().Root.Send(connections, &actors.Members{Reply: reply}) // nobody takes the answer yet
	for range 4 {
		c.Send([]byte("m"))
	}
	c.Close()
	done := wstest.Begin(func() { c.WritePump() })
	go c.ReadPump()
	wstest.Receive(t, "the client ends", done)
	wstest.Receive(t, "the supervisor goes on", reply)
	h.Count(t, 0)
	if !wstest.Poll(margin, func() bool { return slices.Equal(wstest.Dropped(events)[c], []int{3}) }) {
		t.Errorf("reported %v, want [3]", wstest.Dropped(events)[c])
	}
}

// OnDrop is told of each dropped message from the first on, also of those that were dropped right after the client was made.
func TestOnDropIsToldFromTheFirstMessageOn(t *testing.T) {
	var drops wstest.List[drop]
	h := wstest.Run(t, wskit.WithOnDrop(func(s wskit.Subscriber, data []byte) { drops.Add(drop{s, string(data)}) }))
	missing := 0
	for range 50 {
		before := drops.Len()
		c := wskit.NewSSEClient(h.Hub, 1)
		for range 3 {
			c.Send([]byte("m"))
		}
		if !wstest.Poll(margin/20, func() bool { return drops.Len() == before+2 }) {
			missing++
		}
		c.Close()
	}
	if missing > 0 {
		t.Errorf("of %d clients in 50 OnDrop was not told of all that was dropped", missing)
	}
}

// While more than 1024 calls of OnDrop wait it is not called, and what was dropped is counted all the same: in the episode's event,
// and to OnError.
func TestWhatOnDropIsNotCalledForIsCountedAllTheSame(t *testing.T) {
	release := make(chan struct{})
	var drops wstest.List[string]
	var missed atomic.Int64
	h, events := wstest.Embed(t, hubactor.Config{
		OnDrop: func(_ actors.Subscriber, data []byte) { <-release; drops.Add(string(data)) },
		OnError: func(op string, err error) {
			if m := (*actors.MissedDropsError)(nil); op == "OnDrop" && errors.As(err, &m) {
				missed.Add(int64(m.Count))
			}
		},
	})
	p, c := servePumps(t, h.Hub, func(*wskit.Client) {}, wskit.WithSendBufSize(1)).Browser(t)
	h.Count(t, 1)
	const n = 5000
	for i := range n + 1 {
		c.Send([]byte(fmt.Sprint(i)))
	}
	close(release)
	go c.ReadPump()
	go c.WritePump()
	p.Expect(t, "0")
	c.Send([]byte("after"))
	p.Expect(t, "after")
	wstest.Eventually(t, "the episode is reported", func() bool { return slices.Equal(wstest.Dropped(events)[c], []int{n}) })
	wstest.Eventually(t, "OnError is told of the others", func() bool { return missed.Load() > 0 })
	if got := drops.Len(); got < 1024 || got > 1025 {
		t.Errorf("OnDrop was called %d times, want 1024 and the one that ran", got)
	}
	if got := int(missed.Load()); got != n-drops.Len() {
		t.Errorf("OnError was told of %d drops that OnDrop was not called for, want %d", got, n-drops.Len())
	}
	if got := drops.All(); !slices.Equal(got[:1000], numbered("", 1001)[1:]) {
		t.Error("OnDrop was told of others")
	}
}

// A panic in OnDrop costs that call, and one that blocks delays no message.
func TestAPanicInOnDropCostsThatCall(t *testing.T) {
	var calls wstest.List[string]
	h := wstest.Run(t, wskit.WithOnDrop(func(_ wskit.Subscriber, data []byte) {
		calls.Add(string(data))
		if string(data) == "1" {
			panic("drop")
		}
	}))
	_, c := servePumps(t, h.Hub, func(*wskit.Client) {}, wskit.WithSendBufSize(1)).Browser(t)
	h.Count(t, 1)
	for i := range 4 {
		c.Send([]byte(fmt.Sprint(i)))
	}
	wstest.Eventually(t, "all calls", func() bool { return slices.Equal(calls.All(), []string{"1", "2", "3"}) })
	c.Close()
}
