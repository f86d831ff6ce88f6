package hubactor_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// counter is a connection without a socket: it counts what it would write.
type counter struct {
	*conn
	*tally
}

// tally is of all counters together.
type tally struct {
	due  atomic.Int64 // deliveries that are still to come
	done chan struct{}
}

func (t *tally) delivered(n int) {
	if t.due.Add(-int64(n)) == 0 {
		t.done <- struct{}{}
	}
}

func (c *counter) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		c.delivered(m.Count)
	case *actors.Close:
		c.box.Stop()
	case *actor.Stopped:
		c.box.Discard()
	}
}

// BenchmarkFanOut is one broadcast's way through gate, registry and outbox to one connection's actor, when broadcasts are made
// one at a time or 64 back to back.
func BenchmarkFanOut(b *testing.B) {
	frame := actors.NewFrame([]byte(strings.Repeat("x", 128)))
	for _, members := range []int{100, 10_000} {
		for _, burst := range []int{1, 64} {
			b.Run(fmt.Sprintf("%d members, %d broadcasts", members, burst), func(b *testing.B) {
				h := spawn(b, hubactor.Config{})
				all := &tally{done: make(chan struct{}, 1)}
				for range members {
					c := &counter{&conn{box: actors.NewOutbox(256)}, all}
					c.box.SetHome(h.link, c)
					c.box.Resume()
					h.system.Root.Send(h.link.Connections, &actors.Adopt{Kind: "bench", Subscriber: c, Outbox: c.box, Actor: c})
					h.send(&actors.Register{Subscriber: c})
				}
				for h.count() < members {
				}
				rounds := 0
				b.ReportAllocs()
				for b.Loop() {
					rounds++
					all.due.Store(int64(burst * members))
					for range burst {
						h.send(&actors.Broadcast{Frame: frame})
					}
					<-all.done
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*burst*members), "ns/delivery")
			})
		}
	}
}
