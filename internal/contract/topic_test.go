package contract_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// probes registers n foreign subscribers.
func probes(hub *wstest.Hub, n int) (all []*wstest.Probe) {
	for range n {
		p := &wstest.Probe{}
		hub.Register(p)
		all = append(all, p)
	}
	return all
}

func no(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err error, want ...error) {
	t.Helper()
	for _, w := range want {
		if !errors.Is(err, w) {
			t.Errorf("error %v, want one that wraps %v", err, w)
		}
	}
}

// "it gets every broadcast to the topic that is made after Join returned", "nothing that is broadcast to the topic after Leave returned".
func TestATopicReachesThoseWhoAreInItFromTheJoinToTheLeave(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t)
		b, c := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind}).Browser(t)
		p := probes(hub, 1)[0]
		room := hub.Topic("room:42")
		room.Broadcast([]byte("early"))
		no(t, room.Join(c))
		no(t, room.Join(c))
		no(t, room.JoinContext(t.Context(), p))
		room.Broadcast([]byte("1"))
		no(t, room.BroadcastContext(t.Context(), []byte("2")))
		no(t, room.BroadcastEvent(t.Context(), 3))
		no(t, room.BroadcastEventContext(t.Context(), 4))
		hub.Broadcast([]byte("all"))
		no(t, room.Leave(c))
		no(t, room.LeaveContext(t.Context(), p))
		no(t, room.Leave(p))
		room.Broadcast([]byte("late"))
		hub.Broadcast([]byte("end"))
		b.Expect(t, "1", "2", "3", "4", "all", "end")
		p.Expect(t, "1", "2", "3", "4", "all", "end")
	})
}

func TestATopicsJSONIsAnEvent(t *testing.T) {
	hub := wstest.Run(t)
	p := probes(hub, 2)
	no(t, hub.Topic("a").Join(p[0]))
	no(t, hub.Topic("a").BroadcastJSON(t.Context(), "greeting", "hello"))
	no(t, hub.Topic("a").BroadcastJSONContext(t.Context(), "greeting", "again"))
	no(t, hub.BroadcastJSONContext(t.Context(), "greeting", "all"))
	wstest.Eventually(t, "all", func() bool { return p[0].Len() == 3 && p[1].Len() == 1 })
	for i, want := range []string{"hello", "again", "all"} {
		if got := p[0].All()[i]; !strings.HasPrefix(got, `{"type":"greeting","payload":"`+want+`"`) {
			t.Error(got)
		}
	}
}

// "Binary" goes out as a binary message.
func TestABinaryBroadcastGoesOutAsABinaryMessage(t *testing.T) {
	hub := wstest.Run(t)
	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	no(t, hub.Topic("a").Join(c))
	for i, send := range []func(data []byte){
		hub.BroadcastBinary,
		func(data []byte) { no(t, hub.BroadcastBinaryContext(t.Context(), data)) },
		func(data []byte) { hub.Topic("a").BroadcastBinary(data) },
		func(data []byte) { no(t, hub.Topic("a").BroadcastBinaryContext(t.Context(), data)) },
		func(data []byte) { c.SendBinary(data) },
		func(data []byte) { no(t, c.SendBinaryErr(data)) },
	} {
		send(fmt.Append(nil, i))
		b.ExpectBinary(t, fmt.Sprint(i))
	}
}

