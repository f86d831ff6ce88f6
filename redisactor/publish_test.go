package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
)

func TestTwoInstancesSeeOneOrder(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a, b := newHub(t, srv.Client(t), "order"), newHub(t, srv.Client(t), "order")
		a.subscribe()
		b.subscribe()
		const n = 500
		var wg sync.WaitGroup
		for prefix, h := range map[string]*hub{"a": a, "b": b} {
			wg.Go(func() {
				var replies []<-chan error
				for _, payload := range numbered(prefix, n) {
					replies = append(replies, h.publish(payload))
				}
				for _, r := range replies {
					if err := within(t, 5*time.Second, r, "an answer"); err != nil {
						t.Errorf("published: %v", err)
					}
				}
			})
		}
		wg.Wait()
		all := append(numbered("a", n), numbered("b", n)...)
		a.getsOnce(5*time.Second, all)
		b.getsOnce(5*time.Second, all)
		if !slices.Equal(a.received(), b.received()) {
			t.Error("the instances saw different orders")
		}
		for prefix, h := range map[string]*hub{"a": b, "b": a} {
			mine := slices.DeleteFunc(h.received(), func(s string) bool { return s[:1] != prefix })
			if !slices.Equal(mine, numbered(prefix, n)) {
				t.Errorf("what %s published came in another order", prefix)
			}
		}
	})
}

func TestAnyChannelNameAndAnyPayload(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		for _, protocol := range []int{2, 3} {
			for _, channel := range []string{"c", "abc", "pubsub", "with space\r\n", "\x00\xff"} {
				t.Run(fmt.Sprintf("RESP%d %q", protocol, channel), func(t *testing.T) {
					client := redis.NewClient(&redis.Options{Addr: srv.Addr(), Protocol: protocol})
					t.Cleanup(func() { _ = client.Close() })
					a, b := newHub(t, client, channel), newHub(t, srv.Client(t), channel)
					a.subscribe()
					b.subscribe()
					payloads := []string{"", "\r\n", "$-1\r\n", "\x00\xff\xfe", `{"a":1}`, string(make([]byte, 1<<20)), "last"}
					for _, p := range payloads {
						if err := within(t, 5*time.Second, a.publish(p), "an answer"); err != nil {
							t.Error(err)
						}
					}
					a.gets(5*time.Second, payloads...)
					b.gets(5*time.Second, payloads...)
				})
			}
		}
	})
}

func TestWhatIsPublishedWithoutASubscriptionIsDeliveredAtOnceAndNotTwice(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		client := srv.Client(t)
		other := newHub(t, client, "early") // its subscription is up already on the connection they share
		other.subscribe()
		for round := range 50 {
			h := newHub(t, client, "early")
			want := numbered(fmt.Sprint(round), 6)
			for _, p := range want[:3] {
				h.publish(p)
			}
			h.send(&actors.Subscribe{})
			for _, p := range want[3:] {
				h.publish(p)
			}
			h.resubscribed(0, 5*time.Second)
			end := fmt.Sprintf("end %d", round)
			if err := within(t, 5*time.Second, h.publish(end), "an answer"); err != nil {
				t.Error(err)
			}
			h.gets(5*time.Second, append(want, end)...)
			other.getsOnce(5*time.Second, append(want, end))
			h.stop()
		}
	})
}

func TestSubscribeAndUnsubscribeAreCounted(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		h := newHub(t, srv.Client(t), "counted")
		ctx, client := context.Background(), srv.Client(t)
		receivers := func() int64 { return client.Publish(ctx, "counted", "x").Val() }
		h.send(&actors.Unsubscribe{}) // one too many does nothing
		h.subscribe()
		h.send(&actors.Subscribe{})
		h.send(&actors.Unsubscribe{})
		if err := within(t, 2*time.Second, h.publish("still"), "an answer"); err != nil || receivers() != 1 {
			t.Errorf("one Unsubscribe of two ended the subscription (%v)", err)
		}
		h.send(&actors.Unsubscribe{})
		if !redistest.Until(2*time.Second, func() bool { return receivers() == 0 }) {
			t.Error("the subscription outlived the last Unsubscribe")
		}
		for i := range 20 { // each echo may be on the way still when the next subscription begins
			p := fmt.Sprint("again ", i)
			h.subscribe()
			h.publish(p)
			h.send(&actors.Unsubscribe{})
			h.getsOnce(2*time.Second, []string{p})
		}
		h.subscribe()
		if err := within(t, 2*time.Second, h.publish("end"), "an answer"); err != nil {
			t.Error(err)
		}
		h.getsOnce(2*time.Second, append([]string{"still", "end"}, prefixed("again ", 20)...))
	})
}

func prefixed(prefix string, n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(prefix, i))
	}
	return list
}

func TestARedisThatIsDownFallsBackWithinTwoSeconds(t *testing.T) {
	refused := redistest.Start(t)
	refused.Kill()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	for name, addr := range map[string]string{"refuses": refused.Addr(), "is silent": silent.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t, redistest.Client(t, addr), "down")
			h.send(&actors.Subscribe{})
			began := time.Now()
			var replies []<-chan error
			for _, p := range numbered("m", 20) {
				replies = append(replies, h.publish(p))
			}
			h.gets(200*time.Millisecond, numbered("m", 20)...)
			for _, r := range replies {
				if within(t, 3*time.Second, r, "an answer") == nil {
					t.Error("a publish succeeded")
				}
			}
			if d := time.Since(began); d > 2500*time.Millisecond {
				t.Errorf("the answers took %v", d)
			}
			redistest.Until(time.Second, func() bool { return len(h.trouble()) > 0 })
			if n := len(h.trouble()); n != 1 {
				t.Errorf("one outage was reported %d times: %v", n, h.trouble())
			}
		})
	}
}

