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
)

// slot is one kind of operation on a hub whose queues hold n.
type slot struct {
	op  string
	do  func(h *wskit.Hub, i int)
	buf func(n int) wskit.HubOption
}

var slots = []slot{
	{"register", func(h *wskit.Hub, i int) { h.Register(&probe{}) }, wskit.WithRegisterBuf},
	{"unregister", func(h *wskit.Hub, i int) { h.Unregister(&probe{}) }, wskit.WithRegisterBuf},
	{"broadcast", func(h *wskit.Hub, i int) { h.Broadcast([]byte("x")) }, wskit.WithBroadcastBuf},
}

// "Register, Unregister, Broadcast hand over and return; when the queue is full they wait up to the channel timeout, then
// call OnTimeout with the operation and give up." At N and N+1.
func TestWhenTheQueueIsFullAnOperationWaitsUpToTheChannelTimeoutThenCallsOnTimeout(t *testing.T) {
	const timeout = 40 * time.Millisecond
	for _, s := range slots {
		for _, n := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s/%d", s.op, n), func(t *testing.T) {
				var timeouts journal
				hub := idle(t, s.buf(n), wskit.WithChannelTimeout(timeout), wskit.WithOnTimeout(func(op string) { timeouts.add("%s", op) }))
				for i := range n {
					s.do(hub.Hub, i)
				}
				timeouts.expect(t)
				start := time.Now()
				s.do(hub.Hub, n)
				if took := time.Since(start); took < timeout {
					t.Errorf("it waited %v only", took)
				}
				timeouts.expect(t, s.op) // before the call returned, and once
				hub.start(t)
			})
		}
	}
}

// The queues of registrations and of unregistrations are apart.
func TestAFullQueueOfOneOperationDelaysNoOther(t *testing.T) {
	hub := idle(t, wskit.WithRegisterBuf(1), wskit.WithBroadcastBuf(1))
	quickly(t, "one of each", time.Second, func() {
		for _, s := range slots {
			s.do(hub.Hub, 0)
		}
	})
	hub.start(t)
}

// "An operation that timed out never happens later."
func TestAnOperationThatTimedOutNeverHappensLater(t *testing.T) {
	var timeouts journal
	hub := idle(t, wskit.WithRegisterBuf(1), wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(10*time.Millisecond),
		wskit.WithOnTimeout(func(op string) { timeouts.add("%s", op) }))
	in, out, last := &probe{}, &probe{}, &probe{}
	hub.Register(in)
	hub.Register(out) // too much
	hub.Broadcast([]byte("kept"))
	hub.Broadcast([]byte("lost")) // too much
	hub.Unregister(&probe{})
	hub.Unregister(in) // too much
	timeouts.expect(t, "register", "broadcast", "unregister")
	hub.start(t)
	hub.count(t, 1)
	hub.Register(last)
	hub.Broadcast([]byte("end"))
	in.expect(t, "kept", "end")
	last.expect(t, "end")
	out.expect(t)
	if n := hub.SubscriberCount(); n != 2 {
		t.Error(n, "subscribers")
	}
}

// "... they wait up to the channel timeout": an operation for which a place comes free in time happens.
func TestAnOperationThatWaitsHappensWhenAPlaceComesFree(t *testing.T) {
	hub := idle(t, wskit.WithRegisterBuf(1), wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(patience),
		wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }))
	p := &probe{}
	hub.Register(p)
	hub.Broadcast([]byte("0"))
	waiting := begin(func() { hub.Broadcast([]byte("1")) })
	silent(t, "Broadcast returned though the queue is full", waiting)
	hub.start(t)
	receive(t, "Broadcast returns", waiting)
	p.expect(t, "0", "1")
}

// "Before Run the operations queue up to their buffers (0 = no queue: nobody takes it before Run)".
func TestBuffersOfZeroMeanNoQueueBeforeRun(t *testing.T) {
	for _, s := range slots {
		t.Run(s.op, func(t *testing.T) {
			var timeouts journal
			hub := idle(t, s.buf(0), wskit.WithChannelTimeout(10*time.Millisecond), wskit.WithOnTimeout(func(op string) { timeouts.add("%s", op) }))
			s.do(hub.Hub, 0)
			timeouts.expect(t, s.op)
			hub.start(t)
			if n := hub.SubscriberCount(); n != 0 {
				t.Error(n, "subscribers")
			}
		})
	}
}

