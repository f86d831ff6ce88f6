package contract_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
	"github.com/wskit/wskit/internal/wstest/wire"
)

// end is what OnDisconnectReason is told.
type end struct {
	sub    wskit.Subscriber
	reason wskit.DisconnectReason
	code   int
}

func ends() (chan end, wskit.HubOption) {
	told := make(chan end, 999)
	return told, wskit.WithOnDisconnectReason(func(s wskit.Subscriber, r wskit.DisconnectReason, code int) { told <- end{s, r, code} })
}

// Each end of a WebSocket is told with its reason and the close code that came first, "as the peer sent it or is told it".
func TestEachEndOfAWebSocketHasItsReasonAndCode(t *testing.T) {
	for name, c := range map[string]struct {
		opts   []wskit.HubOption
		client []wskit.ClientOption
		how    wstest.Serving
		end    func(t *testing.T, hub *wstest.Hub, p *wstest.Peer, c *wskit.Client)
		reason wskit.DisconnectReason
		code   int
	}{
		"the peer closes": {reason: wskit.DisconnectPeer, code: 4000, end: func(t *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) {
			p.SendFrames(t, wstest.CloseWith(4000, "bye"))
		}},
		"the peer closes without a code": {reason: wskit.DisconnectPeer, code: 1005, end: func(t *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) {
			p.Send(t, wstest.Close, "")
		}},
		"the peer goes away": {reason: wskit.DisconnectPeer, code: 1006, end: func(_ *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) { _ = p.Close() }},
		"the peer resets":    {reason: wskit.DisconnectPeer, code: 1006, end: func(_ *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) { p.Reset() }},
		"a protocol error": {reason: wskit.DisconnectPeer, code: 1002, end: func(t *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) {
			p.Put(t, wire.Whole(wire.Text, "unmasked").Unmasked())
		}},
		"text that is none": {reason: wskit.DisconnectPeer, code: 1007, end: func(t *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) { p.Say(t, "\xff") }},
		"a message too big": {reason: wskit.DisconnectPeer, code: 1009, client: []wskit.ClientOption{wskit.WithMaxMessageSize(1)},
			end: func(t *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) { p.Say(t, "xx") }},
		"Close":      {reason: wskit.DisconnectClosed, code: 1000, end: func(_ *testing.T, _ *wstest.Hub, _ *wstest.Peer, c *wskit.Client) { c.Close() }},
		"Unregister": {reason: wskit.DisconnectUnregistered, code: 1000, end: func(_ *testing.T, h *wstest.Hub, _ *wstest.Peer, c *wskit.Client) { h.Unregister(c) }},
		"CloseWith": {reason: wskit.DisconnectByProgram, code: 4010, end: func(t *testing.T, _ *wstest.Hub, _ *wstest.Peer, c *wskit.Client) {
			no(t, c.CloseWith(4010, "x"))
		}},
		"the user is disconnected": {reason: wskit.DisconnectByProgram, code: 4011, client: []wskit.ClientOption{wskit.WithUser("ann")},
			end: func(t *testing.T, h *wstest.Hub, _ *wstest.Peer, _ *wskit.Client) {
				_, err := h.User("ann").Disconnect(t.Context(), 4011, "")
				no(t, err)
			}},
		"the hub stops": {reason: wskit.DisconnectShutdown, code: 1001, end: func(_ *testing.T, h *wstest.Hub, _ *wstest.Peer, _ *wskit.Client) { h.Stop() }},
		"a panic": {reason: wskit.DisconnectCrashed, code: 1011, opts: []wskit.HubOption{wskit.WithOnMessage(func(*wskit.Client, []byte) { panic("OnMessage") })},
			end: func(t *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) { p.Say(t, "1") }},
		"the handler's CloseError": {reason: wskit.DisconnectByProgram, code: 4020,
			opts: []wskit.HubOption{wskit.WithHandler(func(context.Context, *wskit.Client, wskit.Message) error { return wskit.CloseError(4020, "x") })},
			end:  func(t *testing.T, _ *wstest.Hub, p *wstest.Peer, _ *wskit.Client) { p.Say(t, "1") }},
		"a slow client": {reason: wskit.DisconnectSlow, code: 1013, client: []wskit.ClientOption{wskit.WithSendBufSize(1), wskit.WithOverflow(wskit.Disconnect)},
			how: wstest.Serving{Pumps: func(*wskit.Client) {}},
			end: func(_ *testing.T, _ *wstest.Hub, _ *wstest.Peer, c *wskit.Client) {
				c.Send([]byte("1"))
				c.Send([]byte("2"))
			}},
		"another takes its place": {reason: wskit.DisconnectReplaced, code: 4002, client: []wskit.ClientOption{wskit.WithUser("ann")},
			opts: []wskit.HubOption{wskit.WithMaxPerUser(1, wskit.CloseOldest)},
			end: func(t *testing.T, h *wstest.Hub, _ *wstest.Peer, _ *wskit.Client) {
				wstest.Serve(t, h.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("ann")}}).Peer(t)
			}},
	} {
		t.Run(name, func(t *testing.T) {
			told, opt := ends()
			hub := wstest.Run(t, append(c.opts, opt)...)
			c.how.Client = c.client
			p, client := wstest.Serve(t, hub.Hub, c.how).Peer(t)
			c.end(t, hub, p, client)
			if got := wstest.Receive(t, "OnDisconnectReason", told); got != (end{client, c.reason, c.code}) {
				t.Errorf("told %v %d of the client: %v", got.reason, got.code, got.sub == client)
			}
		})
	}
}

