package contract_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

func silentLogger(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

func nonsense() []any {
	return []any{
		"text", 7, struct{}{}, actors.Register{}, actors.Broadcast{}, actors.Shutdown{}, &actors.Register{}, &actors.Unregister{},
		&actors.Broadcast{}, &actors.Publish{}, &actors.Subscribe{}, &actors.Unsubscribe{}, &actors.Unsubscribe{},
		&actors.Register{Subscriber: (*wstest.Probe)(nil)}, &actors.Register{Subscriber: incomparable{}}, &actors.Unregister{Subscriber: incomparable{}},
		&actors.Unregister{Subscriber: (*wskit.Client)(nil)}, &actors.Open{}, &actors.Open{},
	}
}

// parent is somebody else's actor that owns a hub.
type parent struct {
	cfg hubactor.Config
	hub chan *actor.PID
}

func (p *parent) Receive(ctx actor.Context) {
	if _, ok := ctx.Message().(*actor.Started); ok {
		p.hub <- ctx.Spawn(hubactor.Props(p.cfg))
	}
}

// adopt spawns a hub as the child of another actor and attaches to it.
func adopt(t *testing.T, cfg hubactor.Config) (hub *wskit.Hub, stop func()) {
	t.Helper()
	wstest.Clean(t)
	cfg.DrainTimeout = 2 * time.Second
	p := &parent{cfg, make(chan *actor.PID, 1)}
	pid := actors.System().Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }))
	child := wstest.Receive(t, "the hub is spawned", p.hub)
	stop = func() {
		actors.System().Root.Stop(pid)
		wstest.Eventually(t, "the parent is gone", func() bool { _, alive := actors.System().ProcessRegistry.Get(pid); return !alive })
	}
	t.Cleanup(stop)
	return wskit.Attach(nil, child), stop
}

// Attach to a hub that another actor owns: everything works as on a hub of one's own.
func TestAttachToAHubThatAnotherActorSpawned(t *testing.T) {
	events := make(chan string, 99)
	hub, stop := adopt(t, hubactor.Config{
		OnConnect:    func(s actors.Subscriber) { events <- fmt.Sprintf("+%T", s) },
		OnDisconnect: func(s actors.Subscriber) { events <- fmt.Sprintf("-%T", s) },
	})
	srv := wstest.Serve(t, hub, wstest.Serving{})
	p, c := srv.Browser(t)
	if e := wstest.Receive(t, "OnConnect", events); e != "+*wskit.Client" {
		t.Error(e)
	}
	es, own := srv.Stream(t), &wstest.Probe{}
	hub.Register(own)
	wstest.Eventually(t, "3 subscribers", func() bool { return hub.SubscriberCount() == 3 })
	hub.Broadcast([]byte("1"))
	_ = hub.BroadcastEvent(t.Context(), 2)
	c.Send([]byte("3"))
	es.Expect(t, "1", "2")
	own.Expect(t, "1", "2")
	for range 3 {
		if _, err := p.Next(); err != nil {
			t.Error(err)
		}
	}
	hub.SubscribeToRedis(t.Context()) // there is none: it returns
	// Run waits and does not own the hub.
	ctx, cancel := context.WithCancel(context.Background())
	first, second := wstest.Begin(func() { hub.Run(ctx) }), wstest.Begin(func() { hub.Run(context.Background()) })
	wstest.Silent(t, "Run returned", first)
	cancel()
	wstest.Receive(t, "Run returns with its context", first)
	hub.Broadcast([]byte("alive"))
	p.Expect(t, "alive")
	stopping := wstest.Begin(stop)
	p.Ends(t, websocket.StatusGoingAway)
	wstest.Receive(t, "the parent ends", stopping)
	wstest.Receive(t, "Run returns with the hub", second)
	if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	stoppedHub(t, hub)
}

// Attach to nothing, or to what is gone, or to what is no hub, behaves like a hub that has stopped.
func TestAttachToNoHubBehavesLikeAStoppedHub(t *testing.T) {
	hub := wstest.Run(t)
	pid := hub.PID()
	hub.Halt(t)
	for name, h := range map[string]*wskit.Hub{
		"nil, nil": wskit.Attach(nil, nil), "dead": wskit.Attach(actors.System(), pid), "empty": wskit.Attach(nil, &actor.PID{}),
		"elsewhere": wskit.Attach(nil, actor.NewPID("other:1", "x")),
	} {
		wstest.Quickly(t, name, time.Second, func() { stoppedHub(t, h) })
	}
}

func stoppedHub(t *testing.T, h *wskit.Hub) {
	t.Helper()
	p := &wstest.Probe{}
	h.Register(p)
	p.Expect(t, wstest.Closed)
	h.Unregister(p)
	h.Broadcast([]byte("x"))
	if err := h.BroadcastEvent(context.Background(), 1); err != nil {
		t.Error(err)
	}
	h.SubscribeToRedis(context.Background())
	h.Run(context.Background())
	if h.SubscriberCount() != 0 || wskit.NewSSEClient(h, 1).Send(nil) {
		t.Error("it lives")
	}
}

