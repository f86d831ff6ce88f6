package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/redisactor"
)

// replica starts a Redis that follows master, and waits until it does.
func replica(t *testing.T, master *redistest.Server, args ...string) *redistest.Server {
	t.Helper()
	_, port, err := net.SplitHostPort(master.Addr())
	if err != nil {
		t.Fatal(err)
	}
	srv := redistest.StartReal(t, append([]string{"--replicaof", "127.0.0.1", port}, args...)...)
	client := srv.Client(t)
	if !redistest.Until(20*time.Second, func() bool {
		return strings.Contains(client.Info(context.Background(), "replication").Val(), "master_link_status:up")
	}) {
		t.Fatal("the replica does not find its master")
	}
	return srv
}

// moving is a client whose connections lead to wherever the address points when they are made, as a name in DNS does.
func moving(t *testing.T, addr *atomic.Value) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: "redis:6379", Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr.Load().(string))
	}})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// drop has srv close all connections but subscriptions.
func drop(t *testing.T, srv *redistest.Server) {
	t.Helper()
	if err := srv.Client(t).Do(context.Background(), "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes").Err(); err != nil {
		t.Fatal(err)
	}
}

func TestOwnMessagesDoNotWaitForAnEchoThatCannotCome(t *testing.T) {
	for name, second := range map[string]func(t *testing.T, first *redistest.Server) *redistest.Server{
		"two strangers":            func(t *testing.T, _ *redistest.Server) *redistest.Server { return redistest.StartReal(t) },
		"a master and its replica": func(t *testing.T, first *redistest.Server) *redistest.Server { return replica(t, first) },
	} {
		t.Run(name, func(t *testing.T) {
			first := redistest.StartReal(t)
			next := second(t, first)
			var addr atomic.Value
			addr.Store(first.Addr())
			client := moving(t, &addr)
			h, neighbour := newHub(t, client, "apart"), newHub(t, client, "quiet")
			h.subscribe()
			neighbour.subscribe()
			if err := within(t, 2*time.Second, h.publish("before"), "an answer"); err != nil {
				t.Fatal(err)
			}
			addr.Store(next.Addr())
			drop(t, first)
			redistest.Until(time.Second, func() bool { return client.Ping(context.Background()).Err() == nil })
			began := time.Now()
			want := append([]string{"before"}, numbered("m", 50)...)
			var replies []<-chan error
			for _, p := range want[1:] {
				replies = append(replies, h.publish(p))
			}
			h.gets(time.Second, want...)
			for _, r := range replies {
				if err := within(t, time.Second, r, "an answer"); err != nil {
					t.Errorf("Redis took it, and the caller was told %v", err)
				}
			}
			t.Logf("after %v", time.Since(began))
			// The subscription follows, and echoes come again.
			h.resubscribed(1, 5*time.Second)
			if !redistest.Until(2*time.Second, func() bool { return next.Subscribers(t, "apart") == 1 }) {
				t.Error("the subscription was not renewed")
			}
			heardOf(t, hubOn(t, next, "apart"), h, 5*time.Second)
			more := numbered("n", 50)
			for _, p := range more {
				if err := within(t, 2*time.Second, h.publish(p), "an answer"); err != nil {
					t.Error(err)
				}
			}
			h.getsOnce(time.Second, append(want, more...))
			for what, h := range map[string]*hub{"the hub": h, "its neighbour": neighbour} {
				errs := h.trouble()
				if len(errs) != 1 || !errors.Is(errs[0], actors.ErrRedisGap) || !strings.Contains(errs[0].Error(), "subscribed and publishing on different servers") {
					t.Errorf("%s was told %v", what, errs)
				}
			}
		})
	}
}

func TestServersThatStayApartAreReportedOnceAndCostNoTimeAndNoMemory(t *testing.T) {
	first, second := redistest.StartReal(t), redistest.StartReal(t)
	proxy := redistest.Proxy(t, first.Addr())
	var addr atomic.Value
	addr.Store(second.Addr())
	var subscribing atomic.Bool
	client := redis.NewClient(&redis.Options{Addr: "redis:6379", Dialer: func(ctx context.Context, network, _ string) (net.Conn, error) {
		to := second.Addr()
		if subscribing.Load() { // a connection at a time that is not of the pool, which has one already
			to = proxy.Addr()
		}
		return (&net.Dialer{}).DialContext(ctx, network, to)
	}, MinIdleConns: 0, PoolSize: 1})
	t.Cleanup(func() { _ = client.Close() })
	if err := client.Ping(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	subscribing.Store(true)
	h := newHub(t, client, "far")
	h.subscribe()
	began := time.Now()
	if err := within(t, 2*time.Second, h.publish("first"), "an answer"); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("the first message took %v", d)
	}
	n := 0
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); n++ {
		began := time.Now()
		if err := within(t, 2*time.Second, h.publish(fmt.Sprint(n)), "an answer"); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("message %d took %v", n, d)
		}
	}
	if !redistest.Until(5*time.Second, func() bool { return h.total() == n+1 }) {
		t.Errorf("%d of %d messages", h.total(), n+1)
	}
	if errs := h.trouble(); len(errs) != 1 {
		t.Errorf("one episode was reported as %v", errs)
	}
	if accepted := proxy.Accepted(); accepted < 2 || accepted > 6 {
		t.Errorf("%d subscriptions in %v", accepted, time.Since(began))
	}
	// With the last PINGs, what is remembered of all that goes.
	if !redistest.Until(10*time.Second, func() bool { return redisactor.Remembering() == 0 }) {
		t.Error("messages are remembered whose echo cannot come")
	}
}

func TestAFailoverBySentinelHoldsUpNoLocalDelivery(t *testing.T) {
	t.Parallel()
	master := redistest.StartReal(t)
	replica(t, master)
	client, failover := redistest.Sentinel(t, master)
	a, b := newHub(t, client(), "sentinel"), newHub(t, client(), "sentinel")
	a.subscribe()
	b.subscribe()
	failover()
	var slowest time.Duration
	for i, end := 0, time.Now().Add(12*time.Second); time.Now().Before(end); i++ {
		began, p := time.Now(), fmt.Sprint("m-", i)
		a.publish(p)
		if !redistest.Until(5*time.Second, func() bool { return a.times(p) > 0 }) {
			t.Fatalf("%s is missing", p)
		}
		slowest = max(slowest, time.Since(began))
		redistest.Until(20*time.Millisecond, func() bool { return false })
	}
	if slowest > 2500*time.Millisecond {
		t.Errorf("an own message took %v to local subscribers", slowest)
	}
	heardOf(t, a, b, 20*time.Second)
	heardOf(t, b, a, 20*time.Second)
}
