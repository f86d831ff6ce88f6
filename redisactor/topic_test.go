package redisactor_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
)

// enter and exit are what the Roll says when the first comes into a topic, and when the last goes.
func (h *hub) enter(topics ...string) { h.interest(true, topics) }
func (h *hub) exit(topics ...string)  { h.interest(false, topics) }

func (h *hub) interest(wanted bool, topics []string) {
	for _, topic := range topics {
		h.send(&actors.Interest{Topic: topic, Wanted: wanted})
	}
}

// publishTo publishes to a topic, to all but one, who may be nil.
func (h *hub) publishTo(topic, payload string, except actors.Subscriber) <-chan error {
	reply := make(chan error, 1)
	h.send(&actors.Publish{Topic: topic, Except: except, Frame: actors.NewFrame([]byte(payload)), Reply: reply})
	return reply
}

func told(t testing.TB, reply <-chan error) {
	t.Helper()
	if err := within(t, 2500*time.Millisecond, reply, "an answer"); err != nil {
		t.Errorf("the caller was told %v", err)
	}
}

// gap is whether what was reported is one gap.
func oneGap(errs []error) bool { return len(errs) == 1 && errors.Is(errs[0], actors.ErrRedisGap) }

// somebody is a subscriber.
type somebody struct{ name string }

func (*somebody) Send([]byte) bool { return true }
func (*somebody) Close()           {}

// inTopic and but are how the hub records a message to a topic, and one with an exception.
func inTopic(topic, payload string) string {
	if topic == "" {
		return payload
	}
	return "[" + topic + "] " + payload
}

func but(text string, except actors.Subscriber) string { return fmt.Sprintf("%s but %p", text, except) }

// subscribedTo waits until so many connections subscribe to each of these channels.
func subscribedTo(t testing.TB, srv *redistest.Server, d time.Duration, n int64, channels ...string) {
	t.Helper()
	client, left := srv.Client(t), channels
	if !redistest.Until(d, func() bool {
		for len(left) > 0 {
			ask := left[:min(1000, len(left))]
			got, err := client.PubSubNumSub(context.Background(), ask...).Result()
			if err != nil {
				return false
			}
			for _, channel := range ask {
				if got[channel] != n {
					return false
				}
			}
			left = left[len(ask):]
		}
		return true
	}) {
		t.Fatalf("after %v not %d connections subscribe to %s, and to %d more", d, n, left[0], len(left)-1)
	}
}

// monitor is what Redis is told.
type monitor struct {
	mu    sync.Mutex
	lines []string
}

// monitored has srv's commands noted.
func monitored(t *testing.T, srv *redistest.Server) *monitor {
	t.Helper()
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		t.Fatal(err)
	}
	in, m, ended := bufio.NewReader(conn), &monitor{}, make(chan struct{})
	_, _ = conn.Write([]byte("MONITOR\r\n"))
	if line, err := in.ReadString('\n'); err != nil || line != "+OK\r\n" {
		t.Fatalf("MONITOR: %q, %v", line, err)
	}
	go func() {
		defer close(ended)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			m.mu.Lock()
			m.lines = append(m.lines, line)
			m.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
	return m
}

// commands are those of that name, each as the list of its arguments.
func (m *monitor) commands(name string) (list [][]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.lines {
		_, command, _ := strings.Cut(strings.TrimSpace(line), "] ")
		if args := strings.Split(strings.Trim(command, `"`), `" "`); strings.EqualFold(args[0], name) {
			list = append(list, args[1:])
		}
	}
	return list
}

func names(commands [][]string) (n int) {
	for _, c := range commands {
		n += len(c)
	}
	return n
}

