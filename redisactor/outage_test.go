package redisactor_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/redisactor"
)

// load publishes numbered messages through h until stop is called, which returns them all.
func load(t *testing.T, h *hub, prefix string, every time.Duration) (stop func() []string) {
	t.Helper()
	end, all := make(chan struct{}), make(chan []string)
	go func() {
		var sent []string
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-end:
				all <- sent
				return
			case <-tick.C:
				sent = append(sent, fmt.Sprintf("%s-%d", prefix, len(sent)))
				h.publish(sent[len(sent)-1])
			}
		}
	}()
	return func() []string {
		close(end)
		return <-all
	}
}

// heardOf waits until one message published at a from now on has reached b.
func heardOf(t *testing.T, a, b *hub, d time.Duration) {
	t.Helper()
	i, probe := 0, fmt.Sprintf("probe %p", a)
	if !redistest.Until(d, func() bool {
		if i++; i%10 == 1 {
			a.publish(probe)
		}
		return b.times(probe) > 0
	}) {
		t.Errorf("instances are apart after %v", d)
	}
}

func TestARedisThatIsKilledAndComesBackCostsNoLocalMessage(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a, b := newHub(t, srv.Client(t), "kill"), newHub(t, srv.Client(t), "kill")
		a.subscribe()
		b.subscribe()
		stopA, stopB := load(t, a, "a", time.Millisecond), load(t, b, "b", time.Millisecond)
		for round := range 2 {
			redistest.Until(5*time.Second, func() bool { return a.times(fmt.Sprintf("b-%d", 200+200*round)) > 0 })
			subscribedA, subscribedB := a.subscriptions(), b.subscriptions()
			srv.Kill()
			if !redistest.Until(2*time.Second, func() bool { return len(a.trouble()) > round && len(b.trouble()) > round }) {
				t.Error("the loss was not noticed")
			}
			srv.Restart()
			back := time.Now()
			a.resubscribed(subscribedA, 5*time.Second)
			b.resubscribed(subscribedB, 5*time.Second)
			heardOf(t, a, b, 5*time.Second)
			heardOf(t, b, a, 5*time.Second)
			if d := time.Since(back); d > 5*time.Second {
				t.Errorf("the instances were together again after %v", d)
			}
		}
		sentA, sentB := stopA(), stopB()
		a.getsOnce(5*time.Second, sentA)
		b.getsOnce(5*time.Second, sentB)
		if twice := a.wrong(sentB, func(n int) bool { return n > 1 }); twice != "" {
			t.Errorf("a got more than once: %s", twice)
		}
		if twice := b.wrong(sentA, func(n int) bool { return n > 1 }); twice != "" {
			t.Errorf("b got more than once: %s", twice)
		}
		gaps := 0
		for _, err := range a.trouble() {
			if errors.Is(err, actors.ErrRedisGap) {
				gaps++
			}
		}
		if gaps != 2 {
			t.Errorf("2 gaps were reported as %v", a.trouble())
		}
	})
}

func TestConnectionsThatAreCutUnderLoadCostNoLocalMessage(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		a := newHub(t, redistest.Client(t, proxy.Addr()), "cut")
		a.subscribe()
		stop := load(t, a, "a", 200*time.Microsecond)
		for range 5 {
			n := a.subscriptions()
			proxy.Cut()
			a.resubscribed(n, 5*time.Second)
		}
		a.getsOnce(5*time.Second, stop())
	})
}

func TestAPublishThatSucceedsEndsTheWaitForTheSubscription(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		h := newHub(t, redistest.Client(t, proxy.Addr()), "back")
		h.subscribe()
		prompt := false
		for round := range 3 {
			proxy.Cut()
			if !redistest.Until(2*time.Second, func() bool { return len(h.trouble()) > round }) {
				t.Fatal("a lost subscription was not reported")
			}
			if err := within(t, 2*time.Second, h.publish("m"), "an answer"); err != nil {
				t.Fatal(err)
			}
			// By itself it would wait for 500 ms at least.
			prompt = prompt || redistest.Until(300*time.Millisecond, func() bool { return h.subscriptions() > round+1 })
			h.resubscribed(round+1, 5*time.Second)
		}
		if !prompt {
			t.Error("the subscriber sat its wait out")
		}
	})
}

