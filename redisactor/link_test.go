package redisactor_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/redisactor"
)

// linkActors are the names of all actors of links.
func linkActors() (names []string) {
	for _, bucket := range actors.System().ProcessRegistry.LocalPIDs.LocalPIDs {
		bucket.IterCb(func(name string, _ any) { // Keys starts 32 goroutines, for each of 1024
			if strings.HasPrefix(name, "redis-link") {
				names = append(names, name)
			}
		})
	}
	return names
}

// crashLink crashes the actor of all links whose name ends like this; "" is the root.
func crashLink(t *testing.T, h *hub, suffix string) {
	t.Helper()
	found := false
	for _, name := range linkActors() {
		if suffix == "" && !strings.Contains(name, "/") || suffix != "" && strings.HasSuffix(name, suffix) {
			h.link.System.Root.Send(actor.NewPID(h.link.System.Address(), name), &actors.Crash{Reason: "test"})
			found = true
		}
	}
	if !found {
		t.Fatalf("no %s among %v", suffix, linkActors())
	}
}

func TestHubsOfOneClientShareOneConnection(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		client := redistest.Client(t, proxy.Addr())
		var hubs []*hub
		for i := range 20 {
			h := newHub(t, client, fmt.Sprint("tenant-", i/2)) // two on each channel
			h.send(&actors.Subscribe{})
			hubs = append(hubs, h)
		}
		for i, h := range hubs {
			h.resubscribed(0, 5*time.Second)
			if n := srv.Subscribers(t, fmt.Sprint("tenant-", i/2)); n != 1 {
				t.Errorf("%d connections subscribe to the channel of hub %d", n, i)
			}
		}
		if n := proxy.Accepted(); n != 1 {
			t.Errorf("%d connections for subscribing only", n)
		}
		for i, h := range hubs {
			if err := within(t, 2*time.Second, h.publish(fmt.Sprint("from-", i)), "an answer"); err != nil {
				t.Error(err)
			}
		}
		for i, h := range hubs {
			first := i / 2 * 2
			h.gets(2*time.Second, fmt.Sprint("from-", first), fmt.Sprint("from-", first+1))
		}
		if redisactor.Links() != 1 || redisactor.Members() != 20 || len(linkActors()) != 3 {
			t.Errorf("%d links, %d members, actors: %v", redisactor.Links(), redisactor.Members(), linkActors())
		}
		hubs[0].stop()
		if err := within(t, 2*time.Second, hubs[1].publish("on"), "an answer"); err != nil {
			t.Error(err)
		}
		hubs[1].gets(2*time.Second, "from-0", "from-1", "on")
	})
}

func TestTheLastHubLeavesNothing(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		client := srv.Client(t)
		for range 3 {
			a, b := newHub(t, client, "last"), newHub(t, client, "last")
			a.subscribe()
			b.publish("m")
			a.gets(2*time.Second, "m")
			a.stop()
			b.stop()
			if redisactor.Links() != 0 {
				t.Errorf("%d links are left", redisactor.Links())
			}
			if !redistest.Until(2*time.Second, func() bool { return len(linkActors()) == 0 && srv.Subscribers(t, "last") == 0 }) {
				t.Errorf("left: actors %v, %d subscriptions", linkActors(), srv.Subscribers(t, "last"))
			}
		}
	})
}

func TestAHubThatStopsWhileRedisIsDownLeavesNothing(t *testing.T) {
	srv := redistest.Start(t)
	srv.Kill()
	h := newHub(t, srv.Client(t), "down")
	h.send(&actors.Subscribe{})
	h.publish("m")
	h.gets(time.Second, "m")
	h.stop()
	if !redistest.Until(2*time.Second, func() bool { return redisactor.Links() == 0 && len(linkActors()) == 0 }) {
		t.Errorf("left: %d links, actors %v", redisactor.Links(), linkActors())
	}
}