func TestAMessageToATopicReachesEachInstanceWithMembersOnceAndNoOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a, b, c := newHub(t, srv.Client(t), "hub"), newHub(t, srv.Client(t), "hub"), newHub(t, srv.Client(t), "hub")
		for _, h := range []*hub{a, b, c} {
			h.enter("own of " + fmt.Sprintf("%p", h))
			h.subscribe()
		}
		a.enter("room")
		b.enter("room")
		subscribedTo(t, srv, 2*time.Second, 2, "hub:room")
		var want []string
		for i, h := range []*hub{a, b, c, a, b, c} { // the last of them is in no such topic
			p := fmt.Sprint(i)
			want = append(want, inTopic("room", p))
			told(t, h.publishTo("room", p, nil))
		}
		if err := srv.Client(t).Publish(context.Background(), "hub:room", "plain").Err(); err != nil {
			t.Fatal(err)
		}
		want = append(want, inTopic("room", "plain"), "end")
		redistest.Until(2*time.Second, func() bool { return a.total()+b.total() == 2*len(want)-2 })
		told(t, c.publish("end"))
		for _, h := range []*hub{a, b} { // in no particular order: one may not have learned yet that its subscription is confirmed
			h.getsOnce(2*time.Second, want)
			if n := h.total(); n != len(want) {
				t.Errorf("%d messages", n)
			}
		}
		c.gets(2*time.Second, "end")
	})
}

func TestAHubKeepsOneOrderWhateverTheTopic(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a, b := newHub(t, srv.Client(t), "order"), newHub(t, srv.Client(t), "order")
		topics := []string{"", "x", "y", "z"}
		for _, h := range []*hub{a, b} {
			h.enter(topics[1:]...)
			h.subscribe()
		}
		subscribedTo(t, srv, 2*time.Second, 2, "order", "order:x", "order:y", "order:z")
		for i := range 400 {
			for _, h := range []*hub{a, b} {
				h.publishTo(topics[i%len(topics)], fmt.Sprintf("%p-%d", h, i), nil)
			}
		}
		redistest.Until(5*time.Second, func() bool { return a.total() == 800 && b.total() == 800 })
		if !slices.Equal(a.received(), b.received()) || a.total() != 800 {
			t.Errorf("two instances saw two orders, of %d and %d messages", a.total(), b.total())
		}
	})
}

func TestInterestGoesOutInBatchesOfAtMost512Names(t *testing.T) {
	srv := redistest.StartReal(t)
	h := newHub(t, srv.Client(t), "many")
	h.subscribe()
	seen := monitored(t, srv)
	topics, channels := numbered("t", 3000), numbered("many:t", 3000)
	h.enter(topics...)
	subscribedTo(t, srv, 3*time.Second, 1, channels...)
	h.exit(topics...)
	subscribedTo(t, srv, 5*time.Second, 0, channels...)
	for _, name := range []string{"subscribe", "unsubscribe"} {
		redistest.Until(2*time.Second, func() bool { return names(seen.commands(name)) >= 3000 })
		commands := seen.commands(name)
		if names(commands) != 3000 || len(commands) > 100 {
			t.Errorf("%d times %s, with %d names in all", len(commands), name, names(commands))
		}
		for _, c := range commands {
			if len(c) > 512 {
				t.Errorf("%s of %d channels", name, len(c))
			}
		}
	}
}

func TestATopicThatIsLeftStaysSubscribedForTwoSeconds(t *testing.T) {
	srv := redistest.StartReal(t)
	h := newHub(t, srv.Client(t), "page")
	h.subscribe()
	h.enter("back", "gone")
	subscribedTo(t, srv, 2*time.Second, 1, "page:back", "page:gone")
	seen := monitored(t, srv)
	for range 100 {
		h.exit("back")
		h.enter("back")
	}
	h.exit("gone")
	left := time.Now()
	if !redistest.Until(4*time.Second, func() bool { return len(seen.commands("unsubscribe")) > 0 }) {
		t.Fatal("it stays subscribed for ever")
	}
	if d := time.Since(left); d < 1900*time.Millisecond || d > 3*time.Second {
		t.Errorf("it left after %v", d)
	}
	if left := seen.commands("unsubscribe"); len(left) != 1 || !slices.Equal(left[0], []string{"page:gone"}) {
		t.Errorf("it left %v", left)
	}
	if again := seen.commands("subscribe"); len(again) != 0 {
		t.Errorf("it subscribed to %v", again)
	}
	h.enter("gone")
	subscribedTo(t, srv, 2*time.Second, 1, "page:back", "page:gone")
	told(t, hubOn(t, srv, "page").publishTo("gone", "on", nil))
	h.gets(2*time.Second, inTopic("gone", "on"))
}

