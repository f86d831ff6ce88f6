package contract_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// slot is one kind of operation on a hub whose queues hold n.
type slot struct {
	op  string
	do  func(h *wskit.Hub, i int)
	buf func(n int) wskit.HubOption
}

var slots = []slot{
	{"register", func(h *wskit.Hub, i int) { h.Register(&wstest.Probe{}) }, wskit.WithRegisterBuf},
	{"unregister", func(h *wskit.Hub, i int) { h.Unregister(&wstest.Probe{}) }, wskit.WithRegisterBuf},
	{"broadcast", func(h *wskit.Hub, i int) { h.Broadcast([]byte("x")) }, wskit.WithBroadcastBuf},
}

// "Register, Unregister, Broadcast hand over and return; when the queue is full they wait up to the channel timeout, then
// call OnTimeout with the operation and give up." At N and N+1.
func TestWhenTheQueueIsFullAnOperationWaitsUpToTheChannelTimeoutThenCallsOnTimeout(t *testing.T) {
	const timeout = 40 * time.Millisecond
	for _, s := range slots {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", s.op, n), func(t *testing.T) {
				var timeouts wstest.Journal
				hub := wstest.Idle(t, s.buf(n), wskit.WithChannelTimeout(timeout), wskit.WithOnTimeout(func(op string) { timeouts.Note("%s", op) }))
				for i := range n {
					s.do(hub.Hub, i)
				}
				timeouts.Expect(t)
				start := time.Now()
				s.do(hub.Hub, n)
				if took := time.Since(start); took < timeout {
					t.Errorf("it waited %v only", took)
				}
				timeouts.Expect(t, s.op) // before the call returned, and once
				hub.Start(t)
			})
		}
	}
}

// The queues of registrations and of unregistrations are apart.
func TestAFullQueueOfOneOperationDelaysNoOther(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithRegisterBuf(1), wskit.WithBroadcastBuf(1))
	wstest.Quickly(t, "one of each", time.Second, func() {
		for _, s := range slots {
			s.do(hub.Hub, 0)
		}
	})
	hub.Start(t)
}

// "An operation that timed out never happens later."
func TestAnOperationThatTimedOutNeverHappensLater(t *testing.T) {
	var timeouts wstest.Journal
	hub := wstest.Idle(t, wskit.WithRegisterBuf(1), wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(10*time.Millisecond),
		wskit.WithOnTimeout(func(op string) { timeouts.Note("%s", op) }))
	in, out, last := &wstest.Probe{}, &wstest.Probe{}, &wstest.Probe{}
	hub.Register(in)
	hub.Register(out) // too much
	hub.Broadcast([]byte("kept"))
	hub.Broadcast([]byte("lost")) // too much
	hub.Unregister(&wstest.Probe{})
	hub.Unregister(in) // too much
	timeouts.Expect(t, "register", "broadcast", "unregister")
	hub.Start(t)
	hub.Count(t, 1)
	hub.Register(last)
	hub.Broadcast([]byte("end"))
	in.Expect(t, "kept", "end")
	last.Expect(t, "end")
	out.Expect(t)
	if n := hub.SubscriberCount(); n != 2 {
		t.Error(n, "subscribers")
	}
}

// "... they wait up to the channel timeout": an operation for which a place comes free in time happens.
func TestAnOperationThatWaitsHappensWhenAPlaceComesFree(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithRegisterBuf(1), wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(wstest.Patience),
		wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }))
	p := &wstest.Probe{}
	hub.Register(p)
	hub.Broadcast([]byte("0"))
	waiting := wstest.Begin(func() { hub.Broadcast([]byte("1")) })
	wstest.Silent(t, "Broadcast returned though the queue is full", waiting)
	hub.Start(t)
	wstest.Receive(t, "Broadcast returns", waiting)
	p.Expect(t, "0", "1")
}

// "Before Run the operations queue up to their buffers (0 = no queue: nobody takes it before Run)".
func TestBuffersOfZeroMeanNoQueueBeforeRun(t *testing.T) {
	for _, s := range slots {
		t.Run(s.op, func(t *testing.T) {
			var timeouts wstest.Journal
			hub := wstest.Idle(t, s.buf(0), wskit.WithChannelTimeout(10*time.Millisecond), wskit.WithOnTimeout(func(op string) { timeouts.Note("%s", op) }))
			s.do(hub.Hub, 0)
			timeouts.Expect(t, s.op)
			hub.Start(t)
			if n := hub.SubscriberCount(); n != 0 {
				t.Error(n, "subscribers")
			}
		})
	}
}

