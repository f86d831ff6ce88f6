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

// keeping is a hub with history.
func keeping(messages int) option {
	return func(h *hub) {
		keep := actors.History{Messages: messages}.WithDefaults()
		h.link.History = &keep
	}
}

// follow subscribes and waits until the registry knows where the log stands.
func (h *hub) follow() {
	h.t.Helper()
	n := len(h.loggeds())
	h.subscribe()
	h.informed(n)
}

// informed waits for one more Logged than n that is not Down, and returns it.
func (h *hub) informed(n int) *actors.Logged {
	h.t.Helper()
	var last *actors.Logged
	if !redistest.Until(5*time.Second, func() bool {
		for _, l := range h.loggeds()[n:] {
			if last = l; !l.Down {
				return true
			}
		}
		return false
	}) {
		h.t.Fatalf("the registry was told nothing; trouble: %v", h.trouble())
	}
	return last
}

func (h *hub) entered() []entered {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.log)
}

func (h *hub) loggeds() (list []*actors.Logged) {
	for _, e := range h.entered() {
		if e.logged != nil {
			list = append(list, e.logged)
		}
	}
	return list
}

// resets is how often all positions were void.
func (h *hub) resets() (n int) {
	for _, l := range h.loggeds() {
		if l.Reset != "" {
			n++
		}
	}
	return n
}

// loads asks for what is kept of topics.
func (h *hub) loads(topics ...string) map[string]actors.LoggedTopic {
	h.t.Helper()
	n := len(h.loggeds())
	h.send(&actors.Load{Topics: topics})
	var got map[string]actors.LoggedTopic
	if !redistest.Until(5*time.Second, func() bool {
		for _, l := range h.loggeds()[n:] {
			got = make(map[string]actors.LoggedTopic)
			for _, t := range l.Topics {
				if t.Loaded {
					got[t.Topic] = t
				}
			}
			if len(got) >= len(topics) {
				return true
			}
		}
		return false
	}) {
		h.t.Fatalf("%v are not loaded", topics)
	}
	return got
}

func texts(frames []*actors.Frame) (list []string) {
	for _, f := range frames {
		list = append(list, string(f.Payload()))
	}
	return list
}

// grows checks that positions only grow, that no message comes twice, and that no message comes after a Logged that says that it has come.
func (h *hub) grows() {
	h.t.Helper()
	var at actors.Position
	for i, e := range h.entered() {
		p := e.at.Position
		if e.logged != nil {
			p = e.logged.At
			if e.logged.Reset != "" || at.Epoch == "" {
				at = p
				continue
			}
		} else if p == (actors.Position{}) {
			continue
		}
		if p.Epoch != at.Epoch || p.N < at.N || e.logged == nil && p.N == at.N {
			h.t.Errorf("entry %d has position %v after %v", i, p, at)
		}
		at = p
	}
}