// Driving a hub by messages equals the facade.
func TestDrivingTheHubByMessagesEqualsTheFacade(t *testing.T) {
	var events wstest.Journal
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { events.Note("+") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { events.Note("-") }))
	pid := hub.PID()
	tell := func(m any) { actors.System().Root.Send(pid, m) }
	a, b := &wstest.Probe{}, &wstest.Probe{}
	tell(&actors.Register{Subscriber: a})
	tell(&actors.Register{Subscriber: a})
	tell(&actors.Register{Subscriber: b})
	tell(&actors.Broadcast{Frame: actors.NewFrame([]byte("1"))})
	tell(&actors.Unregister{Subscriber: b})
	reply := make(chan error, 1)
	tell(&actors.Publish{Frame: actors.NewFrame([]byte("2")), Reply: reply})
	a.Expect(t, "1", "2")
	b.Expect(t, "1", wstest.Closed)
	if err := wstest.Receive(t, "Publish is answered", reply); err != nil {
		t.Error(err)
	}
	count := make(chan int, 1)
	wstest.Eventually(t, "one subscriber", func() bool { tell(&actors.Count{Reply: count}); return wstest.Receive(t, "the count", count) == 1 })
	if n := hub.SubscriberCount(); n != 1 {
		t.Error(n)
	}
	hub.Broadcast([]byte("3"))
	a.Expect(t, "1", "2", "3")
	tell(&actors.Broadcast{Frame: actors.NewFrame([]byte("4"))})
	tell(&actors.Shutdown{Timeout: time.Second})
	wstest.Receive(t, "Run returns", hub.Done)
	a.Expect(t, "1", "2", "3", "4", wstest.Closed)
	events.Expect(t, "+", "+", "-", "-")
}

// A *Client or *SSEClient that is registered by message is the same member as one that the facade registers: when it ends it is
// unregistered, and OnDisconnect is called.
func TestAClientRegisteredByMessageIsUnregisteredWhenItEnds(t *testing.T) {
	register := func(h *wskit.Hub, s wskit.Subscriber) {
		actors.System().Root.Send(h.PID(), &actors.Register{Subscriber: s})
	}
	for name, build := range map[string]func(*testing.T, *wskit.Hub) (s wskit.Subscriber, leave func()){
		"SSEClient": func(t *testing.T, h *wskit.Hub) (wskit.Subscriber, func()) {
			s := wskit.NewSSEClient(h, 1)
			return s, s.Close
		},
		"Client": func(t *testing.T, h *wskit.Hub) (wskit.Subscriber, func()) {
			clients := make(chan *wskit.Client, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, err := websocket.Accept(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				c := wskit.NewClient(h, conn, context.Background())
				go c.ReadPump()
				go c.WritePump()
				clients <- c
			}))
			t.Cleanup(srv.Close)
			conn, _, err := websocket.Dial(context.Background(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
			if err != nil {
				t.Fatal(err)
			}
			return wstest.Receive(t, "the client", clients), func() { _ = conn.CloseNow() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan wskit.Subscriber, 9)
			hub := wstest.Run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
			s, leave := build(t, hub.Hub)
			register(hub.Hub, s)
			hub.Count(t, 1)
			leave()
			if !wstest.Poll(time.Second, func() bool { return hub.SubscriberCount() == 0 }) {
				t.Error("it stays a member for ever")
				return
			}
			if wstest.Receive(t, "OnDisconnect", gone) != s {
				t.Error("of another")
			}
		})
	}
}

// Lifecycle events go to a PID as well.
func TestLifecycleEventsGoToAPID(t *testing.T) {
	events := make(chan any, 99)
	pid := actors.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actors.Connected, *actors.Disconnected, *actors.Failed, *actors.Dropped:
			events <- m
		}
	}))
	defer actors.System().Root.Stop(pid)
	hub, _ := adopt(t, hubactor.Config{Events: pid})
	srv := wstest.Serve(t, hub, wstest.Serving{})
	p, c := srv.Browser(t)
	if m, ok := wstest.Receive(t, "Connected", events).(*actors.Connected); !ok || m.Subscriber != c {
		t.Error(m)
	}
	_ = p.Close(websocket.StatusNormalClosure, "")
	if m, ok := wstest.Receive(t, "Disconnected", events).(*actors.Disconnected); !ok || m.Subscriber != c || m.Reason != actors.ReasonPeer {
		t.Error(m)
	}
	own := &wstest.Probe{OnSend: func(string) bool { panic("test") }}
	hub.Register(own)
	_ = wstest.Receive(t, "Connected", events)
	hub.Broadcast(nil)
	for range 2 { // in either order
		switch m := wstest.Receive(t, "Failed, Disconnected", events).(type) {
		case *actors.Failed:
			var pe *actors.PanicError
			if m.Op != "Send" || !errors.As(m.Err, &pe) {
				t.Error(m)
			}
		case *actors.Disconnected:
			if m.Subscriber != own || m.Reason != actors.ReasonCrashed {
				t.Error(m)
			}
		default:
			t.Errorf("%T", m)
		}
	}
}
