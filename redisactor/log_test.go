package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
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
	})
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
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a, b := newHub(t, srv.Client(t), "key", keeping(10)), newHub(t, srv.Client(t), "key", keeping(10))
		a.follow()
		b.follow()
		for i, h := range []*hub{a, a, b} {
			reply := make(chan error, 1)
			h.send(&actors.Publish{Frame: actors.NewFrame([]byte(fmt.Sprint(i))), Keep: &actors.Keeping{Key: "once"}, Reply: reply})
			told(t, reply)
		}
		told(t, a.publish("after"))
		a.gets(time.Second, "0", "after")
		b.gets(time.Second, "0", "after")
	})
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

func TestWhatHasAPositionWaitsForASlowHub(t *testing.T) {
	srv := redistest.StartReal(t)
	hold := make(chan struct{})
	a, b := newHub(t, srv.Client(t), "slow", keeping(10), stalled(hold)), newHub(t, srv.Client(t), "slow", keeping(10))
	a.subscribe()
	b.follow()
	want := numbered("m", 2000)
	for _, p := range want {
		b.publish(p)
	}
	own := a.publish("own")
	b.getsOnce(5*time.Second, append(slices.Clone(want), "own"))
	redistest.Until(2*time.Second, func() bool { return false }) // longer than an echo may be late
	close(hold)
	told(t, own)
	a.getsOnce(5*time.Second, append(want, "own"))
	a.grows()
	if errs := a.trouble(); len(errs) > 0 || a.timeouts.Load() > 0 {
		t.Errorf("trouble %v, %d timeouts", errs, a.timeouts.Load())
	}
}

func TestHubsOfOneClientAndOneChannelHaveOneLog(t *testing.T) {
	srv := redistest.StartReal(t)
	client := srv.Client(t)
	a, b, plain := newHub(t, client, "one", keeping(10)), newHub(t, client, "one", keeping(10)), newHub(t, client, "one")
	other := newHub(t, client, "other", keeping(10))
	for _, h := range []*hub{a, b, other} {
		h.follow()
	}
	plain.subscribe()
	var replies []<-chan error
	var want []string
	for i := range 100 {
		h := []*hub{a, b, plain, other}[i%4]
		replies = append(replies, h.publish(fmt.Sprint(i)))
		if h != other {
			want = append(want, fmt.Sprint(i))
		}
	}
	for _, r := range replies {
		told(t, r)
	}
	for _, h := range []*hub{a, b, plain} {
		h.getsOnce(2*time.Second, want)
		h.grows()
	}
	redistest.Until(2*time.Second, func() bool { return other.total() == 25 }) // a place is had before the message
	if !slices.Equal(a.received(), b.received()) || other.total() != 25 {
		t.Errorf("%v, %v, %v", a.received(), b.received(), other.received())
	}
}

func TestWhoMayNotAskWhichServerItIsHasALogAllTheSame(t *testing.T) {
	srv := redistest.StartReal(t)
	a := newHub(t, user(t, srv, srv.Addr(), "~*", "&*", "+@all", "-info"), "info", keeping(10))
	b := newHub(t, srv.Client(t), "info", keeping(10))
	a.follow()
	b.follow()
	for i, h := range []*hub{a, a, b, a, b} {
		told(t, h.publish(fmt.Sprint(i)))
	}
	a.gets(time.Second, "0", "1", "2", "3", "4")
	if a.grows(); a.resets() > 1 {
		t.Errorf("%d resets", a.resets())
	}
}

func TestALogBeginsBeforeItsFirstMessage(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a, b := newHub(t, srv.Client(t), "begin", keeping(10)), newHub(t, srv.Client(t), "begin", keeping(10))
		a.subscribe()
		b.subscribe()
		first, second := a.informed(0).At, b.informed(0).At
		if first.Epoch == "" || first != second || first.N != 0 {
			t.Errorf("the log begins at %v and at %v", first, second)
		}
		told(t, a.publish("1"))
		a.gets(time.Second, "1")
		if a.grows(); a.resets() > 0 {
			t.Errorf("%d resets", a.resets())
		}
	})
}
