package actors_test

import (
	"fmt"
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