func TestHubsWithHistoryHaveOneOrderAndOnePositionForEachMessage(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "log", keeping(100)), newHub(t, srv.Client(t), "log", keeping(100))
	for _, h := range []*hub{a, b} {
		h.enter("x", "y", ":z")
		h.follow()
	}
	except := &somebody{}
	var want []string
	for i := range 30 {
		topic, text := []string{"", "x", "y", ":z"}[i%4], fmt.Sprint(i)
		h := []*hub{a, b}[i%2]
		told(t, h.publishTo(topic, text, map[bool]actors.Subscriber{true: except}[i == 8]))
		want = append(want, inTopic(topic, text))
	}
	b.gets(5*time.Second, want...)
	want[8] = but(want[8], except)
	a.gets(5*time.Second, want...)
	a.grows()
	b.grows()
	last := make(map[string]uint64)
	n := uint64(0)
	for _, e := range b.entered() {
		if e.logged != nil {
			continue
		}
		n++
		p := e.at
		if p.N != n || p.Prev != last[p.Topic] || p.History.Messages != 100 || time.Since(p.At).Abs() > time.Minute {
			t.Errorf("message %d is at %+v, the one before at %d", n, p, last[p.Topic])
		}
		last[p.Topic] = p.N
	}
	if errs := append(a.trouble(), b.trouble()...); len(errs) > 0 || a.resets()+b.resets() > 0 {
		t.Errorf("trouble %v, %d and %d resets", errs, a.resets(), b.resets())
	}
	if n := len(srv.Client(t).Keys(context.Background(), "*").Val()); n != 5 {
		t.Errorf("%d keys", n)
	}
}

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
			for n := 0; time.Now().Before(end); n++ {
				topic, text := topics[n%21], fmt.Sprintf("%d-%d", i, n)
				reply := h.publishTo(topic, text, nil)
				if n%10 == 0 {
					if err := <-reply; err != nil {
						t.Errorf("%s: %v", text, err)
					}
				}
				sent[i] = append(sent[i], inTopic(topic, text))
				time.Sleep(time.Millisecond)
			}
		})
		all.Go(func() {
			for time.Now().Before(end) {
				time.Sleep(100 * time.Millisecond)
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
	if err := replica.SlaveOf(ctx, "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	told(t, b.publish("2"))
	b.gets(time.Second, "refused", "2")
	b.grows()
	if last := b.entered(); b.resets() != 1 || last[len(last)-1].at.N != 2 {
		t.Errorf("%d resets, then %+v", b.resets(), last[len(last)-1])
	}
}

func TestWhatRedisRefusesIsDeliveredHereWithoutAPosition(t *testing.T) {
	ctx := context.Background()
	for name, set := range map[string]func(t *testing.T, srv *redistest.Server) *redis.Client{
		"no memory": func(t *testing.T, srv *redistest.Server) *redis.Client {
			if err := srv.Client(t).ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
				t.Fatal(err)
			}
			return srv.Client(t)
		},
		"no scripts": func(t *testing.T, srv *redistest.Server) *redis.Client {
			return user(t, srv, srv.Addr(), "~*", "&*", "+@all", "-evalsha", "-eval")
		},
		"no streams": func(t *testing.T, srv *redistest.Server) *redis.Client {
			return user(t, srv, srv.Addr(), "~*", "&*", "+@all", "-xadd")
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv := redistest.StartReal(t)
			a := newHub(t, set(t, srv), "refused", keeping(10))
			a.follow()
			for i := range 3 {
				err := within(t, 2*time.Second, a.publish(fmt.Sprint(i)), "an answer")
				if !isReply(err) || errors.Is(err, actors.ErrUnknownOutcome) {
					t.Errorf("the caller was told %v", err)
				}
			}
			a.gets(time.Second, "0", "1", "2")
			if n := len(a.trouble()); n != 1 {
				t.Errorf("trouble was reported %d times: %v", n, a.trouble())
			}
		})
	}
}

func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func TestAScriptThatRedisForgetsIsSentAgain(t *testing.T) {
	srv := redistest.StartReal(t)
	a := newHub(t, srv.Client(t), "flushed", keeping(10))
	a.follow()
	for i := range 5 {
		if err := srv.Client(t).ScriptFlush(context.Background()).Err(); err != nil {
			t.Fatal(err)
		}
		told(t, a.publish(fmt.Sprint(i)))
	}
	a.gets(time.Second, "0", "1", "2", "3", "4")
	a.grows()
}

func TestAKeyOfAnotherTypeIsOneTopicsTrouble(t *testing.T) {
	srv := redistest.StartReal(t)
	a := newHub(t, srv.Client(t), "type", keeping(10))
	a.enter("bad", "good")
	a.follow()
	if err := srv.Client(t).Set(context.Background(), "{wskit:type}:t::bad", "x", 0).Err(); err != nil {
		t.Fatal(err)
	}
	good, bad, again := a.publishTo("good", "1", nil), a.publishTo("bad", "2", nil), a.publishTo("good", "3", nil)
	told(t, good)
	told(t, again)
	if err := within(t, time.Second, bad, "an answer"); !redis.HasErrorPrefix(err, "WRONGTYPE") {
		t.Errorf("the caller was told %v", err)
	}
	a.getsOnce(time.Second, []string{"[good] 1", "[bad] 2", "[good] 3"})
}

func TestOfTwoMessagesWithOneKeyOneIsPublished(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "key", keeping(10)), newHub(t, srv.Client(t), "key", keeping(10))
	a.follow()
	b.follow()
	for i, h := range []*hub{a, a, b} {
		reply := make(chan error, 1)
		h.send(&actors.Publish{Frame: actors.NewFrame([]byte(fmt.Sprint(i))), Key: "once", Reply: reply})
		told(t, reply)
	}
	told(t, a.publish("after"))
	a.gets(time.Second, "0", "after")
	b.gets(time.Second, "0", "after")
}