// "Buffers of 0 are legal and mean what they say": while the hub runs every operation still gets through.
func TestBuffersOfZeroLoseNothingOnceTheHubRuns(t *testing.T) {
	hub := idle(t, wskit.WithRegisterBuf(0), wskit.WithBroadcastBuf(0), wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }))
	p := &probe{}
	waiting := begin(func() { hub.Register(p) })
	silent(t, "Register returned before Run", waiting)
	hub.start(t)
	receive(t, "Register returns", waiting)
	var want []string
	for i := range 500 {
		hub.Broadcast(fmt.Append(nil, i))
		want = append(want, fmt.Sprint(i))
	}
	hub.Unregister(p)
	p.expect(t, append(want, closed)...)
}

// "A negative buffer or a duration <= 0 means the default; a nil option is skipped."
func TestANegativeBufferMeansTheDefault(t *testing.T) {
	for _, s := range slots {
		t.Run(s.op, func(t *testing.T) {
			n := wskit.DefaultBroadcastBuf
			if s.op != "broadcast" {
				n = wskit.DefaultRegisterBuf
			}
			var timeouts journal
			hub := idle(t, nil, s.buf(-1), nil, wskit.WithChannelTimeout(10*time.Millisecond), wskit.WithOnTimeout(func(op string) { timeouts.add("%s", op) }))
			for i := range n {
				s.do(hub.Hub, i)
			}
			timeouts.expect(t)
			s.do(hub.Hub, n)
			timeouts.expect(t, s.op)
			hub.start(t)
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
		hub := idle(t, wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(d), wskit.WithOnTimeout(func(op string) { timeouts <- op }))
		group.Go(func() {
			start := time.Now()
			hub.Broadcast([]byte("x"))
			if took := time.Since(start); took < wskit.DefaultChannelTimeout || len(timeouts) != 1 {
				t.Errorf("with %v it waited %v, OnTimeout was called %d times", d, took, len(timeouts))
			}
		})
		t.Cleanup(func() { hub.start(t) })
	}
	group.Wait()
}

// "Run then applies them in order."
func TestRunAppliesInOrderWhatWasQueuedBefore(t *testing.T) {
	var events journal
	name := map[wskit.Subscriber]string{}
	hub := idle(t, wskit.WithOnConnect(func(s wskit.Subscriber) { events.add("+%s", name[s]) }), wskit.WithOnDisconnect(func(s wskit.Subscriber) { events.add("-%s", name[s]) }))
	a, b := &probe{}, &probe{}
	name[a], name[b] = "a", "b"
	hub.Broadcast([]byte("nobody hears this"))
	hub.Register(a)
	hub.Broadcast([]byte("1"))
	hub.Register(b)
	hub.Broadcast([]byte("2"))
	hub.Unregister(a)
	hub.Broadcast([]byte("3"))
	silent(t, "something happens before Run", begin(func() {
		poll(hush*2, func() bool { return a.len()+b.len()+len(events.list()) > 0 })
	}))
	hub.start(t)
	a.expect(t, "1", "2", closed)
	b.expect(t, "2", "3")
	events.expect(t, "+a", "+b", "-a")
}

// "Operations of one goroutine are applied in the order it made them."
func TestOperationsOfOneGoroutineAreAppliedInTheOrderItMadeThem(t *testing.T) {
	hub := run(t, wskit.WithRegisterBuf(2), wskit.WithBroadcastBuf(3)) // small, so that they have to wait
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			for i := range 100 {
				p := &probe{}
				mine := fmt.Sprintf("%d/%d/", g, i)
				hub.Broadcast([]byte(mine + "early"))
				hub.Register(p)
				hub.Broadcast([]byte(mine + "1"))
				hub.Broadcast([]byte(mine + "2"))
				hub.Unregister(p)
				hub.Broadcast([]byte(mine + "late"))
				eventually(t, "close", func() bool { return strings.HasSuffix(p.all(), closed) })
				got := slices.DeleteFunc(strings.Fields(p.all()), func(s string) bool { return s != closed && !strings.HasPrefix(s, mine) })
				if !slices.Equal(got, []string{mine + "1", mine + "2", closed}) {
					t.Error(got)
				}
			}
		})
	}
	group.Wait()
}

