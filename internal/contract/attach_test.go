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
)

func silentLogger(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }

func nonsense() []any {
	return []any{
		"text", 7, struct{}{}, actors.Register{}, actors.Broadcast{}, actors.Shutdown{}, &actors.Register{}, &actors.Unregister{},
		&actors.Broadcast{}, &actors.Publish{}, &actors.Subscribe{}, &actors.Unsubscribe{}, &actors.Unsubscribe{},
		&actors.Register{Subscriber: (*probe)(nil)}, &actors.Register{Subscriber: incomparable{}}, &actors.Unregister{Subscriber: incomparable{}},
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
	clean(t)
	cfg.DrainTimeout = 2 * time.Second
	p := &parent{cfg, make(chan *actor.PID, 1)}
	pid := system().Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return p }))
	child := receive(t, "the hub is spawned", p.hub)
	stop = func() {
		system().Root.Stop(pid)
		eventually(t, "the parent is gone", func() bool { _, alive := system().ProcessRegistry.Get(pid); return !alive })
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
	srv := serve(t, hub, serving{})
	p, c := srv.dial(t)
	if e := receive(t, "OnConnect", events); e != "+*wskit.Client" {
		t.Error(e)
	}
	es, own := srv.stream(t), &probe{}
	hub.Register(own)
	eventually(t, "3 subscribers", func() bool { return hub.SubscriberCount() == 3 })
	hub.Broadcast([]byte("1"))
	_ = hub.BroadcastEvent(t.Context(), 2)
	c.Send([]byte("3"))
	es.expect(t, "1", "2")
	own.expect(t, "1", "2")
	for range 3 {
		if _, err := p.next(); err != nil {
			t.Error(err)
		}
	}
	hub.SubscribeToRedis(t.Context()) // there is none: it returns
	// Run waits and does not own the hub.
	ctx, cancel := context.WithCancel(context.Background())
	first, second := begin(func() { hub.Run(ctx) }), begin(func() { hub.Run(context.Background()) })
	silent(t, "Run returned", first)
	cancel()
	receive(t, "Run returns with its context", first)
	hub.Broadcast([]byte("alive"))
	p.expect(t, "alive")
	stopping := begin(stop)
	p.ends(t, websocket.StatusGoingAway)
	receive(t, "the parent ends", stopping)
	receive(t, "Run returns with the hub", second)
	if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	stoppedHub(t, hub)
}

// Attach to nothing, or to what is gone, or to what is no hub, behaves like a hub that has stopped.
func TestAttachToNoHubBehavesLikeAStoppedHub(t *testing.T) {
	hub := run(t)
	pid := hub.PID()
	hub.halt(t)
	for name, h := range map[string]*wskit.Hub{
		"nil, nil": wskit.Attach(nil, nil), "dead": wskit.Attach(system(), pid), "empty": wskit.Attach(nil, &actor.PID{}),
		"elsewhere": wskit.Attach(nil, actor.NewPID("other:1", "x")),
	} {
		quickly(t, name, time.Second, func() { stoppedHub(t, h) })
	}
}

func stoppedHub(t *testing.T, h *wskit.Hub) {
	t.Helper()
	p := &probe{}
	h.Register(p)
	p.expect(t, closed)
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
	var events journal
	hub := run(t, wskit.WithOnConnect(func(wskit.Subscriber) { events.add("+") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { events.add("-") }))
	pid := hub.PID()
	tell := func(m any) { system().Root.Send(pid, m) }
	a, b := &probe{}, &probe{}
	tell(&actors.Register{Subscriber: a})
	tell(&actors.Register{Subscriber: a})
	tell(&actors.Register{Subscriber: b})
	tell(&actors.Broadcast{Frame: actors.NewFrame([]byte("1"))})
	tell(&actors.Unregister{Subscriber: b})
	reply := make(chan error, 1)
	tell(&actors.Publish{Frame: actors.NewFrame([]byte("2")), Reply: reply})
	a.expect(t, "1", "2")
	b.expect(t, "1", closed)
	if err := receive(t, "Publish is answered", reply); err != nil {
		t.Error(err)
	}
	count := make(chan int, 1)
	eventually(t, "one subscriber", func() bool { tell(&actors.Count{Reply: count}); return receive(t, "the count", count) == 1 })
	if n := hub.SubscriberCount(); n != 1 {
		t.Error(n)
	}
	hub.Broadcast([]byte("3"))
	a.expect(t, "1", "2", "3")
	tell(&actors.Broadcast{Frame: actors.NewFrame([]byte("4"))})
	tell(&actors.Shutdown{Timeout: time.Second})
	receive(t, "Run returns", hub.done)
	a.expect(t, "1", "2", "3", "4", closed)
	events.expect(t, "+", "+", "-", "-")
}

// A *Client or *SSEClient that is registered by message is the same member as one that the facade registers: when it ends it is
// unregistered, and OnDisconnect is called.
func TestAClientRegisteredByMessageIsUnregisteredWhenItEnds(t *testing.T) {
	register := func(h *wskit.Hub, s wskit.Subscriber) { system().Root.Send(h.PID(), &actors.Register{Subscriber: s}) }
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
			return receive(t, "the client", clients), func() { _ = conn.CloseNow() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			gone := make(chan wskit.Subscriber, 9)
			hub := run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
			s, leave := build(t, hub.Hub)
			register(hub.Hub, s)
			hub.count(t, 1)
			leave()
			if !poll(time.Second, func() bool { return hub.SubscriberCount() == 0 }) {
				t.Error("it stays a member for ever")
				return
			}
			if receive(t, "OnDisconnect", gone) != s {
				t.Error("of another")
			}
		})
	}
}

// Lifecycle events go to a PID as well.
func TestLifecycleEventsGoToAPID(t *testing.T) {
	events := make(chan any, 99)
	pid := system().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actors.Connected, *actors.Disconnected, *actors.Failed, *actors.Dropped:
			events <- m
		}
	}))
	defer system().Root.Stop(pid)
	hub, _ := adopt(t, hubactor.Config{Events: pid})
	srv := serve(t, hub, serving{})
	p, c := srv.dial(t)
	if m, ok := receive(t, "Connected", events).(*actors.Connected); !ok || m.Subscriber != c {
		t.Error(m)
	}
	_ = p.Close(websocket.StatusNormalClosure, "")
	if m, ok := receive(t, "Disconnected", events).(*actors.Disconnected); !ok || m.Subscriber != c || m.Reason != actors.ReasonPeer {
		t.Error(m)
	}
	own := &probe{onSend: func(string) bool { panic("test") }}
	hub.Register(own)
	_ = receive(t, "Connected", events)
	hub.Broadcast(nil)
	for range 2 { // in either order
		switch m := receive(t, "Failed, Disconnected", events).(type) {
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