func TestALoadHasWhatIsKept(t *testing.T) {
	srv := redistest.StartReal(t)
	a := newHub(t, srv.Client(t), "load", keeping(3))
	a.enter("x", "none")
	a.follow()
	for i := range 5 {
		told(t, a.publishTo("x", fmt.Sprint(i), nil))
	}
	told(t, a.publishTo("elsewhere", "e", nil))
	reply := make(chan error, 1)
	a.send(&actors.Publish{Topic: "bare", Frame: actors.NewFrame([]byte("b")), History: &actors.History{}, Reply: reply})
	told(t, reply)
	large := strings.Repeat("l", 1000)
	for range 3 {
		reply := make(chan error, 1)
		a.send(&actors.Publish{Topic: "large", Frame: actors.NewFrame([]byte(large)), History: &actors.History{Messages: 3, Bytes: 2500}, Reply: reply})
		told(t, reply)
	}
	a.send(&actors.Publish{Topic: "larger", Frame: actors.NewFrame([]byte(large)), History: &actors.History{Messages: 3, Bytes: 25}, Reply: reply})
	told(t, reply)
	got := a.loads("x", "none", "elsewhere", "bare", "large", "larger", "")
	for _, want := range []struct {
		topic    string
		followed bool
		messages []string
		lost     uint64
	}{
		{"x", true, []string{"2", "3", "4"}, 2}, {"none", true, nil, 0}, {"", true, nil, 0}, {"elsewhere", false, []string{"e"}, 0},
		{"bare", false, nil, 7}, {"large", false, []string{large, large}, 8}, {"larger", false, []string{large}, 0},
	} {
		l := got[want.topic]
		if l.Followed != want.followed || !slices.Equal(texts(l.Messages), want.messages) || l.Lost != want.lost || l.Hole {
			t.Errorf("%q: followed %v, %d messages, lost %d", want.topic, l.Followed, len(l.Messages), l.Lost)
		}
	}
	a.grows()
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

func TestHubsWithAndWithoutHistoryHearEachOther(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "both", keeping(10)), newHub(t, srv.Client(t), "both")
	a.follow()
	b.subscribe()
	told(t, a.publish("a"))
	b.gets(time.Second, "a")
	told(t, b.publish("b"))
	a.gets(time.Second, "a", "b")
	if err := srv.Client(t).Publish(context.Background(), "both", "\x00wskit1 nonsense").Err(); err != nil {
		t.Fatal(err)
	}
	told(t, a.publish("c"))
	a.gets(time.Second, "a", "b", "c")
	b.gets(time.Second, "a", "b", "c")
	if e := a.entered(); e[len(e)-2].at.N != 0 || e[len(e)-1].at.N != 2 {
		t.Errorf("%+v", e)
	}
}

func TestWhoIsNotSubscribedDeliversItsOwnAtOnceWithoutAPosition(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "alone", keeping(10)), newHub(t, srv.Client(t), "alone", keeping(10))
	b.follow()
	told(t, a.publish("1"))
	a.gets(time.Second, "1")
	b.gets(time.Second, "1")
	if e := a.entered(); e[0].at.N != 0 {
		t.Errorf("it is at %v", e[0].at)
	}
	if got := a.loads("")[""]; got.Followed || len(got.Messages) != 1 {
		t.Errorf("loaded %+v", got)
	}
}

func TestWhatIsPublishedToATopicThatIsNotConfirmedYetIsDeliveredOnce(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "join", keeping(10)), newHub(t, srv.Client(t), "join", keeping(10))
	a.follow()
	b.follow()
	var want []string
	var replies []<-chan error
	for _, topic := range numbered("t", 100) {
		a.enter(topic)
		replies = append(replies, a.publishTo(topic, "m", nil))
		want = append(want, inTopic(topic, "m"))
	}
	for _, r := range replies {
		told(t, r)
	}
	a.getsOnce(2*time.Second, want)
	got := a.loads(numbered("t", 100)...)
	for topic, l := range got {
		if !l.Followed || len(l.Messages) != 1 || l.Lost != 0 {
			t.Errorf("%s: %+v", topic, l)
		}
	}
	a.grows()
	if errs := a.trouble(); len(errs) > 0 {
		t.Errorf("trouble %v", errs)
	}
}