// "Except leaves sub out": of the hub, a topic, and for what is no subscriber nobody.
func TestExceptLeavesOneSubscriberOut(t *testing.T) {
	hub := wstest.Run(t)
	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	p := probes(hub, 2)
	room := hub.Topic("room")
	for _, sub := range []wskit.Subscriber{c, p[0], p[1]} {
		no(t, room.Join(sub))
	}
	stranger := &wstest.Probe{}
	room.Broadcast([]byte("1"), wskit.Except(c))
	no(t, room.BroadcastContext(t.Context(), []byte("2"), nil, wskit.Except(p[0])))
	no(t, room.BroadcastEvent(t.Context(), 3, wskit.Except(p[0]), wskit.Except(p[1]))) // the last counts
	no(t, room.BroadcastEventContext(t.Context(), 4, wskit.Except(stranger)))
	hub.Everyone().Broadcast([]byte("5"), wskit.Except(c))
	for _, nobody := range []wskit.Subscriber{nil, (*wskit.Client)(nil), (*wstest.Probe)(nil), incomparable{}, holder{[]int{1}}, &wskit.Client{}} {
		room.Broadcast([]byte("n"), wskit.Except(nobody))
		no(t, hub.Everyone().BroadcastContext(t.Context(), []byte("n"), wskit.Except(nobody)))
	}
	n := slices.Repeat([]string{"n"}, 12)
	b.Expect(t, append([]string{"2", "3", "4"}, n...)...)
	p[0].Expect(t, append([]string{"1", "3", "4", "5"}, n...)...)
	p[1].Expect(t, append([]string{"1", "2", "4", "5"}, n...)...)
}

// "two of the same are equal", "Name is the topic's name".
func TestHandlesAreValues(t *testing.T) {
	hub, other := wstest.Idle(t), wstest.Idle(t)
	topic, user, all := hub.Topic("a"), hub.User("a"), hub.Everyone()
	if topic != hub.Topic("a") || topic == hub.Topic("b") || topic == other.Topic("a") || user != hub.User("a") || all != hub.Everyone() || topic.Audience == user.Audience {
		t.Error("they are not told apart by ==")
	}
	for _, name := range []string{"a", "", "\n", "käse"} {
		if hub.Topic(name).Name() != name || hub.User(name).ID() != name {
			t.Errorf("%q", name)
		}
	}
	if n := len(hub.Topics()) + hub.Topic("a").SubscriberCount() + hub.User("a").SubscriberCount(); n != 0 {
		t.Error(n)
	}
}

// "Topics are the names", "SubscriberCount", "It exists while somebody is in it".
func TestATopicExistsWhileSomebodyIsInIt(t *testing.T) {
	hub := wstest.Run(t)
	p := probes(hub, 3)
	count := func(name string, want int) {
		t.Helper()
		if n := hub.Topic(name).SubscriberCount(); n != want {
			t.Errorf("%d in %q, want %d", n, name, want)
		}
	}
	names := func(want ...string) {
		t.Helper()
		if got := hub.Topics(); !slices.Equal(got, want) {
			t.Errorf("topics %q, want %q", got, want)
		}
	}
	names()
	for i, name := range []string{"c", "a", "b"} {
		for _, sub := range p[:i+1] {
			no(t, hub.Topic(name).Join(sub))
		}
	}
	names("a", "b", "c")
	count("c", 1)
	count("a", 2)
	count("b", 3)
	no(t, hub.Topic("c").Leave(p[0]))
	names("a", "b")
	hub.Unregister(p[1])
	count("a", 1)
	hub.Unregister(p[0])
	names("b")
	count("a", 0)
	hub.Halt(t)
	count("b", 0)
}

// A name is "1 to 255 bytes of UTF-8 without control characters".
func TestNamesOfTopicsAndUsers(t *testing.T) {
	hub := wstest.Run(t)
	p := probes(hub, 1)[0]
	for name, good := range map[string]bool{
		"a": true, "room:42": true, ":": true, " ": true, "käse/日本": true, strings.Repeat("x", 255): true,
		"": false, strings.Repeat("x", 256): false, "a\x00": false, "\n": false, "\x7f": false, "\u0085": false, "\xff": false,
	} {
		var want error
		if !good {
			want = wskit.ErrInvalidTopic
		}
		topic, user, ctx := hub.Topic(name), hub.User(name), t.Context()
		for i, err := range []error{
			topic.Join(p), topic.JoinContext(ctx, p), topic.BroadcastContext(ctx, nil), topic.BroadcastEvent(ctx, 1), topic.BroadcastEventContext(ctx, 1),
			topic.BroadcastJSON(ctx, "", 1), topic.BroadcastJSONContext(ctx, "", 1), topic.BroadcastBinaryContext(ctx, nil),
			topic.Leave(p), topic.LeaveContext(ctx, p), user.BroadcastContext(ctx, nil), user.BroadcastEvent(ctx, 1), func() error { _, err := user.Disconnect(ctx, 1000, ""); return err }(),
		} {
			if !errors.Is(err, want) {
				t.Errorf("%.20q: call %d: %v, want %v", name, i, err, want)
			}
		}
		topic.Broadcast(nil)
		topic.BroadcastBinary(nil)
		if n := topic.SubscriberCount() + user.SubscriberCount(); n != 0 {
			t.Errorf("%.20q: %d in it", name, n)
		}
	}
}

