package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/redisactor"
)

// flood publishes n messages of a size at once, as another instance does.
func flood(t *testing.T, srv *redistest.Server, channel, prefix string, n, size int) {
	t.Helper()
	client, ctx := srv.Client(t), context.Background()
	for from := 0; from < n; from += 1000 {
		if _, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i := from; i < min(n, from+1000); i++ {
				text := fmt.Sprint(prefix, i)
				pipe.Publish(ctx, channel, text+strings.Repeat(".", max(0, size-len(text))))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAHubThatTakesNothingHoldsUpNoNeighbour(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		client, hold := srv.Client(t), make(chan struct{})
		slow := newHub(t, client, "slow", stalled(hold), func(h *hub) { h.link.Patience = time.Minute })
		quick := newHub(t, client, "quick")
		slow.subscribe()
		quick.subscribe()
		flood(t, srv, "slow", "m-", 20_000, 0)
		if !redistest.Until(5*time.Second, func() bool { return redisactor.Waiting() > 19_000 }) {
			t.Errorf("%d messages wait for the slow hub", redisactor.Waiting())
		}
		want := numbered("q", 100)
		for _, p := range want {
			began := time.Now()
			if err := within(t, 2*time.Second, quick.publish(p), "an answer"); err != nil {
				t.Error(err)
			}
			if d := time.Since(began); d > 500*time.Millisecond {
				t.Errorf("an own message of the quick hub took %v", d)
			}
		}
		quick.gets(time.Second, want...)
		close(hold)
		slow.gets(10*time.Second, numbered("m", 20_000)...)
		for name, h := range map[string]*hub{"slow": slow, "quick": quick} {
			if h.subscriptions() != 1 || len(h.trouble()) > 0 {
				t.Errorf("%s: %d confirmations, trouble %v", name, h.subscriptions(), h.trouble())
			}
		}
	})
}

func TestWhatAHubHasNoRoomForIsCountedAndReportedAsItsOwn(t *testing.T) {
	for name, size := range map[string]struct{ n, size, fits int }{
		"too many":       {redisactor.MaxBacklog + 3000, 0, redisactor.MaxBacklog},
		"too many bytes": {40, 1 << 20, 32},
	} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.Start(t)
			client, hold := srv.Client(t), make(chan struct{})
			slow := newHub(t, client, "slow", stalled(hold), func(h *hub) { h.link.Patience = time.Minute })
			quick, witness := newHub(t, client, "quick"), hubOn(t, srv, "slow")
			slow.subscribe()
			quick.subscribe()
			witness.subscribe()
			first := 1 + 256 // one is the registry's, the others are on their way to the gate
			flood(t, srv, "slow", "a-", first, 0)
			if !redistest.Until(5*time.Second, func() bool { return redisactor.Outstanding() == first-1 }) {
				t.Fatal("nothing is on its way")
			}
			flood(t, srv, "slow", "b-", size.n, size.size)
			slow.publish("own") // its echo finds no room either
			witness.getsOnce(20*time.Second, []string{"own"})
			quick.publish("through") // which comes after it
			quick.gets(5*time.Second, "through")
			close(hold)
			if !redistest.Until(20*time.Second, func() bool { return slow.total() == first+size.fits+1 && len(slow.trouble()) == 1 }) {
				t.Fatalf("%d messages instead of %d; trouble %v", slow.total(), first+size.fits+1, slow.trouble())
			}
			slow.getsOnce(time.Second, []string{"own"})
			errs := slow.trouble()
			if want := fmt.Sprint(size.n-size.fits+1, " were left out"); !errors.Is(errs[0], actors.ErrRedisGap) || !strings.Contains(errs[0].Error(), want) {
				t.Errorf("the hub was told %v, not that %s", errs, want)
			}
			if len(quick.trouble()) > 0 {
				t.Errorf("its neighbour was told %v", quick.trouble())
			}
			// There is room again.
			flood(t, srv, "slow", "c-", 100, 0)
			slow.getsOnce(5*time.Second, numbered("c", 100))
			if slow.subscriptions() != 1 || len(slow.trouble()) != 1 {
				t.Errorf("%d confirmations, trouble %v", slow.subscriptions(), slow.trouble())
			}
		})
	}
}

func TestALostSubscriptionIsToldAfterWhatCameBeforeIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy, hold := redistest.Proxy(t, srv.Addr()), make(chan struct{})
		h := newHub(t, redistest.Client(t, proxy.Addr()), "lost", stalled(hold), func(h *hub) { h.link.Patience = time.Minute })
		h.subscribe()
		flood(t, srv, "lost", "m-", 2000, 0)
		if !redistest.Until(5*time.Second, func() bool { return redisactor.Waiting() == 2000-257 }) {
			t.Fatalf("%d messages wait for the hub", redisactor.Waiting())
		}
		proxy.Cut()
		for _, n := range []int{0, 1} { // the new subscription comes after 500 ms at the earliest
			if !redistest.Until(10*time.Second, func() bool { return srv.Subscribers(t, "lost") == n }) {
				t.Fatalf("%d subscriptions, not %d", srv.Subscribers(t, "lost"), n)
			}
		}
		flood(t, srv, "lost", "n-", 100, 0)
		close(hold)
		h.gets(5*time.Second, append(numbered("m", 2000), numbered("n", 100)...)...)
		h.resubscribed(1, time.Second)
		if errs := h.trouble(); len(errs) != 1 || !errors.Is(errs[0], actors.ErrRedisGap) {
			t.Errorf("one gap was reported as %v", errs)
		}
	})
}
