package contract_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// atOnce is how soon something is true that waits for nobody's socket.
const atOnce = time.Second

// A subscriber is a member until its end begins, not until its socket is gone: here the peer answers no close frame, and the
// write wait is a minute.
func TestWhoIsOnTheWayOutIsNoMemberWhateverThePeerDoes(t *testing.T) {
	for name, end := range map[string]func(hub *wstest.Hub, c *wskit.Client, cancel context.CancelFunc){
		"Close":      func(_ *wstest.Hub, c *wskit.Client, _ context.CancelFunc) { c.Close() },
		"Unregister": func(h *wstest.Hub, c *wskit.Client, _ context.CancelFunc) { h.Unregister(c) },
		"its context": func(_ *wstest.Hub, c *wskit.Client, cancel context.CancelFunc) {
			cancel()
			wstest.Poll(atOnce, func() bool { return errors.Is(c.SendErr(nil), wskit.ErrHubStopped) }) // it is told on another goroutine
		},
		"Disconnect": func(h *wstest.Hub, c *wskit.Client, _ context.CancelFunc) {
			big := []byte(strings.Repeat("x", 1<<20))
			wstest.Poll(wstest.Patience, func() bool { return errors.Is(c.SendErr(big), wskit.ErrHubStopped) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan wskit.Subscriber, 1)
			hub := wstest.Run(t, wskit.WithMaxSubscribers(1), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{
				Ctx: func(*http.Request) context.Context { return ctx }, SendBuffer: 4 << 10,
				Client: []wskit.ClientOption{wskit.WithWriteWait(time.Minute), wskit.WithOverflow(wskit.Disconnect), wskit.WithSendBufSize(2)},
			})
			_, c := srv.Peer(t)
			if n := hub.SubscriberCount(); n != 1 {
				t.Fatalf("%d subscribers when Accept has returned", n)
			}
			end(hub, c, cancel)
			if n := hub.SubscriberCount(); n != 0 {
				t.Errorf("%d subscribers right after", n)
			}
			at := time.Now()
			if s := wstest.Receive(t, "OnDisconnect", gone); s != c || time.Since(at) > atOnce {
				t.Errorf("OnDisconnect of %p came after %v", s, time.Since(at))
			}
			if c.Send([]byte("late")) {
				t.Error("what is sent to one that has ended is accepted")
			}
			wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t) // its place is free
		})
	}
}

// A registration counts when the call has returned, and so does an unregistration; a second one changes nothing.
func TestSubscriberCountIsRightWhenTheCallHasReturned(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	want := 0
	check := func(what string) {
		t.Helper()
		if n := hub.SubscriberCount(); n != want {
			t.Fatalf("%s: %d subscribers, want %d", what, n, want)
		}
	}
	for range 200 {
		p, c := &wstest.Probe{}, wskit.NewSSEClient(hub.Hub, 1)
		hub.Register(p)
		hub.Register(p)
		hub.Register(c)
		want += 2
		check("registered")
		hub.Unregister(p)
		hub.Unregister(p)
		want--
		check("unregistered")
		hub.Register(p)
		want++
		check("registered again")
		c.Close()
		c.Close()
		hub.Unregister(c)
		want--
		check("closed")
	}
	for range 20 {
		srv.Browser(t)
		want++
		check("accepted")
	}
}

// Whatever hub a client is in hears of its end at once, and closing it there closes it everywhere.
func TestAClientInSeveralHubsLeavesThemAll(t *testing.T) {
	for name, end := range map[string]func(b *wstest.Browser, c *wskit.Client, lobby, room *wstest.Hub){
		"the peer leaves":          func(b *wstest.Browser, _ *wskit.Client, _, _ *wstest.Hub) { _ = b.CloseNow() },
		"Close":                    func(_ *wstest.Browser, c *wskit.Client, _, _ *wstest.Hub) { c.Close() },
		"Unregister":               func(_ *wstest.Browser, c *wskit.Client, lobby, _ *wstest.Hub) { lobby.Unregister(c) },
		"Unregister from the room": func(_ *wstest.Browser, c *wskit.Client, _, room *wstest.Hub) { room.Unregister(c) },
		"its hub stops":            func(_ *wstest.Browser, _ *wskit.Client, lobby, _ *wstest.Hub) { lobby.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			var left [2]atomic.Int32
			leaves := func(i int) wskit.HubOption {
				return wskit.WithOnDisconnect(func(wskit.Subscriber) { left[i].Add(1) })
			}
			lobby, room := wstest.Run(t, leaves(0)), wstest.Run(t, leaves(1))
			b, c := wstest.Serve(t, lobby.Hub, wstest.Serving{}).Browser(t)
			room.Register(c)
			room.Broadcast([]byte("to the room"))
			b.Expect(t, "to the room")
			lobby.Broadcast([]byte("to the lobby"))
			b.Expect(t, "to the lobby")
			b.Listen(t)
			end(b, c, lobby, room)
			lobby.Count(t, 0)
			room.Count(t, 0)
			wstest.Eventually(t, "both are told", func() bool { return left[0].Load() == 1 && left[1].Load() == 1 })
		})
	}
}

// A visit leaves nothing behind in the hub that was visited.
func TestVisitsOfClientsOfAnotherHubAreForgotten(t *testing.T) {
	home, other := wstest.Run(t), wstest.Run(t)
	for range 1000 {
		c := wskit.NewSSEClient(home.Hub, 1)
		home.Register(c)
		other.Register(c)
		c.Close()
	}
	if n := other.SubscriberCount(); n != 0 {
		t.Errorf("%d subscribers", n)
	}
	wstest.Eventually(t, "their actors are gone", func() bool { return len(wstest.Children(t, other.Hub, "sub-")) == 0 })
}

// A second hub that a client is registered with when it has ended already forgets it too.
func TestAClientThatHasEndedLeavesNothingInAnotherHub(t *testing.T) {
	var pairs atomic.Int32
	home := wstest.Run(t)
	other := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { pairs.Add(1) }), wskit.WithOnDisconnect(func(wskit.Subscriber) { pairs.Add(-1) }))
	for range 200 {
		c := wskit.NewSSEClient(home.Hub, 1)
		go c.Close()
		other.Register(c)
		other.Unregister(c)
	}
	other.Settled(t)
	if n := other.SubscriberCount(); n != 0 {
		t.Errorf("%d subscribers", n)
	}
	wstest.Eventually(t, "OnConnect and OnDisconnect come in pairs", func() bool { return pairs.Load() == 0 })
}