func TestATopicThatIsLeftIsNotFollowedAnyMore(t *testing.T) {
	srv := redistest.StartReal(t)
	a := newHub(t, srv.Client(t), "leave", keeping(10))
	a.enter("x")
	a.follow()
	if l := a.loads("x")["x"]; !l.Followed {
		t.Errorf("loaded %+v", l)
	}
	a.exit("x")
	told(t, a.publishTo("x", "lingering", nil)) // goes on to the ring
	a.gets(time.Second, "[x] lingering")
	if !redistest.Until(5*time.Second, func() bool {
		return slices.ContainsFunc(a.loggeds(), func(l *actors.Logged) bool {
			return slices.ContainsFunc(l.Topics, func(t actors.LoggedTopic) bool { return t.Topic == "x" && !t.Followed && !t.Loaded })
		})
	}) {
		t.Error("the registry was not told that the topic was left")
	}
	told(t, a.publishTo("x", "gone", nil))
	a.gets(100*time.Millisecond, "[x] lingering")
}

func TestCrashesCostAHubWithHistoryNothing(t *testing.T) {
	srv := redistest.StartReal(t)
	a, b := newHub(t, srv.Client(t), "crash", keeping(1000)), newHub(t, srv.Client(t), "crash", keeping(1000))
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
	if lost := len(sentA) - len(sentB); a.total() < len(sentA)+len(sentB)-8 { // at most one with each crash
		t.Errorf("%d of %d and %d messages (%d)", a.total(), len(sentA), len(sentB), lost)
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
				if err := first.Client(t).SlaveOf(context.Background(), "no", "one").Err(); err != nil {
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

func TestADrainSeesAHubWithHistoryThrough(t *testing.T) {
	srv := redistest.StartReal(t)
	proxy := redistest.Proxy(t, srv.Addr())
	h := newHub(t, redistest.Client(t, proxy.Addr()), "drain", keeping(10))
	h.follow()
	replies := []<-chan error{h.publish("1"), h.publish("2")}
	if d := h.drain(2 * time.Second); d > time.Second {
		t.Errorf("it took %v", d)
	}
	for _, r := range replies {
		if err := already(t, r); err != nil {
			t.Error(err)
		}
	}
	h.gets(time.Second, "1", "2")

	h = newHub(t, redistest.Client(t, proxy.Addr()), "drain", keeping(10))
	h.follow()
	proxy.Mute(redistest.Everything)
	reply := h.publish("3")
	h.send(&actors.Load{Topics: []string{""}})
	redistest.Until(50*time.Millisecond, func() bool { return false })
	if d := h.drain(300 * time.Millisecond); d > time.Second {
		t.Errorf("it took %v", d)
	}
	if err := already(t, reply); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("the caller was told %v", err)
	}
	h.gets(time.Second, "3")
}

func TestWhatIsTooOldIsNotLoaded(t *testing.T) {
	srv := redistest.StartReal(t)
	keep := &actors.History{Messages: 10, Age: 800 * time.Millisecond}
	a := newHub(t, srv.Client(t), "old", func(h *hub) {
		k := keep.WithDefaults()
		h.link.History = &k
	})
	a.enter("x", "y")
	a.follow()
	told(t, a.publishTo("x", "1", nil))
	told(t, a.publishTo("y", "2", nil))
	redistest.Until(500*time.Millisecond, func() bool { return false })
	told(t, a.publishTo("y", "3", nil))
	redistest.Until(500*time.Millisecond, func() bool { return false })
	got := a.loads("x", "y")
	if x, y := got["x"], got["y"]; len(x.Messages) > 0 || x.Lost == 0 || !slices.Equal(texts(y.Messages), []string{"3"}) || y.Lost != 2 {
		t.Errorf("loaded %+v", got)
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
		header := fmt.Sprintf("%s %d %d %d 10 1000 10000 other - ", epoch, n, n-1, time.Now().UnixMilli())
		header = strings.TrimSuffix(header, " ")
		client.HSet(ctx, "{wskit:silent}", "n", n)
		client.XAdd(ctx, &redis.XAddArgs{Stream: "{wskit:silent}:t::x", ID: fmt.Sprintf("%d-0", n), Values: []any{"h", header, "c", "0", "d", fmt.Sprint(n)}})
		if n == 4 {
			client.Publish(ctx, "silent:x", "\x00wskit1 "+header+"\n4")
		}
	}
	a.gets(2*time.Second, "[x] 1", "[x] 2", "[x] 3", "[x] 4")
	a.grows()
	if errs := a.trouble(); len(errs) > 0 {
		t.Errorf("trouble %v", errs)
	}
}