// "Buffers of 0 are legal and mean what they say": while the hub runs every operation still gets through.
func TestBuffersOfZeroLoseNothingOnceTheHubRuns(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithRegisterBuf(0), wskit.WithBroadcastBuf(0), wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }))
	p := &wstest.Probe{}
	waiting := wstest.Begin(func() { hub.Register(p) })
	wstest.Silent(t, "Register returned before Run", waiting)
	hub.Start(t)
	wstest.Receive(t, "Register returns", waiting)
	var want []string
	for i := range 500 {
		hub.Broadcast(fmt.Append(nil, i))
		want = append(want, fmt.Sprint(i))
	}
	hub.Unregister(p)
	p.Expect(t, append(want, wstest.Closed)...)
}

// "A negative buffer or a duration <= 0 means the default; a nil option is skipped."
func TestANegativeBufferMeansTheDefault(t *testing.T) {
	for _, s := range slots {
		t.Run(s.op, func(t *testing.T) {
			n := wskit.DefaultBroadcastBuf
			if s.op != "broadcast" {
				n = wskit.DefaultRegisterBuf
			}
			var timeouts wstest.Journal
			hub := wstest.Idle(t, nil, s.buf(-1), nil, wskit.WithChannelTimeout(10*time.Millisecond), wskit.WithOnTimeout(func(op string) { timeouts.Note("%s", op) }))
			for i := range n {
				s.do(hub.Hub, i)
			}
			timeouts.Expect(t)
			s.do(hub.Hub, n)
			timeouts.Expect(t, s.op)
			hub.Start(t)
		})
	}
}

func TestAChannelTimeoutOfZeroOrLessMeansFiveSeconds(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	var group sync.WaitGroup
	for _, d := range []time.Duration{0, -1, -time.Hour} {
		timeouts := make(chan string, 1)
		hub := wstest.Idle(t, wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(d), wskit.WithOnTimeout(func(op string) { timeouts <- op }))
		group.Go(func() {
			start := time.Now()
			hub.Broadcast([]byte("x"))
			if took := time.Since(start); took < wskit.DefaultChannelTimeout || len(timeouts) != 1 {
				t.Errorf("with %v it waited %v, OnTimeout was called %d times", d, took, len(timeouts))
			}
		})
		t.Cleanup(func() { hub.Start(t) })
	}
	group.Wait()
}

// "Run then applies them in order."
func TestRunAppliesInOrderWhatWasQueuedBefore(t *testing.T) {
	var events wstest.Journal
	name := map[wskit.Subscriber]string{}
	hub := wstest.Idle(t, wskit.WithOnConnect(func(s wskit.Subscriber) { events.Note("+%s", name[s]) }), wskit.WithOnDisconnect(func(s wskit.Subscriber) { events.Note("-%s", name[s]) }))
	a, b := &wstest.Probe{}, &wstest.Probe{}
	name[a], name[b] = "a", "b"
	hub.Broadcast([]byte("nobody hears this"))
	hub.Register(a)
	hub.Broadcast([]byte("1"))
	hub.Register(b)
	hub.Broadcast([]byte("2"))
	hub.Unregister(a)
	hub.Broadcast([]byte("3"))
	wstest.Silent(t, "something happens before Run", wstest.Begin(func() {
		wstest.Poll(wstest.Hush*2, func() bool { return a.Len()+b.Len()+len(events.All()) > 0 })
	}))
	hub.Start(t)
	a.Expect(t, "1", "2", wstest.Closed)
	b.Expect(t, "2", "3")
	events.Expect(t, "+a", "+b", "-a")
}

// "Operations of one goroutine are applied in the order it made them."
func TestOperationsOfOneGoroutineAreAppliedInTheOrderItMadeThem(t *testing.T) {
	hub := wstest.Run(t, wskit.WithRegisterBuf(2), wskit.WithBroadcastBuf(3)) // small, so that they have to wait
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 100 {
				p := &wstest.Probe{}
				mine := fmt.Sprintf("%d/%d/", g, i)
				hub.Broadcast([]byte(mine + "early"))
				hub.Register(p)
				hub.Broadcast([]byte(mine + "1"))
				hub.Broadcast([]byte(mine + "2"))
				hub.Unregister(p)
				hub.Broadcast([]byte(mine + "late"))
				wstest.Eventually(t, "close", func() bool { return strings.HasSuffix(p.Text(), wstest.Closed) })
				got := slices.DeleteFunc(strings.Fields(p.Text()), func(s string) bool { return s != wstest.Closed && !strings.HasPrefix(s, mine) })
				if !slices.Equal(got, []string{mine + "1", mine + "2", wstest.Closed}) {
					t.Error(got)
				}
			}
		})
	}
	group.Wait()
}

