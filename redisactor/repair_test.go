package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
)

func TestASubscriptionThatIsKilledAllTheTimeCostsNothing(t *testing.T) {
	srv := redistest.StartReal(t)
	proxies := []*redistest.ProxyServer{redistest.Proxy(t, srv.Addr()), redistest.Proxy(t, srv.Addr()), redistest.Proxy(t, srv.Addr())}
	var hubs []*hub
	topics := append(numbered("topic", 20), "")
	for _, p := range proxies {
		h := newHub(t, redistest.Client(t, p.Addr()), "killed", keeping(1000))
		h.enter(topics[:20]...)
		h.follow()
		hubs = append(hubs, h)
	}
	end := time.Now().Add(4 * time.Second)
	var all sync.WaitGroup
	sent := make([][]string, 3)
	for i, h := range hubs {
		all.Go(func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for n := 0; time.Now().Before(end); n++ {
				topic, text := topics[n%21], fmt.Sprintf("%d-%d", i, n)
				reply := h.publishTo(topic, text, nil)
				if n%10 == 0 {
					if err := <-reply; err != nil {
						t.Errorf("%s: %v", text, err)
					}
				}
				sent[i] = append(sent[i], inTopic(topic, text))
				<-pace.C
			}
		})
		all.Go(func() {
			cut := time.NewTicker(100 * time.Millisecond)
			defer cut.Stop()
			for time.Now().Before(end) {
				<-cut.C
				proxies[i].CutSubscribers()
			}
		})
	}
	all.Wait()
	want := slices.Concat(sent...)
	for i, h := range hubs {
		h.getsOnce(5*time.Second, want)
		h.grows()
		downs := 0
		for _, l := range h.loggeds() {
			if l.Down {
				downs++
			}
			for _, topic := range l.Topics {
				t.Errorf("hub %d was told %+v", i, topic)
			}
		}
		unplaced := 0
		for _, e := range h.entered() {
			if e.logged == nil && e.at.N == 0 {
				unplaced++
			}
		}
		for _, err := range h.trouble() {
			if errors.Is(err, actors.ErrRedisGap) {
				t.Errorf("hub %d: %v", i, err)
			}
		}
		if h.resets() > 0 || downs < 10 || unplaced > 0 {
			t.Errorf("hub %d: %d resets, %d times down, %d messages without a position", i, h.resets(), downs, unplaced)
		}
	}
	t.Logf("%d messages", len(want))
}

func TestARedisThatHasLostItsDataBeginsAnotherEpoch(t *testing.T) {
	srv := redistest.StartReal(t)
	ctx := context.Background()
	a := newHub(t, srv.Client(t), "lost", keeping(10))
	a.follow()
	told(t, a.publish("1"))
	if err := srv.Client(t).FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if l := a.loads("")[""]; l.Lost != 1 || len(l.Messages) > 0 {
		t.Errorf("loaded %+v of a Redis that has nothing", l)
	}
	told(t, a.publish("2"))
	a.gets(time.Second, "1", "2")
	if a.resets() != 1 {
		t.Errorf("%d resets after FLUSHALL", a.resets())
	}
	n := len(a.loggeds())
	srv.Kill()
	srv.Restart()
	a.informed(n)
	if a.resets() != 1 {
		t.Errorf("%d resets before anything was published", a.resets())
	}
	told(t, a.publish("3"))
	a.gets(time.Second, "1", "2", "3")
	a.grows()
	if a.resets() != 2 {
		t.Errorf("%d resets after a restart", a.resets())
	}
}