func TestAPublishWhoseAnswerIsLostIsNotSentAgain(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		a, b := newHub(t, redistest.Client(t, proxy.Addr()), "replies"), newHub(t, srv.Client(t), "replies")
		a.subscribe()
		b.subscribe()
		if err := within(t, 2*time.Second, a.publish("first"), "an answer"); err != nil {
			t.Fatal(err)
		}
		proxy.Mute(redistest.Replies)
		want := numbered("m", 10)
		began := time.Now()
		var replies []<-chan error
		for _, p := range want {
			replies = append(replies, a.publish(p))
		}
		for _, r := range replies {
			if within(t, 3*time.Second, r, "an answer") == nil {
				t.Error("a publish without an answer succeeded")
			}
		}
		if d := time.Since(began); d < 1500*time.Millisecond || d > 2500*time.Millisecond {
			t.Errorf("the callers were told after %v", d)
		}
		a.getsOnce(time.Second, append(want, "first"))
		proxy.Mute(redistest.Nothing)
		// go-redis gives up reading after 3 s; had it tried again, that would be done when this is answered.
		if !redistest.Until(8*time.Second, func() bool { return within(t, 3*time.Second, a.publish("probe"), "an answer") == nil }) {
			t.Error("publishing does not recover")
		}
		// The answer to the last probe may be here before its echo.
		published := func() int { return proxy.Commands("publish") - a.times("probe") }
		if !redistest.Until(time.Second, func() bool { return published() <= 1+len(want) }) {
			t.Errorf("%d messages made %d times PUBLISH", 1+len(want), published())
		}
		a.getsOnce(time.Second, append(want, "first"))
		for _, p := range append(want, "first") {
			if n := b.times(p); n > 1 {
				t.Errorf("the other instance got %s %d times", p, n)
			}
		}
	})
}

func TestAPublishWhoseConnectionBreaksIsNotSentAgain(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		a, b := newHub(t, redistest.Client(t, proxy.Addr()), "broken"), newHub(t, srv.Client(t), "broken")
		a.subscribe()
		b.subscribe()
		if err := within(t, 2*time.Second, a.publish("first"), "an answer"); err != nil {
			t.Fatal(err)
		}
		proxy.Mute(redistest.Replies)
		reply := a.publish("m")
		b.gets(2*time.Second, "first", "m")
		proxy.Mute(redistest.Nothing)
		proxy.Cut()
		if within(t, time.Second, reply, "an answer") == nil {
			t.Error("a publish without an answer succeeded")
		}
		if err := within(t, 2*time.Second, a.publish("end"), "an answer"); err != nil {
			t.Error(err)
		}
		b.gets(2*time.Second, "first", "m", "end")
		a.getsOnce(2*time.Second, []string{"first", "m", "end"})
		if n := proxy.Commands("publish"); n != 3 {
			t.Errorf("3 messages made %d times PUBLISH", n)
		}
	})
}

func TestEqualPayloadsOfTwoInstancesAreAllDelivered(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		a, b := newHub(t, redistest.Client(t, proxy.Addr()), "equal"), newHub(t, srv.Client(t), "equal")
		a.subscribe()
		b.subscribe()
		const n = 300
		var wg sync.WaitGroup
		var sent atomic.Int64
		for _, h := range []*hub{a, b} {
			wg.Go(func() {
				for range n {
					if err := within(t, 3*time.Second, h.publish("tick"), "an answer"); err == nil {
						sent.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if sent.Load() != 2*n {
			t.Fatalf("%d of %d published", sent.Load(), 2*n)
		}
		for name, h := range map[string]*hub{"a": a, "b": b} {
			if !redistest.Until(2*time.Second, func() bool { return h.times("tick") == 2*n }) {
				t.Errorf("%s got %d of %d equal messages", name, h.times("tick"), 2*n)
			}
		}
		// With the subscription lost, a's own are delivered at once; once it is back, each of b's must come through.
		subscribed := a.subscriptions()
		proxy.Cut()
		for range 10 {
			a.publish("tick")
		}
		a.resubscribed(subscribed, 5*time.Second)
		if !redistest.Until(2*time.Second, func() bool { return a.times("tick") == 2*n+10 }) {
			t.Errorf("a got %d messages, not %d", a.times("tick"), 2*n+10)
		}
	})
}

func TestTroubleIsReportedAsAGap(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		h := newHub(t, redistest.Client(t, proxy.Addr()), "gap")
		h.subscribe()
		accepted := proxy.Accepted()
		proxy.Cut()
		if !redistest.Until(2*time.Second, func() bool { return len(h.trouble()) > 0 }) {
			t.Fatal("a lost subscription was not reported")
		}
		if proxy.Accepted() != accepted {
			t.Error("the subscription connection was renewed behind our back")
		}
		h.resubscribed(1, 5*time.Second)
		if errs := h.trouble(); len(errs) != 1 || !errors.Is(errs[0], actors.ErrRedisGap) {
			t.Errorf("one gap was reported as %v", errs)
		}
	})
}