func TestWhoeverComesGetsNothingThatWasPublishedBefore(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		h := newHub(t, srv.Client(t), "before")
		h.subscribe()
		for i := range 20 { // first while the hub is not subscribed to the channel, then while it is
			before := h.publishTo("room", fmt.Sprint("before ", i), nil)
			h.enter("room")
			after := h.publishTo("room", fmt.Sprint("after ", i), nil)
			told(t, before)
			told(t, after)
			subscribedTo(t, srv, 2*time.Second, 1, "before:room")
			told(t, h.publishTo("room", fmt.Sprint("subscribed ", i), nil))
			h.getsOnce(2*time.Second, []string{inTopic("room", fmt.Sprint("after ", i)), inTopic("room", fmt.Sprint("subscribed ", i))})
			h.exit("room")
		}
		if h.total() != 40 {
			t.Errorf("%d messages: %q", h.total(), h.received())
		}
	})
}

func TestTheExceptionHoldsHoweverAMessageIsDelivered(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		h, other := newHub(t, redistest.Client(t, proxy.Addr()), "except"), newHub(t, srv.Client(t), "except")
		me := &somebody{"me"}
		var want []string
		publish := func(name string) {
			for _, topic := range []string{"", "room"} {
				h.publishTo(topic, name, me)
				want = append(want, but(inTopic(topic, name), me))
			}
		}
		h.enter("room")
		other.enter("room")
		publish("unsubscribed")
		h.subscribe()
		other.subscribe()
		subscribedTo(t, srv, 2*time.Second, 2, "except", "except:room")
		publish("echo")
		redistest.Until(2*time.Second, func() bool { return h.total() == len(want) })
		proxy.Mute(redistest.Subscribers)
		publish("flushed")
		redistest.Until(200*time.Millisecond, func() bool { return proxy.Commands("publish") == len(want) })
		n := h.subscriptions()
		proxy.Mute(redistest.Nothing)
		proxy.CutSubscribers()
		h.resubscribed(n, 5*time.Second)
		subscribedTo(t, srv, 2*time.Second, 2, "except", "except:room")
		publish("back")
		redistest.Until(2*time.Second, func() bool { return h.total() == len(want) })
		srv.Kill()
		publish("fallback")
		h.getsOnce(4*time.Second, want)
		if h.total() != len(want) {
			t.Errorf("%d messages, not %d: %q", h.total(), len(want), h.received())
		}
		other.getsOnce(time.Second, []string{"echo", inTopic("room", "echo"), "back", inTopic("room", "back")})
	})
}

func TestEqualPayloadsOfTwoTopicsDoNotSettleEachOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		h, other := newHub(t, srv.Client(t), "equal"), newHub(t, srv.Client(t), "equal")
		h.enter("x", "y")
		h.subscribe()
		subscribedTo(t, srv, 2*time.Second, 1, "equal:x", "equal:y")
		for round := range 50 {
			payload := fmt.Sprint("round ", round)
			for range 10 {
				other.publishTo("x", payload, nil)
				h.publishTo("x", payload, nil)
				h.publishTo("y", payload, nil)
				h.publish(payload)
			}
			for text, want := range map[string]int{payload: 10, inTopic("x", payload): 20, inTopic("y", payload): 10} {
				if redistest.Until(2*time.Second, func() bool { return h.times(text) >= want }); h.times(text) != want {
					t.Fatalf("%s came %d times, not %d", text, h.times(text), want)
				}
			}
		}
	})
}