func TestAReplicaThatTakesOverIsAnotherEpoch(t *testing.T) {
	first := redistest.StartReal(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := strings.Cut(first.Addr(), ":")
	second := redistest.StartReal(t, "--replicaof", host, port)
	ctx := context.Background()
	replica := second.Client(t)
	a := newHub(t, first.Client(t), "over", keeping(10))
	a.follow()
	told(t, a.publish("1"))
	if !redistest.Until(5*time.Second, func() bool { return replica.Exists(ctx, "{wskit:over}").Val() == 1 }) {
		t.Fatal("nothing is replicated")
	}
	b := newHub(t, replica, "over", keeping(10))
	b.follow()
	if err := within(t, 3*time.Second, b.publish("refused"), "an answer"); err == nil {
		t.Error("a replica took a message")
	}
	b.gets(time.Second, "refused")
	if err := replica.ReplicaOf(ctx, "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	told(t, b.publish("2"))
	b.gets(time.Second, "refused", "2")
	b.grows()
	if last := b.entered(); b.resets() != 1 || last[len(last)-1].at.N != 2 {
		t.Errorf("%d resets, then %+v", b.resets(), last[len(last)-1])
	}
}

func TestWhatIsNotKeptIsAHoleAndOneGap(t *testing.T) {
	srv := redistest.StartReal(t)
	proxy := redistest.Proxy(t, srv.Addr())
	a, b := newHub(t, redistest.Client(t, proxy.Addr()), "hole", keeping(3)), newHub(t, srv.Client(t), "hole", keeping(3))
	a.enter("x", "y", "z")
	a.follow()
	told(t, b.publishTo("x", "before", nil))
	a.gets(time.Second, "[x] before")
	proxy.Mute(redistest.Subscribing)
	proxy.CutSubscribers()
	redistest.Until(50*time.Millisecond, func() bool { return false })
	for i := range 5 {
		told(t, b.publishTo("x", fmt.Sprint(i), nil))
		told(t, b.publishTo("y", fmt.Sprint(i), nil))
	}
	told(t, b.publishTo("z", "0", nil))
	n := len(a.loggeds())
	proxy.Mute(redistest.Nothing)
	proxy.Cut()
	l := a.informed(n)
	a.gets(time.Second, "[x] before", "[x] 2", "[y] 2", "[x] 3", "[y] 3", "[x] 4", "[y] 4", "[z] 0")
	holes := make(map[string]uint64)
	for _, topic := range l.Topics {
		if !topic.Hole || !topic.Followed || !topic.Loaded || !slices.Equal(texts(topic.Messages), []string{"2", "3", "4"}) {
			t.Errorf("told %+v", topic)
		}
		holes[topic.Topic] = topic.Lost
	}
	if len(holes) != 2 || holes["x"] != 4 || holes["y"] != 5 || l.At.N != 12 {
		t.Errorf("at %v holes up to %v", l.At, holes)
	}
	a.grows()
	gaps := 0
	for _, err := range a.trouble() {
		if errors.Is(err, actors.ErrRedisGap) {
			gaps++
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps: %v", gaps, a.trouble())
	}
}

func TestAMessageOfUnknownOutcomeIsDeliveredOnce(t *testing.T) {
	srv := redistest.StartReal(t)
	proxy := redistest.Proxy(t, srv.Addr())
	a, b := newHub(t, redistest.Client(t, proxy.Addr()), "unknown", keeping(10)), newHub(t, srv.Client(t), "unknown", keeping(10))
	a.follow()
	b.follow()
	told(t, a.publish("0"))
	proxy.Mute(redistest.Replies) // Redis has it, and nobody hears of that
	reply := a.publish("1")
	b.gets(2*time.Second, "0", "1")
	proxy.Mute(redistest.Nothing)
	proxy.Cut()
	if err := within(t, 2500*time.Millisecond, reply, "an answer"); err != nil && !errors.Is(err, actors.ErrUnknownOutcome) {
		t.Errorf("the caller was told %v", err)
	}
	a.gets(5*time.Second, "0", "1")
	if last := a.entered(); redistest.Until(300*time.Millisecond, func() bool { return a.total() > 2 }) || last[len(last)-1].logged != nil && last[len(last)-2].at.N != 2 {
		t.Errorf("%+v", last)
	}
	a.grows()
}

func TestCrashesCostAHubWithHistoryNothing(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "crash", keeping(20000)), newHub(t, srv.Client(t), "crash", keeping(20000))
	a.follow()
	b.follow()
	stopA, stopB := load(t, a, "a", time.Millisecond), load(t, b, "b", time.Millisecond)
	for range 4 {
		redistest.Until(150*time.Millisecond, func() bool { return false })
		a.send(&actors.Crash{Reason: "test"})
	}
	redistest.Until(time.Second, func() bool { return false })
	sentA, sentB := stopA(), stopB()
	a.getsOnce(5*time.Second, sentB)
	if twice := a.wrong(sentA, func(n int) bool { return n > 1 }); twice != "" {
		t.Errorf("twice: %s", twice)
	}
	if !redistest.Until(5*time.Second, func() bool { return a.total() == len(sentA)+len(sentB) }) {
		t.Errorf("%d of %d and %d messages", a.total(), len(sentA), len(sentB))
	}
	a.grows()
	if a.resets() > 0 {
		t.Errorf("%d resets", a.resets())
	}
	for _, err := range a.trouble() {
		if errors.Is(err, actors.ErrRedisGap) {
			t.Error(err)
		}
	}
}

func TestOwnMessagesOfAHubWithHistoryDoNotWaitForAnEchoThatCannotCome(t *testing.T) {
	for name, second := range map[string]func(t *testing.T, first *redistest.Server) *redistest.Server{
		"two strangers":            func(t *testing.T, _ *redistest.Server) *redistest.Server { return redistest.StartReal(t) },
		"a replica and its master": func(t *testing.T, first *redistest.Server) *redistest.Server { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			first := redistest.StartReal(t, "--repl-diskless-sync-delay", "0")
			next := second(t, first)
			var addr atomic.Value
			addr.Store(first.Addr())
			if next == nil { // what is subscribed to is a replica that has stopped following
				next, first = first, replica(t, first)
				addr.Store(first.Addr())
			}
			h := newHub(t, moving(t, &addr), "apart", keeping(100))
			h.follow()
			if name != "two strangers" {
				if err := first.Client(t).ReplicaOf(context.Background(), "no", "one").Err(); err != nil {
					t.Fatal(err)
				}
			}
			addr.Store(next.Addr())
			drop(t, first)
			redistest.Until(100*time.Millisecond, func() bool { return false })
			want := numbered("m", 50)
			var replies []<-chan error
			for _, p := range want {
				replies = append(replies, h.publish(p))
			}
			h.gets(2*time.Second, want...)
			for _, r := range replies {
				told(t, r)
			}
			h.resubscribed(1, 5*time.Second)
			if !redistest.Until(2*time.Second, func() bool { return next.Subscribers(t, "apart") == 1 }) {
				t.Error("the subscription was not renewed")
			}
			more := numbered("n", 50)
			for _, p := range more {
				told(t, h.publish(p))
			}
			h.getsOnce(time.Second, append(want, more...))
			h.grows()
			if errs := h.trouble(); len(errs) != 1 || !strings.Contains(errs[0].Error(), "subscribed and publishing on different servers") {
				t.Errorf("the hub was told %v", errs)
			}
		})
	}
}

func TestAHoleBetweenMessagesIsRepaired(t *testing.T) {
	srv := redistest.StartReal(t)
	client, ctx := srv.Client(t), context.Background()
	a := newHub(t, srv.Client(t), "silent", keeping(10))
	a.enter("x")
	a.follow()
	told(t, a.publishTo("x", "1", nil))
	told(t, a.publishTo("x", "2", nil))
	epoch := client.HGet(ctx, "{wskit:silent}", "e").Val()
	for n := 3; n <= 4; n++ { // only of the second one the hub is told
		record := fmt.Sprintf("\x00wskit1 %s %d %d %d 10 1000 10000 %d %d 0 1 1\nother - 1\n%d", epoch, n, n-1, time.Now().UnixMilli(), n, n, n)
		client.HSet(ctx, "{wskit:silent}", "n", n)
		client.XAdd(ctx, &redis.XAddArgs{Stream: "{wskit:silent}:t::x", ID: fmt.Sprintf("%d-0", n), Values: []any{"m", record}})
		if n == 4 {
			client.Publish(ctx, "silent:x", record)
		}
	}
	a.gets(2*time.Second, "[x] 1", "[x] 2", "[x] 3", "[x] 4")
	a.grows()
	if errs := a.trouble(); len(errs) > 0 {
		t.Errorf("trouble %v", errs)
	}
}

func TestARedisThatIsKilledCostsAHubWithHistoryNoLocalMessage(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "kill", keeping(1000)), newHub(t, srv.Client(t), "kill", keeping(1000))
	a.follow()
	b.follow()
	stopA, stopB := load(t, a, "a", time.Millisecond), load(t, b, "b", time.Millisecond)
	for round := range 2 {
		redistest.Until(5*time.Second, func() bool { return a.times(fmt.Sprintf("b-%d", 200+200*round)) > 0 })
		subscribedA, subscribedB := a.subscriptions(), b.subscriptions()
		srv.Kill()
		redistest.Until(300*time.Millisecond, func() bool { return false })
		srv.Restart()
		a.resubscribed(subscribedA, 5*time.Second)
		b.resubscribed(subscribedB, 5*time.Second)
		heardOf(t, a, b, 5*time.Second)
		heardOf(t, b, a, 5*time.Second)
	}
	sentA, sentB := stopA(), stopB()
	a.getsOnce(15*time.Second, sentA)
	b.getsOnce(15*time.Second, sentB)
	if twice := a.wrong(sentB, func(n int) bool { return n > 1 }); twice != "" {
		t.Errorf("a got more than once: %s", twice)
	}
	a.grows()
	b.grows()
	if a.resets() != 2 || b.resets() != 2 {
		t.Errorf("%d and %d resets", a.resets(), b.resets())
	}
}