// A context's end is 1001; a connection that the program brought has its peer's code too; of a stream and a foreign subscriber it is 0.
func TestEveryKindOfSubscriberHasAReason(t *testing.T) {
	told, opt := ends()
	hub := wstest.Run(t, opt)
	expect := func(what string, sub wskit.Subscriber, reason wskit.DisconnectReason, code int) {
		t.Helper()
		if got := wstest.Receive(t, what, told); got.reason != reason || got.code != code || sub != nil && got.sub != sub {
			t.Errorf("%s: %v %d", what, got.reason, got.code)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, c := wstest.Serve(t, hub.Hub, wstest.Serving{Ctx: func(*http.Request) context.Context { return ctx }}).Peer(t)
	cancel()
	expect("a context", c, wskit.DisconnectContext, 1001)

	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.NewClient}).Browser(t)
	no(t, b.Close(websocket.StatusCode(4030), ""))
	expect("NewClient", c, wskit.DisconnectPeer, 4030)

	p := &wstest.Probe{}
	hub.Register(p)
	hub.Unregister(p)
	expect("a foreign one", p, wskit.DisconnectUnregistered, 0)

	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	s := srv.Stream(t)
	hub.Count(t, 1)
	s.End()
	expect("a stream that is left", nil, wskit.DisconnectPeer, 0)
	srv.Stream(t)
	hub.Count(t, 1)
	hub.Stop()
	expect("a stream of a hub that stops", nil, wskit.DisconnectShutdown, 0)
}

// "If there are both it comes second, right after that has returned, whether or not that panicked"; a panic in it costs that call.
func TestOnDisconnectReasonComesRightAfterOnDisconnect(t *testing.T) {
	var j wstest.Journal
	names := map[wskit.Subscriber]string{}
	a, b, c := &wstest.Probe{}, &wstest.Probe{}, &wstest.Probe{}
	names[a], names[b], names[c] = "a", "b", "c"
	busy, errs := make(chan struct{}), &troubles{}
	hub := wstest.Run(t, errs.option(),
		wskit.WithOnConnect(func(s wskit.Subscriber) { j.Note("+%s", names[s]) }),
		wskit.WithOnDisconnect(func(s wskit.Subscriber) {
			<-busy
			j.Note("-%s", names[s])
			if s == a {
				panic("OnDisconnect")
			}
		}),
		wskit.WithOnDisconnectReason(func(s wskit.Subscriber, r wskit.DisconnectReason, _ int) {
			j.Note("-%s %v", names[s], r)
			if s == b {
				panic("OnDisconnectReason")
			}
		}))
	for _, s := range []wskit.Subscriber{a, b, c} {
		hub.Register(s)
	}
	for _, s := range []wskit.Subscriber{a, b, c} {
		hub.Unregister(s)
	}
	hub.Register(a)
	close(busy)
	j.Expect(t, "+a", "+b", "+c", "-a", "-a unregistered", "-b", "-b unregistered", "-c", "-c unregistered", "+a")
	errs.Expect(t, "OnDisconnect", "OnDisconnectReason")
}