func TestTenThousandTopicsAreBackWithinFiveSecondsOfRedisWithOneReport(t *testing.T) {
	srv := redistest.StartReal(t)
	client := srv.Client(t)
	a, b := newHub(t, client, "a"), newHub(t, client, "b") // one connection for both
	topics := numbered("t", 10_000)
	channels := append(numbered("a:t", 10_000), numbered("b:t", 10_000)...)
	for _, h := range []*hub{a, b} {
		h.enter(topics...)
		h.send(&subscribe)
		h.resubscribed(0, 20*time.Second)
	}
	subscribedTo(t, srv, 20*time.Second, 1, channels...)
	limit := 5 * time.Second
	if raceDetector { // which costs ten times as much
		limit *= 4
	}
	for round := range 2 {
		na, nb := a.subscriptions(), b.subscriptions()
		srv.Kill()
		if !redistest.Until(2*time.Second, func() bool { return len(a.trouble()) > round && len(b.trouble()) > round }) {
			t.Fatal("the loss was not noticed")
		}
		srv.Restart()
		back := time.Now()
		a.resubscribed(na, limit)
		b.resubscribed(nb, limit)
		subscribedTo(t, srv, limit-time.Since(back), 1, channels...)
		t.Logf("subscribed again after %v", time.Since(back))
		for _, h := range []*hub{a, b} {
			if errs := h.trouble(); len(errs) != round+1 || !errors.Is(errs[round], actors.ErrRedisGap) {
				t.Errorf("after %d outages %d reports: %.300v", round+1, len(errs), errs)
			}
			if h.subscriptions() != round+2 {
				t.Errorf("%d times Subscribed", h.subscriptions())
			}
		}
	}
	for i := range 100 {
		told(t, a.publishTo(topics[i*99], "on", nil))
	}
	a.getsOnce(3*time.Second, func() (want []string) {
		for i := range 100 {
			want = append(want, inTopic(topics[i*99], "on"))
		}
		return want
	}())
}

func TestASubscriptionThatIsKilledAgainAndAgainCostsNoLocalMessageOfATopic(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		a, b := newHub(t, redistest.Client(t, proxy.Addr()), "cut"), newHub(t, srv.Client(t), "cut")
		topics := []string{"x", "y", "z", ""}
		for _, h := range []*hub{a, b} {
			h.enter(topics[:3]...)
			h.subscribe()
		}
		subscribedTo(t, srv, 2*time.Second, 2, "cut:x", "cut:y", "cut:z")
		var sent []string
		for round := range 5 {
			n, gaps := a.subscriptions(), len(a.trouble())
			for i := range 300 {
				if i == 100 {
					proxy.CutSubscribers()
				}
				topic, p := topics[i%4], fmt.Sprintf("%d-%d", round, i)
				if i%3 == 0 {
					p = "same" + p[:1]
				}
				sent = append(sent, inTopic(topic, p))
				a.publishTo(topic, p, nil)
			}
			a.resubscribed(n, 5*time.Second)
			if got := a.trouble()[gaps:]; !oneGap(got) {
				t.Errorf("one loss was reported as %v", got)
			}
		}
		counts := map[string]int{}
		for _, p := range sent {
			counts[p]++
		}
		if !redistest.Until(5*time.Second, func() bool { return a.total() >= len(sent) && b.total() >= len(sent) }) {
			t.Errorf("%d and %d of %d messages", a.total(), b.total(), len(sent))
		}
		for p, n := range counts {
			if a.times(p) != n || b.times(p) != n {
				t.Errorf("%s was published %d times, and came %d and %d times", p, n, a.times(p), b.times(p))
			}
		}
	})
}