func TestWhoMayNotSubscribeHasItsOwnMessagesSoon(t *testing.T) {
	srv := redistest.StartReal(t)
	a := newHub(t, user(t, srv, srv.Addr(), "~*", "+@all", "&*", "-subscribe"), "deaf", keeping(10))
	b := newHub(t, srv.Client(t), "deaf", keeping(10))
	a.send(&subscribe)
	b.follow()
	want := numbered("m", 20)
	var replies []<-chan error
	for _, p := range want {
		replies = append(replies, a.publish(p))
	}
	for _, r := range replies {
		told(t, r)
	}
	a.gets(3*time.Second, want...)
	began := time.Now()
	told(t, a.publish("soon"))
	if d := time.Since(began); d > time.Second {
		t.Errorf("the caller was told after %v", d)
	}
	want = append(want, "soon")
	a.gets(3*time.Second, want...)
	b.gets(time.Second, want...)
	if err := srv.Client(t).Do(context.Background(), "ACL", "SETUSER", "app", "+subscribe").Err(); err != nil {
		t.Fatal(err)
	}
	a.resubscribed(0, 20*time.Second)
	told(t, b.publish("after"))
	a.gets(time.Second, append(want, "after")...)
	a.grows()
}

func TestConnectionsThatAreCutUnderLoadCostAHubWithHistoryNothing(t *testing.T) {
	srv := redistest.StartReal(t)
	proxy := redistest.Proxy(t, srv.Addr())
	a, b := newHub(t, redistest.Client(t, proxy.Addr()), "cut", keeping(10000)), newHub(t, redistest.Client(t, proxy.Addr()), "cut", keeping(10000))
	a.follow()
	b.follow()
	stop := load(t, a, "a", 200*time.Microsecond)
	for range 10 {
		redistest.Until(150*time.Millisecond, func() bool { return false })
		proxy.Cut()
	}
	sent := stop()
	a.getsOnce(15*time.Second, sent)
	a.grows()
	b.grows()
	redistest.Until(2*time.Second, func() bool { return b.total() >= len(sent) })
	unplaced := make(map[string]bool)
	for _, e := range a.entered() {
		if e.logged == nil && e.at.N == 0 {
			unplaced[e.text] = true
		}
	}
	for _, s := range sent {
		if !unplaced[s] && b.times(s) != 1 || unplaced[s] && b.times(s) > 1 {
			t.Errorf("%s: %d times, without a position at its own hub: %v", s, b.times(s), unplaced[s])
		}
	}
	t.Logf("%d of %d without a position", len(unplaced), len(sent))
}

