//go:build unix

package redisactor_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit/internal/redistest"
)

// BenchmarkPublishToALog compares a hub with history with one without: so many goroutines publish, and wait for the answer and for what
// comes back.
func BenchmarkPublishToALog(b *testing.B) {
	for name, opts := range map[string][]option{"plain": nil, "history": {keeping(100)}} {
		b.Run(name, func(b *testing.B) {
			h := newHub(b, realRedis(b).Client(b), "bench", opts...)
			h.subscribe()
			payload := strings.Repeat("x", 100)
			var next atomic.Int64
			var all sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range publishers {
				all.Go(func() {
					for next.Add(1) <= int64(b.N) {
						if err := <-h.publish(payload); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			if !redistest.Until(10*time.Second, func() bool { return h.total() >= b.N }) {
				b.Errorf("%d of %d came back", h.total(), b.N)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
		})
	}
}