func TestTopicsOfAHubThatUnsubscribesAreDeliveredAtOnceAndComeBackWithIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		h := newHub(t, srv.Client(t), "off")
		h.enter("room")
		h.subscribe()
		subscribedTo(t, srv, 2*time.Second, 1, "off", "off:room")
		subscribedTo(t, srv, 2*time.Second, 0, "off::control") // it has no user, and nothing to announce
		h.enter(actors.UserTopic("ann"))
		subscribedTo(t, srv, 2*time.Second, 1, "off::user:ann", "off::control")
		h.exit(actors.UserTopic("ann"))
		h.send(&actors.Unsubscribe{})
		subscribedTo(t, srv, 2*time.Second, 0, "off", "off:room", "off::control")
		told(t, h.publishTo("room", "off", nil))
		h.gets(time.Second, inTopic("room", "off"))
		h.enter("other")
		h.exit("room")
		h.subscribe()
		subscribedTo(t, srv, 2*time.Second, 1, "off", "off:other")
		subscribedTo(t, srv, 0, 0, "off:room")
		told(t, h.publishTo("other", "on", nil))
		told(t, h.publishTo("room", "nobody", nil))
		told(t, h.publish("end"))
		h.gets(time.Second, inTopic("room", "off"), inTopic("other", "on"), "end")
	})
}

func TestACrashForgetsNoTopic(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		h, other := newHub(t, srv.Client(t), "crash"), newHub(t, srv.Client(t), "crash")
		h.enter("stays", "goes")
		h.subscribe()
		subscribedTo(t, srv, 2*time.Second, 1, "crash:stays", "crash:goes")
		for name, crash := range map[string]func(){
			"redis":      func() { h.send(&actors.Crash{Reason: "test"}) },
			"subscriber": func() { crashLink(t, h, "/subscriber") },
			"root":       func() { crashLink(t, h, "") },
		} {
			n := h.subscriptions()
			crash()
			h.resubscribed(n, 5*time.Second)
			subscribedTo(t, srv, 2*time.Second, 1, "crash:stays", "crash:goes")
			told(t, h.publishTo("stays", "own "+name, nil))
			told(t, other.publishTo("goes", "theirs "+name, nil))
			h.getsOnce(2*time.Second, []string{inTopic("stays", "own "+name), inTopic("goes", "theirs "+name)})
		}
		h.exit("goes")
		h.send(&actors.Crash{Reason: "test"})
		subscribedTo(t, srv, 4*time.Second, 0, "crash:goes")
		subscribedTo(t, srv, 0, 1, "crash:stays")
	})
}

func TestATopicThatRedisRefusesIsNoOthersTroubleAndReportedOnce(t *testing.T) {
	srv := redistest.StartReal(t)
	client := user(t, srv, srv.Addr(), "~*", "+@all", "resetchannels", "&acl", "&acl:ours:*")
	h, other := newHub(t, client, "acl"), newHub(t, srv.Client(t), "acl")
	h.enter(append(numbered("ours:t", 20), "theirs", "theirs too")...)
	h.subscribe()
	subscribedTo(t, srv, 5*time.Second, 1, numbered("acl:ours:t", 20)...)
	redistest.Until(2*time.Second, func() bool { return len(h.trouble()) > 0 })
	for i := range 10 {
		told(t, other.publishTo("ours:t-3", fmt.Sprint(i), nil))
		told(t, h.publish(fmt.Sprint("own ", i)))
		if err := within(t, 2*time.Second, h.publishTo("theirs", fmt.Sprint("refused ", i), nil), "an answer"); !redis.IsPermissionError(err) {
			t.Errorf("the caller was told %v", err)
		}
		h.getsOnce(2*time.Second, []string{inTopic("ours:t-3", fmt.Sprint(i)), fmt.Sprint("own ", i), inTopic("theirs", fmt.Sprint("refused ", i))})
	}
	if errs := h.trouble(); len(errs) != 1 || !redis.IsPermissionError(errs[0]) || h.subscriptions() != 1 {
		t.Errorf("%d confirmations, and it was reported as %v", h.subscriptions(), errs)
	}
	if err := srv.Client(t).Do(context.Background(), "ACL", "SETUSER", "app", "allchannels").Err(); err != nil {
		t.Fatal(err)
	}
	subscribedTo(t, srv, 20*time.Second, 1, "acl:theirs", "acl:theirs too")
	told(t, other.publishTo("theirs", "allowed", nil))
	h.getsOnce(2*time.Second, []string{inTopic("theirs", "allowed")})
	if errs := h.trouble(); len(errs) != 1 {
		t.Errorf("it was reported as %v", errs)
	}
}

