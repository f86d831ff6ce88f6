package hubactor_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

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

// newCounter registers a counter, as a member of those topics.
func (h *hub) newCounter(all *tally, topics ...string) {
	c := &counter{&conn{box: actors.NewOutbox(256)}, all}
	c.box.SetHome(h.link, c)
	c.box.Resume()
	h.system.Root.Send(h.link.Connections, &actors.Adopt{Kind: "bench", Subscriber: c, Outbox: c.box, Actor: c})
	h.admit(&actors.Register{Subscriber: c, Topics: topics})
}

func (h *hub) admit(op actors.Operation) {
	h.t.Helper()
	if err := h.link.Gate.Enter(op, 10*time.Second); err != nil {
		h.t.Fatal(err)
	}
}

// BenchmarkTopics is a delivery to members of the hub, of a topic, and of many topics in turn.
func BenchmarkTopics(b *testing.B) {
	frame := actors.NewFrame([]byte(strings.Repeat("x", 128)))
	for _, of := range []struct {
		name            string
		topics, members int // 0 topics: the hub's own
		burst           int
	}{
		{"hub of 1000", 0, 1000, 64}, {"topic of 1000", 1, 1000, 64},
		{"hub of 1000, one at a time", 0, 1000, 1}, {"topic of 1000, one at a time", 1, 1000, 1},
		{"hub of 10", 0, 10, 64}, {"topic of 10", 1, 10, 64}, {"10000 topics of 10", 10_000, 10, 10_000},
	} {
		b.Run(of.name, func(b *testing.B) {
			h := spawn(b, hubactor.Config{})
			all := &tally{done: make(chan struct{}, 1)}
			names := []string{""}
			for i := range of.topics {
				names = append(names[:i], fmt.Sprint("topic ", i))
			}
			for _, name := range names {
				for range of.members {
					if name == "" {
						h.newCounter(all)
					} else {
						h.newCounter(all, name)
					}
				}
			}
			round := func() {
				all.due.Store(int64(of.burst * of.members))
				for i := range of.burst {
					h.admit(&actors.Broadcast{Frame: frame, Topic: names[i%len(names)]})
				}
				<-all.done
			}
			round() // when each has its actor
			rounds := 0
			b.ReportAllocs()
			for b.Loop() {
				rounds++
				round()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rounds*of.burst*of.members), "ns/delivery")
		})
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
					h.newCounter(all)
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
