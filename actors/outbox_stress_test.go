package actors_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wskit/wskit/actors"
)

// crowd is the actor of a stress test: it must never run twice at once, and closes done when the close message came.
type crowd struct {
	inside   atomic.Int32
	overlaps atomic.Int32
	batches  [][]string
	dropped  int
	closed   bool
	finished func() bool
	done     chan struct{}
}

func (c *crowd) InvokeSystemMessage(any)       {}
func (c *crowd) EscalateFailure(reason, _ any) { panic(reason) }

func (c *crowd) InvokeUserMessage(m any) {
	if c.inside.Add(1) != 1 {
		c.overlaps.Add(1)
	}
	defer c.inside.Add(-1)
	switch m := m.(type) {
	case *actors.Batch:
		c.batches = append(c.batches, payloads(m))
	case *actors.Overflowed:
		c.dropped += m.Count
	case *actors.Close:
		c.closed = true
	}
	if c.closed && c.finished() {
		close(c.done)
	}
}

const producers, each = 8, 500

// stress has many goroutines send and broadcast while others pause and hold; it returns what arrived, and how many Sends failed.
func stress(t *testing.T, limit int) (c *crowd, refused int) {
	o := actors.NewOutbox(limit)
	c = &crowd{done: make(chan struct{}), finished: o.Drained}
	attach(o, c, actors.NewPool(2))
	var sending, meddling sync.WaitGroup
	var failed atomic.Int64
	for p := range producers {
		sending.Go(func() {
			for i := range each {
				f := frame(fmt.Sprint(p, " ", i))
				if p%2 == 0 {
					o.PostUserMessage(f)
				} else if o.Send(f) != nil {
					failed.Add(1)
				}
				if i%16 == 0 {
					o.PostUserMessage("control")
				}
			}
		})
	}
	stop := make(chan struct{})
	for _, toggle := range [][2]func(){{o.Pause, o.Resume}, {o.Hold, o.Release}} {
		meddling.Go(func() {
			for {
				toggle[0]()
				runtime.Gosched()
				toggle[1]()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	sending.Wait()
	close(stop)
	meddling.Wait()
	o.Close(&actors.Close{Reason: actors.ReasonClosed})
	<-c.done
	equal(t, "overlapping runs", c.overlaps.Load(), 0)
	return c, int(failed.Load())
}

// perProducer sorts what arrived by who sent it and checks that each one's messages came once and in order.
func perProducer(t *testing.T, c *crowd) (total int) {
	t.Helper()
	last := slices.Repeat([]int{-1}, producers)
	for _, s := range slices.Concat(c.batches...) {
		var p, i int
		if _, err := fmt.Sscan(strings.TrimSpace(s), &p, &i); err != nil {
			t.Fatal(err)
		}
		if i <= last[p] {
			t.Fatalf("producer %d: %d came after %d", p, i, last[p])
		}
		last[p] = i
		total++
	}
	return total
}

func TestManyProducersLoseNothingAndKeepTheirOrder(t *testing.T) {
	c, refused := stress(t, producers*each)
	equal(t, "refused", refused, 0)
	equal(t, "dropped", c.dropped, 0)
	equal(t, "delivered", perProducer(t, c), producers*each)
}

func TestWhatAFullOutboxDropsIsCountedExactly(t *testing.T) {
	c, refused := stress(t, 4)
	delivered := perProducer(t, c)
	equal(t, "delivered and dropped", delivered+c.dropped, producers*each)
	if refused > c.dropped {
		t.Errorf("%d Sends were refused, but %d drops reported", refused, c.dropped)
	}
}

func TestOutboxesOnOnePoolDoNotDisturbEachOther(t *testing.T) {
	pool := actors.NewPool(2)
	const n = 50
	var boxes []*actors.Outbox
	var crowds []*crowd
	for range n {
		o := actors.NewOutbox(1000)
		c := &crowd{done: make(chan struct{}), finished: o.Drained}
		attach(o, c, pool)
		o.Resume()
		boxes, crowds = append(boxes, o), append(crowds, c)
	}
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range 100 {
				f := frame(fmt.Sprint(p, " ", i))
				for _, o := range boxes {
					o.PostUserMessage(f)
				}
			}
		})
	}
	wg.Wait()
	for i, o := range boxes {
		o.Close(&actors.Close{Reason: actors.ReasonClosed})
		<-crowds[i].done
		equal(t, "delivered", perProducer(t, crowds[i]), producers*100)
		equal(t, "overlapping runs", crowds[i].overlaps.Load(), 0)
	}
}