// "ErrInvalidArgument: no hub, or a subscriber that is nil or not comparable"; "ErrNotRegistered".
func TestWhoCannotJoin(t *testing.T) {
	hub, other := wstest.Run(t), wstest.Run(t)
	room, ctx := hub.Topic("room"), t.Context()
	gone := &wstest.Probe{}
	hub.Register(gone)
	hub.Unregister(gone)
	elsewhere := &wstest.Probe{}
	other.Register(elsewhere)
	_, left := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	left.Close()
	for name, c := range map[string]struct {
		sub  wskit.Subscriber
		want error
	}{
		"nil": {nil, wskit.ErrInvalidArgument}, "nil pointer": {(*wstest.Probe)(nil), wskit.ErrInvalidArgument}, "nil client": {(*wskit.Client)(nil), wskit.ErrInvalidArgument},
		"zero client": {&wskit.Client{}, wskit.ErrInvalidArgument}, "incomparable": {incomparable{}, wskit.ErrInvalidArgument}, "incomparable inside": {holder{[]int{1}}, wskit.ErrInvalidArgument},
		"stranger": {&wstest.Probe{}, wskit.ErrNotRegistered}, "unregistered": {gone, wskit.ErrNotRegistered}, "another hub's": {elsewhere, wskit.ErrNotRegistered},
		"closed": {left, wskit.ErrNotRegistered}, "never registered": {wskit.NewSSEClient(hub.Hub, 1), wskit.ErrNotRegistered},
	} {
		for i, err := range []error{room.Join(c.sub), room.Leave(c.sub), room.JoinContext(ctx, c.sub), room.LeaveContext(ctx, c.sub)} {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: call %d: %v, want %v", name, i, err, c.want)
			}
		}
	}
	if n := room.SubscriberCount(); n != 0 {
		t.Error(n, "in it")
	}
	var none *wskit.Hub
	p := &wstest.Probe{}
	for i, err := range []error{
		none.Topic("a").Join(p), none.Topic("a").Leave(p), none.Topic("a").BroadcastContext(ctx, nil), none.User("a").BroadcastEvent(ctx, 1), none.Everyone().BroadcastEvent(ctx, 1),
		wskit.Topic{}.Join(p), wskit.Audience{}.BroadcastContext(ctx, nil), wskit.User{}.BroadcastJSON(ctx, "", 1), none.BroadcastBinaryContext(ctx, nil), none.BroadcastJSONContext(ctx, "", 1),
		room.JoinContext(noContext, p), room.LeaveContext(noContext, p), room.BroadcastContext(noContext, nil), room.BroadcastBinaryContext(noContext, nil), room.BroadcastEvent(noContext, 1),
		room.BroadcastEventContext(noContext, 1), room.BroadcastJSON(noContext, "", 1), room.BroadcastJSONContext(noContext, "", 1),
		func() error { _, err := none.User("a").Disconnect(ctx, 1000, ""); return err }(), func() error { _, err := hub.User("a").Disconnect(noContext, 1000, ""); return err }(),
	} {
		if !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	none.Topic("a").Broadcast(nil)
	none.BroadcastBinary(nil)
	wskit.Audience{}.Broadcast(nil)
	if n := none.Topic("a").SubscriberCount() + (wskit.Audience{}).SubscriberCount() + len(none.Topics()); n != 0 {
		t.Error(n)
	}
}

