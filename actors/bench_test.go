package actors_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

// BenchmarkFrame is what one broadcast costs before anybody gets it.
func BenchmarkFrame(b *testing.B) {
	for _, n := range []int{64, 1 << 10, 64 << 10} {
		payload := pattern(n)
		b.Run(fmt.Sprintf("WebSocket/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				actors.NewFrame(payload).WebSocket()
			}
		})
		b.Run(fmt.Sprintf("SSE/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				actors.NewFrame(payload).SSE()
			}
		})
	}
}

// BenchmarkDeflate is the compression of one message, once for all clients.
func BenchmarkDeflate(b *testing.B) {
	payload := []byte(strings.Repeat(`{"symbol":"ACME","bid":12.25,"ask":12.26},`, 25))
	b.ReportAllocs()
	for b.Loop() {
		actors.NewFrame(payload).Deflated(512)
	}
}

// BenchmarkOutboxPostDeliver is one frame posted to an outbox and handed to its actor, in batches of the given length.
func BenchmarkOutboxPostDeliver(b *testing.B) {
	for _, per := range []int{1, 64} {
		b.Run(fmt.Sprint(per), func(b *testing.B) {
			o := newBench(64)
			b.ReportAllocs()
			batches := 0
			for b.Loop() {
				o.deliver(per)
				batches++
			}
			if o.frames != batches*per {
				b.Fatalf("%d frames delivered, %d posted", o.frames, batches*per)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(o.frames), "ns/frame")
		})
	}
}

// BenchmarkBundle is the joining of 64 messages of 128 bytes, once for all clients.
func BenchmarkBundle(b *testing.B) {
	var messages []*actors.Frame
	for range 64 {
		messages = append(messages, actors.NewFrame(make([]byte, 128)))
	}
	b.ReportAllocs()
	for b.Loop() {
		f, _ := actors.Bundle(messages)
		f.WebSocket()
	}
}

func BenchmarkGateEnterLeave(b *testing.B) {
	g := actors.NewGate(64, 64, 256, func(actors.Operation) {})
	g.Open()
	op := broadcast(0)
	one := func() {
		if err := g.Enter(op, time.Minute); err != nil {
			panic(err)
		}
		g.Leave(actors.OpBroadcast)
	}
	b.Run("one caller", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			one()
		}
	})
	b.Run("all cores", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				one()
			}
		})
	})
}

// BenchmarkGateCrowd is one operation that enters while many wait: with the wait of one that is admitted, and of one that
// times out in their midst.
func BenchmarkGateCrowd(b *testing.B) {
	for _, crowd := range []int{10, 1000, 100_000} {
		g := actors.NewGate(1, 1, 1, func(actors.Operation) {})
		g.Open()
		submit := func() { g.Submit(broadcast(0), time.Hour, func(error) {}) }
		for range crowd + 1 {
			submit()
		}
		b.Run(fmt.Sprint("admitted/", crowd), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				submit()
				g.Leave(actors.OpBroadcast)
			}
		})
		b.Run(fmt.Sprint("timed out/", crowd), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = g.Enter(broadcast(0), 0)
			}
		})
		g.Stop()
	}
}
