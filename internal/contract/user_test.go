package contract_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// byQuery is a hook that believes ?user=.
func byQuery(r *http.Request) (wskit.Identity, error) {
	return wskit.Identity{User: r.URL.Query().Get("user")}, nil
}

func as(t *testing.T, srv *wstest.Server, user string) *wstest.Peer {
	t.Helper()
	p := srv.Handshake(t, wstest.Handshake{Path: "/ws?user=" + user})
	p.Upgraded(t)
	_ = wstest.Receive(t, "Accept returns", srv.Accepted)
	return p
}

// A user is all tabs over both transports; the topic is "not counted against its limit, not listed".
func TestAUserIsAllItsConnectionsOverBothTransports(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithMaxTopics(1))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p, other, nobody, es := as(t, srv, "ann"), as(t, srv, "bob"), as(t, srv, ""), srv.StreamAt(t, "/sse?user=ann")
	hub.Count(t, 4)
	user := hub.User("ann")
	if n := user.SubscriberCount(); n != 2 {
		t.Error(n, "connections")
	}
	if got := hub.Topics(); len(got) != 0 {
		t.Errorf("%q", got)
	}
	user.Broadcast([]byte("1"))
	no(t, user.BroadcastEvent(t.Context(), 2))
	hub.Topic("ann").Broadcast([]byte("not this"))
	hub.Broadcast([]byte("end"))
	p.Expect(t, "1", "2", "end")
	es.Expect(t, "1", "2", "end")
	other.Expect(t, "end")
	nobody.Expect(t, "end")
}

// "Disconnect ends all connections of the user, and keeps the user out for a while. It returns how many it ended on this instance."
func TestDisconnectEndsAllOfAUserAndKeepsThemOut(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p, p2, es, other := as(t, srv, "ann"), as(t, srv, "ann"), srv.StreamAt(t, "/sse?user=ann"), as(t, srv, "bob")
	hub.Count(t, 4)
	n, err := hub.User("ann").Disconnect(t.Context(), 4000, "bye")
	if n != 3 || err != nil {
		t.Error(n, err)
	}
	if n := hub.SubscriberCount(); n != 1 {
		t.Error(n, "left")
	}
	p.Ends(t, 4000, "bye")
	p2.Ends(t, 4000, "bye")
	es.Ends(t)
	ws, sse, wsErr, sseErr := ask(t, hub.Hub, "?user=ann")
	if ws != 403 || sse != 403 {
		t.Error("answered", ws, sse)
	}
	is(t, wsErr, wskit.ErrLockedOut)
	is(t, sseErr, wskit.ErrLockedOut)
	lent := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.NewClient, Client: []wskit.ClientOption{wskit.WithUser("ann")}})
	_, c := lent.Browser(t)
	if c.Send(nil) {
		t.Error("a client that is registered otherwise is not closed")
	}
	if n, err := hub.User("nobody").Disconnect(t.Context(), 1000, ""); n != 0 || err != nil {
		t.Error(n, err)
	}
	hub.Broadcast([]byte("1"))
	other.Expect(t, "1")
}

// "WebSockets are told code and reason, after what was queued for them": what the same caller has broadcast before among it.
func TestWhatWasBroadcastBeforeADisconnectReachesTheUser(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithUserLockout(-1))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	for range 20 {
		p := as(t, srv, "ann")
		hub.Count(t, 1)
		want := make([]string, 20)
		for i := range want {
			want[i] = fmt.Sprint(i)
			hub.Broadcast([]byte(want[i]))
		}
		if n, err := hub.User("ann").Disconnect(t.Context(), 4000, "bye"); n != 1 || err != nil {
			t.Error(n, err)
		}
		p.Expect(t, want...)
		p.Ends(t, 4000, "bye")
	}
}

// WithUserLockout: "negative: not at all", and a time of its own.
func TestTheLockoutHasItsTime(t *testing.T) {
	for d, out := range map[time.Duration]bool{-1: false, 0: true, time.Hour: true, time.Nanosecond: false} {
		hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithUserLockout(d))
		_, err := hub.User("ann").Disconnect(t.Context(), 1000, "")
		no(t, err)
		if ws, _, _, _ := ask(t, hub.Hub, "?user=ann"); (ws == 403) != out {
			t.Error(d, ws)
		}
	}
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithUserLockout(200*time.Millisecond))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	_, _ = hub.User("ann").Disconnect(t.Context(), 1000, "")
	if _, err := srv.TryOpen("/ws?user=ann"); err == nil {
		t.Error("it is in again")
	}
	wstest.Eventually(t, "it may come in again", func() bool { _, err := srv.TryOpen("/ws?user=ann"); return err == nil })
}

func TestDisconnectChecksCodeAndReason(t *testing.T) {
	hub := wstest.Run(t)
	u := hub.User("ann")
	for _, code := range []int{0, 999, 1001, 2999, 5000, -4000, 1<<16 + 4000} {
		_, err := u.Disconnect(t.Context(), code, "")
		is(t, err, wskit.ErrInvalidArgument)
	}
	_, err := u.Disconnect(t.Context(), 1000, "\xff")
	is(t, err, wskit.ErrInvalidArgument)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = u.Disconnect(ctx, 1000, "")
	is(t, err, context.Canceled)
	if _, c := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("ann")}}).Browser(t); c.User() != "ann" {
		t.Error("it is locked out all the same")
	}
	idle := wstest.Idle(t)
	if n, err := idle.User("ann").Disconnect(t.Context(), 1000, ""); n != 0 || err != nil {
		t.Error("before Run:", n, err)
	}
	idle.Start(t)
}