// It pairs with OnConnect though many come and go while a callback blocks, and one that blocks delays no message and not the hub's end.
func TestOnDisconnectReasonMayBlock(t *testing.T) {
	release, called := make(chan struct{}), make(chan struct{}, 9)
	defer close(release)
	hub := wstest.Run(t, wskit.WithOnDisconnectReason(func(wskit.Subscriber, wskit.DisconnectReason, int) { called <- struct{}{}; <-release }))
	gone, there := &wstest.Probe{}, &wstest.Probe{}
	hub.Register(gone)
	hub.Register(there)
	hub.Unregister(gone)
	wstest.Receive(t, "OnDisconnectReason", called)
	hub.Broadcast([]byte("1"))
	there.Expect(t, "1")
	wstest.Quickly(t, "Run returns", wstest.Drain+atOnce, func() { hub.Halt(t) })
}

// Whoever is passed over, since callbacks did not keep up, is told of neither by OnConnect nor by this.
func TestWhoIsPassedOverIsNotToldOfByOnDisconnectReason(t *testing.T) {
	release, first := make(chan struct{}), make(chan struct{}, 1)
	connected, disconnected := map[wskit.Subscriber]int{}, map[wskit.Subscriber]int{}
	blocks := true
	hub := wstest.Run(t, wskit.WithChannelTimeout(wstest.Patience),
		wskit.WithOnConnect(func(s wskit.Subscriber) {
			if blocks { // callbacks come one at a time
				blocks = false
				first <- struct{}{}
				<-release
			}
			connected[s]++
		}),
		wskit.WithOnDisconnect(func(s wskit.Subscriber) { disconnected[s]++ }),
		wskit.WithOnDisconnectReason(func(s wskit.Subscriber, _ wskit.DisconnectReason, _ int) { disconnected[s] += 10 }))
	last := &wstest.Probe{}
	hub.Register(&wstest.Probe{})
	wstest.Receive(t, "OnConnect", first)
	end := time.Now().Add(500 * time.Millisecond)
	for n := 0; n < 3000 || time.Now().Before(end); n++ {
		p := &wstest.Probe{}
		hub.Register(p)
		hub.Unregister(p)
	}
	hub.Register(last)
	close(release)
	hub.Halt(t)
	for s, n := range disconnected {
		if connected[s] != 1 || n != 11 {
			t.Fatalf("one was connected %d times and disconnected %d", connected[s], n)
		}
	}
	if len(connected) != len(disconnected) || connected[last] != 1 || len(connected) > 2900 {
		t.Errorf("%d were connected, %d disconnected", len(connected), len(disconnected))
	}
}

// The event of an embedded hub says the same, and its Config has the callback.
func TestTheEventOfADisconnectionHasTheCode(t *testing.T) {
	told := make(chan end, 9)
	hub, events := wstest.Embed(t, hubactor.Config{OnDisconnectReason: func(s actors.Subscriber, r actors.Reason, code int) {
		told <- end{s, r, code}
	}})
	p, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Peer(t)
	p.SendFrames(t, wstest.CloseWith(4040, ""))
	if got := wstest.Receive(t, "OnDisconnectReason", told); got != (end{c, actors.ReasonPeer, 4040}) {
		t.Error(got)
	}
	wstest.Eventually(t, "the event", func() bool {
		for _, e := range events.All() {
			if d, is := e.(*actors.Disconnected); is {
				return d.Subscriber == c && d.Reason == actors.ReasonPeer && d.Code == 4040
			}
		}
		return false
	})
}

// A nil callback is none.
func TestANilOnDisconnectReasonIsNone(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnDisconnectReason(nil), wskit.WithOnRefuse(nil), wskit.WithOnRedis(nil), wskit.WithTracerProvider(nil),
		wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))
	p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{}).Peer(t)
	p.Say(t, "1")
	_ = p.Close()
	hub.Count(t, 0)
	hub.Stop()
	if err := wskit.AcceptSSE(nil, nil, hub.Hub); !errors.Is(err, wskit.ErrInvalidArgument) {
		t.Error(err)
	}
}