// "After the hub stopped they return at once."
func TestAfterTheHubStoppedOperationsReturnAtOnce(t *testing.T) {
	hub := run(t, wskit.WithRegisterBuf(0), wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(patience), wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }))
	hub.Register(&probe{})
	hub.halt(t)
	quickly(t, "operations on a stopped hub", time.Second, func() {
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
	hub := run(t, wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(time.Minute))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for hub.SubscriberCount() >= 0 {
				hub.Broadcast([]byte("x"))
				select {
				case <-hub.done:
					return
				default:
				}
			}
		})
	}
	hub.halt(t)
	receive(t, "all return", begin(group.Wait))
}

// A registration with a stopped hub ends the subscriber, or nobody ever would.
func TestRegisterOnAStoppedHubClosesTheSubscriber(t *testing.T) {
	hub := run(t, wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))
	hub.count(t, 0)
	hub.halt(t)
	p := &probe{}
	hub.Register(p)
	p.expect(t, closed)
	sse := wskit.NewSSEClient(hub.Hub, 1)
	hub.Register(sse)
	eventually(t, "the SSEClient is closed", func() bool { return !sse.Send([]byte("x")) })
}

// "After the hub stopped they return at once", whatever the subscriber's Close does.
func TestRegisterOnAStoppedHubReturnsAtOnceThoughCloseBlocks(t *testing.T) {
	hub := run(t)
	hub.count(t, 0)
	hub.halt(t)
	stuck := make(chan struct{})
	defer close(stuck)
	quickly(t, "Register of a subscriber whose Close blocks", time.Second, func() { hub.Register(&probe{onClose: func() { <-stuck }}) })
	quickly(t, "Register of a subscriber whose Close panics", time.Second, func() { hub.Register(&probe{onClose: func() { panic("test") }}) })
}

// "Run blocks until ctx ends; then closes every subscriber".
func TestRunBlocksUntilItsContextEndsThenClosesEverySubscriber(t *testing.T) {
	hub := run(t)
	silent(t, "Run returned", hub.done)
	var all []*probe
	for range 50 {
		p := &probe{}
		hub.Register(p)
		all = append(all, p)
	}
	hub.Broadcast([]byte("last"))
	hub.halt(t)
	for _, p := range all { // when Run has returned it has happened
		if p.all() != "last "+closed {
			t.Fatal(p.all())
		}
	}
}

// Run with a context that has ended already: what was queued is applied all the same, and everybody closed.
func TestRunWithAnEndedContextStillAppliesAndCloses(t *testing.T) {
	hub := idle(t)
	p := &probe{}
	hub.Register(p)
	hub.Broadcast([]byte("1"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	quickly(t, "Run", time.Second, func() { hub.Run(ctx) })
	p.expect(t, "1", closed)
}

// A hub runs once: a second Run waits, and does not stop it.
func TestASecondRunWaitsAndDoesNotStopTheHub(t *testing.T) {
	hub := run(t)
	p := &probe{}
	hub.Register(p)
	hub.Broadcast([]byte("it runs"))
	p.expect(t, "it runs")
	ctx, cancel := context.WithCancel(context.Background())
	second := begin(func() { hub.Run(ctx) })
	third := begin(func() { hub.Run(context.Background()) })
	silent(t, "the second Run returned", second)
	cancel()
	receive(t, "the second Run returns with its context", second)
	hub.Broadcast([]byte("alive"))
	p.expect(t, "it runs", "alive")
	hub.halt(t)
	receive(t, "the third Run returns with the hub", third)
	quickly(t, "Run afterwards", time.Second, func() { hub.Run(context.Background()) })
}

// A hub that was made and never used costs nothing.
func TestAHubThatIsNeverUsedSpawnsNothing(t *testing.T) {
	clean(t)
	before := len(processes(system()))
	for range 100 {
		hub := wskit.NewHub(wskit.WithName("never"), wskit.WithOnConnect(func(wskit.Subscriber) {}))
		if n := hub.SubscriberCount(); n != 0 {
			t.Error(n)
		}
	}
	if n := len(processes(system())); n != before {
		t.Errorf("%d processes, before %d", n, before)
	}
}