func TestARedisThatTakesMessagesAndCutsSubscribersIsNotAskedForEachMessage(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		h := newHub(t, redistest.Client(t, proxy.Addr()), "cut")
		h.subscribe()
		proxy.Mute(redistest.Subscribing)
		proxy.CutSubscribers()
		asked, n := proxy.Commands("subscribe"), 0
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); n++ {
			if err := within(t, 2*time.Second, h.publish(fmt.Sprint(n)), "an answer"); err != nil {
				t.Fatal(err)
			}
		}
		// By itself after 0.5 to 1 s, 1 to 2 s, 2 to 4 s; and once more at each of them.
		if asked = proxy.Commands("subscribe") - asked; asked < 2 || asked > 7 {
			t.Errorf("%d subscriptions were tried while %d messages were published", asked, n)
		}
	})
}

func TestASubscriptionThatIsRenewedUnaskedIsReportedAsAGap(t *testing.T) {
	for name, confirmation := range map[string]string{
		"of the same channel": "*3\r\n$9\r\nsubscribe\r\n$7\r\nrenewed\r\n:1\r\n",
		"of another channel":  "*3\r\n$9\r\nsubscribe\r\n$5\r\nother\r\n:1\r\n",
		"a pong":              "*2\r\n$4\r\npong\r\n$1\r\n0\r\n",
		"an error":            "-ERR nobody asked\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
				proxy := redistest.Proxy(t, srv.Addr())
				client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), Protocol: 2})
				t.Cleanup(func() { _ = client.Close() })
				h := newHub(t, client, "renewed")
				h.subscribe()
				proxy.Inject(confirmation)
				if !redistest.Until(2*time.Second, func() bool { return len(h.trouble()) > 0 }) {
					t.Fatal("it was not noticed")
				}
				h.resubscribed(1, 5*time.Second)
				if errs := h.trouble(); len(errs) != 1 || !errors.Is(errs[0], actors.ErrRedisGap) {
					t.Errorf("one gap was reported as %v", errs)
				}
			})
		})
	}
}

func TestAHalfOpenSubscriptionIsFoundWithinSixSeconds(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		t.Parallel()
		proxy := redistest.Proxy(t, srv.Addr())
		a, b := newHub(t, redistest.Client(t, proxy.Addr()), "half"), newHub(t, srv.Client(t), "half")
		a.subscribe()
		b.subscribe()
		proxy.Mute(redistest.Subscribers)
		want := numbered("m", 50)
		for _, p := range want {
			if err := within(t, 2*time.Second, a.publish(p), "an answer"); err != nil {
				t.Errorf("publishing broke: %v", err)
			}
		}
		a.getsOnce(6*time.Second, want)
		if !slices.Equal(a.received(), want) {
			t.Error("what awaited its echo was delivered in another order")
		}
		b.getsOnce(time.Second, want)
		proxy.Mute(redistest.Nothing)
		a.resubscribed(1, 10*time.Second)
		heardOf(t, b, a, 2*time.Second)
		a.getsOnce(0, want)
	})
}

func TestALostSubscriptionSetsNoMoreFreeThanTheHubCanTake(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.Proxy(t, srv.Addr())
	h := newHub(t, redistest.Client(t, proxy.Addr()), "many", func(h *hub) {
		h.each = 200 * time.Microsecond
		h.link.Patience = time.Second // far less than the hub needs for all of it
	})
	h.subscribe()
	if err := within(t, 2*time.Second, h.publish("first"), "an answer"); err != nil {
		t.Fatal(err)
	}
	proxy.Mute(redistest.Subscribers)
	want := numbered("m", 10_000)
	for _, p := range want {
		h.publish(p)
	}
	if !redistest.Until(2*time.Second, func() bool { return proxy.Commands("publish") == 1+len(want) }) {
		t.Fatal("not all is published")
	}
	proxy.CutSubscribers()
	if !redistest.Until(20*time.Second, func() bool { return h.total() > len(want) }) {
		got := h.received()
		for i, p := range append([]string{"first"}, want...) {
			if i >= len(got) || got[i] != p {
				t.Fatalf("%d of %d messages; the first that is missing is %s; %d timed out; %v", len(got), 1+len(want), p, h.timeouts.Load(), h.trouble())
			}
		}
	}
	h.gets(0, append([]string{"first"}, want...)...)
	if h.timeouts.Load() != 0 {
		t.Errorf("%d timed out", h.timeouts.Load())
	}
}

