package contract_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

var noContext context.Context

// incomparable is a Subscriber that == panics on.
type incomparable struct{ _ []int }

func (incomparable) Send([]byte) bool { return true }
func (incomparable) Close()           {}

// comparable by type, not by value.
type holder struct{ any }

func (holder) Send([]byte) bool { return true }
func (holder) Close()           {}

type funcSubscriber func()

func (funcSubscriber) Send([]byte) bool { return true }
func (funcSubscriber) Close()           {}

// Nil where something must be: an error or a logged no-op, never a panic, and never a wait.
func TestNilIsAnErrorOrANoOpAndNeverAPanic(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))
	hub.Count(t, 0)
	_ = hub.PID()
	ctx := context.Background()
	rec := httptest.NewRecorder
	req := func() *http.Request { return httptest.NewRequest("GET", "/", nil) }
	var nilHub *wskit.Hub
	var nilClient *wskit.Client
	var nilSSE *wskit.SSEClient
	var nilProbe *wstest.Probe
	must := func(err error) {
		t.Helper()
		if err == nil {
			t.Error("no error")
		}
	}
	accept := func(ctx context.Context, w http.ResponseWriter, r *http.Request, h *wskit.Hub) {
		t.Helper()
		c, err := wskit.Accept(ctx, w, r, h, nil, nil)
		must(err)
		if c != nil {
			t.Error("a client")
		}
	}
	closedClient := func(c *wskit.Client) {
		t.Helper()
		if c.Send([]byte("x")) || !errors.Is(c.SendErr(nil), wskit.ErrHubStopped) {
			t.Error("it is open")
		}
		c.ReadPump()
		c.WritePump()
		c.Close()
		hub.Unregister(c)
	}
	for i, call := range []func(){
		func() { nilHub.Run(ctx) }, func() { nilHub.Register(&wstest.Probe{}) }, func() { nilHub.Unregister(&wstest.Probe{}) }, func() { nilHub.Broadcast(nil) },
		func() { must(nilHub.BroadcastEvent(ctx, 1)) }, func() { must(nilHub.BroadcastJSON(ctx, "", 1)) }, func() { nilHub.SubscribeToRedis(ctx) },
		func() { _ = nilHub.SubscriberCount() }, func() { _ = nilHub.PID() },
		func() { hub.Run(noContext) }, func() { hub.SubscribeToRedis(noContext) }, func() { _ = hub.BroadcastEvent(noContext, 1) }, func() { _ = hub.BroadcastJSON(noContext, "", nil) },
		func() { hub.Register(nil) }, func() { hub.Register(nilProbe) }, func() { hub.Register(nilClient) }, func() { hub.Register(nilSSE) },
		func() { hub.Register(incomparable{}) }, func() { hub.Register(holder{[]int{1}}) }, func() { hub.Register(funcSubscriber(func() {})) }, func() { hub.Register(funcSubscriber(nil)) },
		func() { hub.Unregister(nil) }, func() { hub.Unregister(nilProbe) }, func() { hub.Unregister(nilClient) }, func() { hub.Unregister(nilSSE) },
		func() { hub.Unregister(incomparable{}) }, func() { hub.Unregister(holder{map[int]int{}}) },
		func() { hub.Broadcast(nil) },
		func() { closedClient(nilClient) }, func() { closedClient(&wskit.Client{}) },
		func() { closedClient(wskit.NewClient(nil, nil, nil)) }, func() { closedClient(wskit.NewClient(hub.Hub, nil, ctx)) }, func() { closedClient(wskit.NewClient(hub.Hub, nil, nil, nil)) },
		func() { _ = nilSSE.Send(nil); nilSSE.Close() }, func() { c := &wskit.SSEClient{}; _ = c.Send(nil); c.Close(); hub.Unregister(c) },
		func() { c := wskit.NewSSEClient(nil, 1); _ = c.Send(nil); c.Close() },
		func() { accept(ctx, nil, req(), hub.Hub) }, func() { accept(ctx, rec(), nil, hub.Hub) }, func() { accept(ctx, rec(), req(), nil) },
		func() { accept(nil, rec(), req(), hub.Hub) }, func() { accept(nil, nil, nil, nil) }, func() { accept(ctx, rec(), &http.Request{}, hub.Hub) },
		func() { must(wskit.AcceptSSE(nil, req(), hub.Hub)) }, func() { must(wskit.AcceptSSE(rec(), nil, hub.Hub)) }, func() { must(wskit.AcceptSSE(rec(), req(), nil)) },
		func() { must(wskit.AcceptSSE(nil, nil, nil)) },
		func() { _ = wskit.NewEvent("", nil) }, func() { _ = wskit.NewHub(nil, nil) },
		func() {
			_ = wskit.NewHub(wskit.WithRedis(nil, "x"), wskit.WithRedis(nil, ""), wskit.WithOnConnect(nil), wskit.WithOnDisconnect(nil), wskit.WithOnTimeout(nil),
				wskit.WithOnError(nil), wskit.WithOnMessage(nil), wskit.WithLogger(nil), wskit.WithActorSystem(nil), wskit.WithName(""))
		},
	} {
		wstest.Quickly(t, fmt.Sprint("call ", i), 2*time.Second, func() {
			defer func() {
				if v := recover(); v != nil {
					t.Errorf("call %d panics: %v", i, v)
				}
			}()
			call()
		})
	}
	if n := hub.SubscriberCount(); n != 0 {
		t.Error(n, "subscribers")
	}
	if names := wstest.Tree(t, hub.Hub); len(names) != 4 {
		t.Error(names)
	}
}

// A nil hub is answered, since the request is there: 500.
func TestANilHubIsAnswered500(t *testing.T) {
	for i, call := range []func(w http.ResponseWriter, r *http.Request) error{
		func(w http.ResponseWriter, r *http.Request) error { return wskit.AcceptSSE(w, r, nil) },
		func(w http.ResponseWriter, r *http.Request) error {
			_, err := wskit.Accept(r.Context(), w, r, nil, nil)
			return err
		},
	} {
		w := httptest.NewRecorder()
		if err := call(w, httptest.NewRequest("GET", "/", nil)); err == nil || w.Code != 500 {
			t.Error(i, err, w.Code)
		}
	}
}

// The options' special values, on a hub that really runs; nil callbacks are none.
func TestOptionsOutOfRangeMeanTheDefaults(t *testing.T) {
	hub := wstest.Run(t, wskit.WithBroadcastBuf(-5), wskit.WithRegisterBuf(math.MinInt), wskit.WithChannelTimeout(-1), wskit.WithDrainTimeout(0), wskit.WithOnConnect(nil),
		wskit.WithOnDisconnect(nil), wskit.WithOnTimeout(nil), wskit.WithOnError(nil), wskit.WithOnMessage(nil), wskit.WithLogger(nil), wskit.WithRedis(nil, "channel"))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{nil, wskit.WithWriteWait(-1), wskit.WithPingInterval(0), wskit.WithMaxMessageSize(0), wskit.WithSendBufSize(-7)}})
	p, c := srv.Browser(t)
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
	p.Say(t, "nobody listens")
	hub.SubscribeToRedis(context.Background()) // off: it returns
	c.Close()
	p.Ends(t, websocket.StatusNormalClosure)
	zero := wskit.Hub{} // of no use by contract, and no panic either
	if n := zero.SubscriberCount(); n != 0 {
		t.Error(n)
	}
}