// connections records what redis tells the hub's connections.
type connections struct {
	mu         sync.Mutex
	announced  []string
	announcing int
}

func withConnections(c *connections) option {
	return func(h *hub) {
		h.link.Connections = h.link.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
			c.mu.Lock()
			defer c.mu.Unlock()
			switch m := ctx.Message().(type) {
			case *actors.Announced:
				c.announced = append(c.announced, string(m.Payload))
			case *actors.Announcing:
				c.announcing++
			}
		}))
		h.t.Cleanup(func() { h.link.System.Root.Stop(h.link.Connections) })
	}
}

func (c *connections) have(announcing int, announced ...string) bool {
	return redistest.Until(3*time.Second, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.announcing == announcing && slices.Equal(c.announced, announced)
	})
}

func (c *connections) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("%d times Announcing, %q", c.announcing, c.announced)
}

func (h *hub) announce(payload string) <-chan error {
	reply := make(chan error, 1)
	h.send(&actors.Announce{Payload: []byte(payload), Reply: reply})
	return reply
}

func TestWhatAHubAnnouncesReachesAllAndNoSubscriber(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		var ca, cb connections
		a, b := newHub(t, srv.Client(t), "c", withConnections(&ca)), newHub(t, srv.Client(t), "c", withConnections(&cb))
		told(t, a.announce("nobody hears it"))
		b.enter(actors.UserTopic("ann"))
		a.subscribe()
		b.subscribe()
		if !ca.have(1) || !cb.have(1) {
			t.Fatalf("subscribed: %v; %v", &ca, &cb)
		}
		told(t, a.announce("one"))
		told(t, b.announce("two"))
		told(t, a.publishTo("control", "no announcement", nil))
		told(t, a.publishTo(":control", "nor this", nil))
		if !ca.have(1, "one", "two") || !cb.have(1, "one", "two") {
			t.Errorf("announced: %v; %v", &ca, &cb)
		}
		n := a.subscriptions()
		srv.Kill()
		if err := within(t, 2*time.Second, a.announce("lost"), "an answer"); err == nil {
			t.Error("it was announced to a Redis that is dead")
		}
		srv.Restart()
		a.resubscribed(n, 5*time.Second)
		if !ca.have(2, "one", "two") {
			t.Errorf("subscribed again: %v", &ca)
		}
		told(t, a.announce("three"))
		if !ca.have(2, "one", "two", "three") {
			t.Errorf("announced: %v", &ca)
		}
		a.gets(0)
		b.gets(0)
	})
}

func TestAnAnnouncementIsAnsweredWithinTwoSecondsHoweverSilentRedisIs(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.Proxy(t, srv.Addr())
	h := newHub(t, redistest.Client(t, proxy.Addr()), "silent")
	h.subscribe()
	proxy.Mute(redistest.Everything)
	began := time.Now()
	first, second := h.announce("1"), h.announce("2")
	for _, reply := range []<-chan error{first, second} {
		if err := within(t, 2200*time.Millisecond, reply, "an answer"); err == nil || time.Since(began) > 2100*time.Millisecond {
			t.Errorf("told %v after %v", err, time.Since(began))
		}
	}
	third, done := h.announce("3"), make(chan struct{}, 1)
	h.send(&actors.Drain{Deadline: time.Now().Add(100 * time.Millisecond), Done: done})
	within(t, time.Second, done, "the end of the drain")
	if err := within(t, time.Second, third, "an answer"); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("told %v by a hub that stops", err)
	}
	if err := within(t, time.Second, h.announce("4"), "an answer"); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("told %v by a hub that has stopped", err)
	}
}