// "Accept answers 429 with Retry-After before the upgrade, AcceptSSE as when the hub is full".
func TestAUserMayHaveSoManyConnections(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithMaxPerUser(2, wskit.RefuseNewest))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p, es := as(t, srv, "ann"), srv.StreamAt(t, "/sse?user=ann")
	hub.Count(t, 2)
	third := srv.Handshake(t, wstest.Handshake{Path: "/ws?user=ann"})
	if third.Answer.StatusCode != 429 || third.Answer.Header.Get("Retry-After") == "" {
		t.Error(third.Answer.Status)
	}
	is(t, wstest.Receive(t, "Accept returns", srv.Refused), wskit.ErrTooManyConnections)
	off := srv.StreamAt(t, "/sse?user=ann")
	if e := wstest.Receive(t, "when to come back", off.Events); !strings.HasPrefix(e, "[retry:") {
		t.Error(e)
	}
	off.Ends(t)
	if off.StatusCode != 200 {
		t.Error(off.Status)
	}
	is(t, wstest.Receive(t, "AcceptSSE returns", srv.Streamed), wskit.ErrTooManyConnections)
	_, _, _ = as(t, srv, "bob"), as(t, srv, ""), as(t, srv, "")
	hub.User("ann").Broadcast([]byte("1"))
	p.Expect(t, "1")
	es.Expect(t, "1")
	_ = p.Close()
	hub.Count(t, 4)
	_ = as(t, srv, "ann")

	status := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithMaxPerUser(1, wskit.RefuseNewest), wskit.WithSSERefusalStatus())
	srv = wstest.Serve(t, status.Hub, wstest.Serving{})
	_ = as(t, srv, "ann")
	if es := srv.StreamAt(t, "/sse?user=ann"); es.StatusCode != 429 {
		t.Error(es.Status)
	}
}

// A place that was kept for a user is free again when the upgrade fails.
func TestAFailedUpgradeGivesTheUsersPlaceBack(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithMaxPerUser(1, wskit.RefuseNewest))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	for range 3 {
		if p := srv.Ask(t, "GET", "/ws?user=ann"); p.Answer.StatusCode != 426 {
			t.Error(p.Answer.Status)
		}
	}
	_ = as(t, srv, "ann")
}

// CloseOldest: "it is let in, and the user's oldest is closed with 4002".
func TestTheUsersOldestConnectionIsReplaced(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithMaxPerUser(2, wskit.CloseOldest))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	first, second, third := as(t, srv, "ann"), as(t, srv, "ann"), as(t, srv, "ann")
	first.Ends(t, 4002, "replaced")
	es := srv.StreamAt(t, "/sse?user=ann")
	second.Ends(t, 4002, "replaced")
	if n := hub.User("ann").SubscriberCount(); n != 2 {
		t.Error(n)
	}
	hub.User("ann").Broadcast([]byte("1"))
	third.Expect(t, "1")
	es.Expect(t, "1")
}

// Messages do what calls do: an actor that embeds the hub joins, leaves, lists and disconnects.
func TestTopicsAndUsersByMessages(t *testing.T) {
	hub, _ := wstest.Embed(t, actorConfig)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("ann")}})
	p, c := srv.Peer(t)
	root := actors.System().Root
	send := func(m any) { root.Send(hub.PID(), m) }
	errs := make(chan error, 1)
	send(&actors.Join{Subscriber: c, Topic: "a", Reply: errs})
	no(t, wstest.Receive(t, "the answer", errs))
	for _, m := range []any{&actors.Join{Subscriber: c, Topic: "\x00bob", Reply: errs}, &actors.Join{Subscriber: nil, Topic: "a", Reply: errs}, &actors.Leave{Subscriber: &wstest.Probe{}, Topic: "a", Reply: errs}} {
		send(m)
		if wstest.Receive(t, "the answer", errs) == nil {
			t.Errorf("%+v: no error", m)
		}
	}
	stranger := &wstest.Probe{}
	send(&actors.Register{Subscriber: stranger, Topics: []string{actors.UserTopic("ann")}}) // ignored
	names := make(chan []string, 1)
	send(&actors.Topics{Reply: names})
	if got := wstest.Receive(t, "the topics", names); !slices.Equal(got, []string{"a"}) {
		t.Error(got)
	}
	send(&actors.Broadcast{Frame: actors.NewFrame([]byte("1")), Topic: "a"})
	send(&actors.Publish{Frame: actors.NewFrame([]byte("2")), Topic: actors.UserTopic("ann"), Except: incomparable{}})
	send(&actors.Broadcast{Frame: actors.NewFrame([]byte("no")), Topic: "a", Except: c})
	send(&actors.Broadcast{Frame: actors.NewFrame([]byte("3")), Except: incomparable{}})
	p.Expect(t, "1", "2", "3")
	ended := make(chan actors.UserDisconnected, 1)
	for _, m := range []*actors.DisconnectUser{{User: "", Reply: ended}, {User: "ann", Code: 1001, Reply: ended}, {User: "ann", Text: "\xff", Reply: ended}} {
		send(m)
		if got := wstest.Receive(t, "the answer", ended); got.Err == nil || got.Count != 0 {
			t.Errorf("%+v: %+v", m, got)
		}
	}
	send(&actors.DisconnectUser{User: "ann", Text: strings.Repeat("x", 200), Reply: ended})
	if got := wstest.Receive(t, "the answer", ended); got.Err != nil || got.Count != 1 {
		t.Error(got)
	}
	p.Ends(t, 1000, strings.Repeat("x", 123))
	stranger.Expect(t)
}