// "After the hub stopped they return at once."
func TestAfterTheHubStoppedOperationsReturnAtOnce(t *testing.T) {
	hub := wstest.Run(t, wskit.WithRegisterBuf(0), wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(wstest.Patience), wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }))
	hub.Register(&wstest.Probe{})
	hub.Halt(t)
	wstest.Quickly(t, "operations on a stopped hub", time.Second, func() {
		for _, s := range slots {
			for i := range 100 {
				s.do(hub.Hub, i)
			}
		}
		if err := hub.BroadcastEvent(context.Background(), "x"); err != nil {
			t.Error(err)
		}
		hub.SubscribeToRedis(context.Background())
		hub.Run(context.Background())
	})
	if n := hub.SubscriberCount(); n != 0 {
		t.Error(n, "subscribers")
	}
}

// Also those that wait when it stops.
func TestAnOperationThatWaitsWhenTheHubStopsReturns(t *testing.T) {
	hub := wstest.Run(t, wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(time.Minute))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for hub.SubscriberCount() >= 0 {
				hub.Broadcast([]byte("x"))
				select {
				case <-hub.Done:
					return
				default:
				}
			}
		})
	}
	hub.Halt(t)
	wstest.Receive(t, "all return", wstest.Begin(group.Wait))
}

// A registration with a stopped hub ends the subscriber, or nobody ever would.
func TestRegisterOnAStoppedHubClosesTheSubscriber(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))
	hub.Count(t, 0)
	hub.Halt(t)
	p := &wstest.Probe{}
	hub.Register(p)
	p.Expect(t, wstest.Closed)
	sse := wskit.NewSSEClient(hub.Hub, 1)
	hub.Register(sse)
	wstest.Eventually(t, "the SSEClient is closed", func() bool { return !sse.Send([]byte("x")) })
}

// "After the hub stopped they return at once", whatever the subscriber's Close does.
func TestRegisterOnAStoppedHubReturnsAtOnceThoughCloseBlocks(t *testing.T) {
	hub := wstest.Run(t)
	hub.Count(t, 0)
	hub.Halt(t)
	stuck := make(chan struct{})
	defer close(stuck)
	wstest.Quickly(t, "Register of a subscriber whose Close blocks", time.Second, func() { hub.Register(&wstest.Probe{OnClose: func() { <-stuck }}) })
	wstest.Quickly(t, "Register of a subscriber whose Close panics", time.Second, func() { hub.Register(&wstest.Probe{OnClose: func() { panic("test") }}) })
}

// "Run blocks until ctx ends; then closes every subscriber".
func TestRunBlocksUntilItsContextEndsThenClosesEverySubscriber(t *testing.T) {
	hub := wstest.Run(t)
	wstest.Silent(t, "Run returned", hub.Done)
	var all []*wstest.Probe
	for range 50 {
		p := &wstest.Probe{}
		hub.Register(p)
		all = append(all, p)
	}
	hub.Broadcast([]byte("last"))
	hub.Halt(t)
	for _, p := range all { // when Run has returned it has happened
		if p.Text() != "last "+wstest.Closed {
			t.Fatal(p.Text())
		}
	}
}

// Run with a context that has ended already: what was queued is applied all the same, and everybody closed.
func TestRunWithAnEndedContextStillAppliesAndCloses(t *testing.T) {
	hub := wstest.Idle(t)
	p := &wstest.Probe{}
	hub.Register(p)
	hub.Broadcast([]byte("1"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	wstest.Quickly(t, "Run", time.Second, func() { hub.Run(ctx) })
	p.Expect(t, "1", wstest.Closed)
}

// A hub runs once: a second Run waits, and does not stop it.
func TestASecondRunWaitsAndDoesNotStopTheHub(t *testing.T) {
	hub := wstest.Run(t)
	p := &wstest.Probe{}
	hub.Register(p)
	hub.Broadcast([]byte("it runs"))
	p.Expect(t, "it runs")
	ctx, cancel := context.WithCancel(context.Background())
	second := wstest.Begin(func() { hub.Run(ctx) })
	third := wstest.Begin(func() { hub.Run(context.Background()) })
	wstest.Silent(t, "the second Run returned", second)
	cancel()
	wstest.Receive(t, "the second Run returns with its context", second)
	hub.Broadcast([]byte("alive"))
	p.Expect(t, "it runs", "alive")
	hub.Halt(t)
	wstest.Receive(t, "the third Run returns with the hub", third)
	wstest.Quickly(t, "Run afterwards", time.Second, func() { hub.Run(context.Background()) })
}

// A hub that was made and never used costs nothing.
func TestAHubThatIsNeverUsedSpawnsNothing(t *testing.T) {
	wstest.Clean(t)
	before := len(wstest.Processes(actors.System()))
	for range 100 {
		hub := wskit.NewHub(wskit.WithName("never"), wskit.WithOnConnect(func(wskit.Subscriber) {}))
		if n := hub.SubscriberCount(); n != 0 {
			t.Error(n)
		}
	}
	if n := len(wstest.Processes(actors.System())); n != before {
		t.Errorf("%d processes, before %d", n, before)
	}
}
