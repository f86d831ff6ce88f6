//go:build unix

package redisactor_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
)

// publishers is how many goroutines publish at a time, each waiting for the answer before it publishes again.
const publishers = 64

// BenchmarkPublishFrom64Goroutines compares BroadcastEvent with one PUBLISH per call through the same kind of client. Both
// read along what comes back, on a connection of its own, until all of it has come; the hub hands it to a subscriber too.
func BenchmarkPublishFrom64Goroutines(b *testing.B) {
	event := quote{Type: "quote", Symbol: "WSK", Price: 12.5, Note: strings.Repeat("x", 48)}
	payload, err := json.Marshal(event)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("wskit", func(b *testing.B) {
		srv := realRedis(b)
		var got atomic.Int64
		hub := wskit.NewHub(wskit.WithRedis(srv.Client(b), "bench"))
		running(b, hub)
		hub.Register(counter{&got})
		subscribed(b, srv)
		measure(b, &got, func(ctx context.Context) error { return hub.BroadcastEvent(ctx, event) })
	})
	b.Run("one PUBLISH per call", func(b *testing.B) {
		srv := realRedis(b)
		var got atomic.Int64
		client := srv.Client(b)
		subscription := client.Subscribe(context.Background(), "bench")
		b.Cleanup(func() { _ = subscription.Close() })
		go count(subscription, &got)
		subscribed(b, srv)
		measure(b, &got, func(ctx context.Context) error { return client.Publish(ctx, "bench", payload).Err() })
	})
}

type quote struct {
	Type, Symbol string
	Price        float64
	Note         string
}

func realRedis(b *testing.B) *redistest.Server {
	srv := redistest.Start(b)
	if !srv.Real() {
		b.Skip("redis-server not found: there is nothing to measure against")
	}
	return srv
}

// counter is a hub's subscriber that counts what it gets, as count does without a hub.
type counter struct{ got *atomic.Int64 }

func (c counter) Send([]byte) bool { c.got.Add(1); return true }
func (c counter) Close()           {}

func count(subscription *redis.PubSub, got *atomic.Int64) {
	for {
		switch m, err := subscription.Receive(context.Background()); {
		case err != nil:
			return
		default:
			if _, ok := m.(*redis.Message); ok {
				got.Add(1)
			}
		}
	}
}

// running runs hub, with its subscription to Redis, until the benchmark ends.
func running(b *testing.B, hub *wskit.Hub) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { hub.Run(ctx) })
	wg.Go(func() { hub.SubscribeToRedis(ctx) })
	b.Cleanup(func() { cancel(); wg.Wait() })
}

func subscribed(b *testing.B, srv *redistest.Server) {
	b.Helper()
	if !redistest.Until(5*time.Second, func() bool { return srv.Subscribers(b, "bench") == 1 }) {
		b.Fatal("not subscribed")
	}
}

// measure has the publishers publish b.N times in all. Beside the time of a publish it reports the CPU time of this
// process for one, what reading it back costs included.
func measure(b *testing.B, got *atomic.Int64, publish func(context.Context) error) {
	ctx := context.Background()
	if err := publish(ctx); err != nil { // connects
		b.Fatal(err)
	}
	redistest.Until(5*time.Second, func() bool { return got.Load() == 1 })
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range publishers {
		wg.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := publish(ctx); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if !redistest.Until(10*time.Second, func() bool { return got.Load() > int64(b.N) }) {
		b.Errorf("%d of %d came back", got.Load()-1, b.N)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "publishes/s")
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/1000/float64(b.N), "cpu-us/op")
}

// cpuTime is what this process has used of all cores.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