// What is published together is one PUBLISH for each topic in a row. Where that is refused nothing of it is kept, and nothing of the
// others is lost.
func TestWhatIsPublishedTogetherIsRefusedTogether(t *testing.T) {
	ctx, srv := context.Background(), redistest.StartReal(t)
	a := newHub(t, user(t, srv, srv.Addr(), "~*", "+@all", "resetchannels", "&pair", "&pair:yes"), "pair", keeping(100))
	b := newHub(t, srv.Client(t), "pair", keeping(100))
	for _, h := range []*hub{a, b} {
		h.enter("yes")
		h.follow()
	}
	const each = 50
	var taken, refused []<-chan error
	var want []string
	for i := range each {
		text := fmt.Sprint(i)
		if topic := []string{"yes", "no", "yes", "yes", "no", "no", ""}[i%7]; topic == "no" {
			refused = append(refused, a.publishTo(topic, text, nil))
		} else {
			taken = append(taken, a.publishTo(topic, text, nil))
			want = append(want, text)
			if topic != "" {
				want[len(want)-1] = "[" + topic + "] " + text
			}
		}
	}
	for _, r := range taken {
		told(t, r)
	}
	for _, r := range refused {
		if err := within(t, 2500*time.Millisecond, r, "an answer"); err == nil {
			t.Error("a channel that is refused was published to")
		}
	}
	b.gets(2*time.Second, want...)
	const stream = "{wskit:pair}:t::no"
	if n := srv.Client(t).XLen(ctx, stream).Val(); n != 0 {
		t.Errorf("%d messages are kept that nobody got", n)
	}
	if err := srv.Client(t).Do(ctx, "ACL", "SETUSER", "app", "allchannels").Err(); err != nil {
		t.Fatal(err)
	}
	told(t, a.publishTo("no", "after all", nil))
	entries := srv.Client(t).XRange(ctx, stream, "-", "+").Val()
	if len(entries) != 1 || strings.Fields(entries[0].Values["m"].(string))[3] != "0" {
		t.Errorf("it has %v", entries)
	}
	b.grows()
}