// WithMaxTopics: "The next Join returns ErrTooManyTopics."
func TestTheLimitOfTopicsHoldsAtNAndNPlusOne(t *testing.T) {
	for limit, opts := range map[int][]wskit.HubOption{
		3: {wskit.WithMaxTopics(3)}, 128: nil, 129: {wskit.WithMaxTopics(129)},
	} {
		hub := wstest.Run(t, opts...)
		p := probes(hub, 1)[0]
		for i := range limit {
			no(t, hub.Topic(fmt.Sprint(i)).Join(p))
		}
		is(t, hub.Topic("more").Join(p), wskit.ErrTooManyTopics)
		no(t, hub.Topic("0").Join(p)) // it is in it
		no(t, hub.Topic("0").Leave(p))
		no(t, hub.Topic("more").Join(p))
	}
	hub := wstest.Run(t, wskit.WithMaxTopics(-1)) // the default
	no(t, hub.Topic("a").Join(probes(hub, 1)[0]))
}

// "a topic that is joined before Run counts at once", and gets what is broadcast then.
func TestATopicCanBeJoinedBeforeRun(t *testing.T) {
	hub := wstest.Idle(t)
	p := &wstest.Probe{}
	hub.Register(p)
	no(t, hub.Topic("a").Join(p))
	hub.Topic("a").Broadcast([]byte("1"))
	hub.Topic("b").Broadcast([]byte("2"))
	if n := hub.Topic("a").SubscriberCount(); n != 1 || !slices.Equal(hub.Topics(), []string{"a"}) {
		t.Error(n, hub.Topics())
	}
	hub.Start(t)
	p.Expect(t, "1")
}

// Without places, and before Run, a Join gives up like a Register: OnTimeout is told, and it never happens.
func TestAJoinThatTimedOutNeverHappens(t *testing.T) {
	ops := make(chan string, 9)
	hub := wstest.Idle(t, wskit.WithRegisterBuf(1), wskit.WithChannelTimeout(20*time.Millisecond), wskit.WithOnTimeout(func(op string) { ops <- op }))
	p := &wstest.Probe{}
	hub.Register(p)
	no(t, hub.Topic("a").Join(p))
	is(t, hub.Topic("b").Join(p), wskit.ErrTimeout)
	no(t, hub.Topic("a").Leave(p))
	is(t, hub.Topic("c").Leave(p), wskit.ErrTimeout)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	is(t, hub.Topic("d").JoinContext(ctx, p), wskit.ErrTimeout, context.DeadlineExceeded)
	if a, b := wstest.Receive(t, "OnTimeout", ops), wstest.Receive(t, "OnTimeout", ops); a != "join" || b != "leave" {
		t.Error(a, b)
	}
	hub.Start(t)
	hub.Settled(t)
	if got := hub.Topics(); len(got) != 0 {
		t.Error(got)
	}
}

func TestATopicOfAStoppedHubSaysSo(t *testing.T) {
	hub := wstest.Run(t)
	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	room, p := hub.Topic("room"), probes(hub, 1)[0]
	no(t, room.Join(p))
	hub.Halt(t)
	b.Ends(t, websocket.StatusGoingAway)
	ctx := t.Context()
	_, err := hub.User("u").Disconnect(ctx, 1000, "")
	for i, err := range []error{room.Join(p), room.Join(c), room.Leave(p), room.JoinContext(ctx, &wstest.Probe{}), room.BroadcastContext(ctx, nil), room.BroadcastEventContext(ctx, 1), err} {
		if !errors.Is(err, wskit.ErrHubStopped) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	room.Broadcast(nil)
	no(t, room.BroadcastEvent(ctx, 1))
	if n := room.SubscriberCount() + len(hub.Topics()); n != 0 {
		t.Error(n)
	}
}

// Membership "survives a crash of the registry".
func TestMembershipSurvivesACrashOfTheRegistry(t *testing.T) {
	hub := wstest.Run(t)
	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithTopics("given"), wskit.WithUser("ann")}}).Browser(t)
	no(t, hub.Topic("joined").Join(c))
	hub.Settled(t)
	wstest.Crash(wstest.One(t, hub.Hub, "registry"), "test")
	hub.Topic("given").Broadcast([]byte("1"))
	hub.Topic("joined").Broadcast([]byte("2"))
	hub.User("ann").Broadcast([]byte("3"))
	hub.Topic("other").Broadcast([]byte("4"))
	hub.Broadcast([]byte("5"))
	b.Expect(t, "1", "2", "3", "5")
}