func TestAnIdleSubscriptionStaysUp(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		t.Parallel()
		proxy := redistest.Proxy(t, srv.Addr())
		h := newHub(t, redistest.Client(t, proxy.Addr()), "idle")
		h.subscribe()
		redistest.Until(15*time.Second, func() bool { return proxy.Commands("ping") > 3 })
		if h.subscriptions() != 1 || len(h.trouble()) != 0 {
			t.Errorf("%d confirmations, trouble: %v", h.subscriptions(), h.trouble())
		}
	})
}

func TestAHubThatTakesNothingForAWhileGetsAllInTheEnd(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		hold := make(chan struct{})
		h := newHub(t, srv.Client(t), "slow", stalled(hold), func(h *hub) { h.link.Patience = time.Minute })
		other := newHub(t, srv.Client(t), "slow")
		other.subscribe()
		h.subscribe()
		want := numbered("m", 1000)
		for _, p := range want {
			if err := within(t, 2*time.Second, other.publish(p), "an answer"); err != nil {
				t.Fatal(err)
			}
		}
		if !redistest.Until(2*time.Second, func() bool { return redisactor.Outstanding() >= 256 }) || redisactor.Outstanding() > 256 {
			t.Errorf("%d messages are on their way to the hub, not 256", redisactor.Outstanding())
		}
		idle := time.NewTimer(7 * time.Second) // pings are answered meanwhile
		defer idle.Stop()
		<-idle.C
		close(hold)
		h.gets(5*time.Second, want...)
		if h.subscriptions() != 1 || len(h.trouble()) != 0 {
			t.Errorf("%d confirmations, trouble: %v", h.subscriptions(), h.trouble())
		}
	})
}

func TestWhatFindsNoPlaceInTimeIsReported(t *testing.T) {
	srv := redistest.Start(t)
	hold := make(chan struct{})
	h, other := newHub(t, srv.Client(t), "full", stalled(hold)), newHub(t, srv.Client(t), "full")
	h.subscribe()
	for _, p := range numbered("m", 10) {
		other.publish(p)
	}
	if !redistest.Until(2*time.Second, func() bool { return h.timeouts.Load() == 9 }) {
		t.Errorf("OnTimeout was called %d times, not 9", h.timeouts.Load())
	}
	if errs := h.trouble(); len(errs) != 1 || !errors.Is(errs[0], actors.ErrTimeout) {
		t.Errorf("one episode was reported as %v", errs)
	}
	close(hold)
	h.gets(time.Second, "m-0")
	if err := within(t, time.Second, other.publish("end"), "an answer"); err != nil {
		t.Error(err)
	}
	h.gets(time.Second, "m-0", "end")
}

func TestCrashesCostNoMessage(t *testing.T) {
	children := map[string]func(t *testing.T, h *hub){
		"redis":      func(_ *testing.T, h *hub) { h.send(&actors.Crash{Reason: "test"}) },
		"publisher":  func(t *testing.T, h *hub) { crashLink(t, h, "/publisher") },
		"subscriber": func(t *testing.T, h *hub) { crashLink(t, h, "/subscriber") },
		"root":       func(t *testing.T, h *hub) { crashLink(t, h, "") },
	}
	for name, crash := range children {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
				a, b := newHub(t, srv.Client(t), "crash"), newHub(t, srv.Client(t), "crash")
				a.subscribe()
				b.subscribe()
				stopA := load(t, a, "a", 200*time.Microsecond)
				for range 3 {
					redistest.Until(100*time.Millisecond, func() bool { return false })
					n := a.subscriptions()
					crash(t, a)
					if name != "publisher" {
						a.resubscribed(n, 5*time.Second)
					}
				}
				sent := stopA()
				a.getsOnce(20*time.Second, sent)
				if twice := b.wrong(sent, func(n int) bool { return n > 1 }); twice != "" {
					t.Errorf("b got more than once: %s", twice)
				}
				if name == "redis" {
					b.getsOnce(20*time.Second, sent)
				}
				heardOf(t, a, b, 5*time.Second)
				heardOf(t, b, a, 5*time.Second)
			})
		})
	}
}

func TestACrashOfTheRedisActorLosesNoMessageOfOthers(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a, b := newHub(t, srv.Client(t), "others"), newHub(t, srv.Client(t), "others")
		a.subscribe()
		b.subscribe()
		stop := load(t, b, "b", 300*time.Microsecond)
		for range 5 {
			n := a.subscriptions()
			a.send(&actors.Crash{Reason: "test"})
			a.resubscribed(n, 5*time.Second)
		}
		sent := stop()
		a.getsOnce(20*time.Second, sent)
		b.getsOnce(20*time.Second, sent)
	})
}
