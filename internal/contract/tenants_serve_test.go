package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

func tenantOfPath(r *http.Request) (string, error) { return r.PathValue("tenant"), nil }

// serveTenants has the tenants served at /{tenant}/ws and /{tenant}/sse, and what Ready says at /ready.
func serveTenants(t *testing.T, kind wstest.Kind, tenants *wskit.Tenants) *orderly {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/{tenant}/{transport}", tenants.Handler(tenantOfPath))
	addr := make(chan net.Addr, 1)
	return serveWith(t, kind, anyPort(mux, addr), addr, func(ctx context.Context, srv *http.Server) error {
		if kind == wstest.TCP {
			return tenants.Serve(ctx, srv)
		}
		return tenants.ServeTLS(ctx, srv, "", "")
	})
}

func tenantsReady(tenants *wskit.Tenants, method string) int {
	w := httptest.NewRecorder()
	tenants.Ready().ServeHTTP(w, httptest.NewRequest(method, "/ready", nil))
	return w.Code
}

// "Then Ready says 503, after WithTenantsReadyDelay the port is closed, all hubs drain at the same time", with a spread one client after
// the other although each hub has but one; those whose turn has not come are served.
func TestServeOfTenantsSpreadsTheDrainOfAllAtOnce(t *testing.T) {
	for _, kind := range []wstest.Kind{wstest.TCP, wstest.TLS} {
		t.Run(kind.Name, func(t *testing.T) {
			const n, delay, window = 32, 300 * time.Millisecond, 1200 * time.Millisecond
			tenants := newTenants(t, func(string) []wskit.HubOption {
				return []wskit.HubOption{wskit.WithDrainSpread(window), wskit.WithReadyDelay(time.Hour)} // which is for a hub that is served alone
			}, wskit.WithTenantsReadyDelay(delay))
			srv := serveTenants(t, kind, tenants)
			var hubs []*wskit.Hub
			var sockets []*wstest.Browser
			for i := range n {
				p, err := srv.TryOpen(fmt.Sprintf("/t%d/ws", i))
				no(t, err)
				sockets, hubs = append(sockets, p), append(hubs, hubOf(t, tenants, fmt.Sprint("t", i)))
			}
			if code := tenantsReady(tenants, http.MethodGet); code != http.StatusOK {
				t.Error(code)
			}
			began := time.Now()
			srv.stop()
			wstest.Eventually(t, "not ready", func() bool { return tenantsReady(tenants, http.MethodGet) == http.StatusServiceUnavailable })
			late, err := srv.TryOpen("/late/ws")
			no(t, err)
			hubOf(t, tenants, "late").Broadcast([]byte("still here"))
			late.Expect(t, "still here")
			_ = late.CloseNow()
			wstest.Eventually(t, "the port is closed", func() bool {
				conn, err := net.Dial("tcp", srv.Host())
				if err == nil {
					_ = conn.Close()
				}
				return errors.Is(err, syscall.ECONNREFUSED)
			})
			for _, hub := range hubs {
				_ = hub.BroadcastContext(t.Context(), []byte("in between"))
			}
			var heard int
			left := make(chan time.Time, n)
			for _, p := range sockets {
				text, err := p.Next()
				if err == nil && text == "in between" {
					heard++
				}
				go func() {
					for err == nil {
						_, err = p.Next()
					}
					if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
						t.Error(err)
					}
					left <- time.Now()
				}()
			}
			var first, last time.Time
			for range n {
				at := wstest.Receive(t, "all are told", left)
				if first.IsZero() {
					first = at
				}
				last = at
			}
			if heard < n/2 {
				t.Errorf("%d of %d heard what was said before their turn", heard, n)
			}
			if first.Sub(began) < delay || last.Sub(first) < window/2 {
				t.Errorf("told between %v and %v", first.Sub(began), last.Sub(began))
			}
			no(t, wstest.Receive(t, "Serve returns", srv.result))
			if _, err := tenants.Hub("t0"); !errors.Is(err, wskit.ErrHubStopped) {
				t.Error(err)
			}
		})
	}
}

// "A further Shutdown with less time brings the end forward", of a Serve that spreads too.
func TestAFurtherShutdownOfTenantsBringsTheEndForward(t *testing.T) {
	tenants := newTenants(t, func(string) []wskit.HubOption { return []wskit.HubOption{wskit.WithDrainSpread(time.Hour)} })
	srv := serveTenants(t, wstest.TCP, tenants)
	probes := make([]*wstest.Probe, 300) // more than begin at once
	for i := range probes {
		probes[i] = &wstest.Probe{}
		hubOf(t, tenants, fmt.Sprint(i)).Register(probes[i])
	}
	srv.stop()
	wstest.Eventually(t, "the end has begun", func() bool { return tenantsReady(tenants, http.MethodGet) == http.StatusServiceUnavailable })
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	no(t, tenants.Shutdown(ctx))
	no(t, wstest.Receive(t, "Serve returns", srv.result))
	for _, p := range probes {
		p.Expect(t, wstest.Closed)
	}
}

func TestServeOfTenantsEndsWithThem(t *testing.T) {
	tenants := newTenants(t, nil)
	srv := serveTenants(t, wstest.TCP, tenants)
	taken := &http.Server{Addr: srv.Host()}
	if err := tenants.Serve(t.Context(), taken); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	p, err := srv.TryOpen("/a/ws") // they are as they were
	no(t, err)
	stopping := wstest.Begin(func() { no(t, tenants.Shutdown(t.Context())) })
	p.Ends(t, websocket.StatusGoingAway)
	wstest.Receive(t, "Shutdown returns", stopping)
	if err := wstest.Receive(t, "Serve returns", srv.result); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	if err := tenants.Serve(t.Context(), &http.Server{Addr: "127.0.0.1:0"}); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	var none *wskit.Tenants
	for _, err := range []error{none.Serve(t.Context(), taken), none.ServeTLS(t.Context(), taken, "", ""), tenants.Serve(t.Context(), nil), tenants.ServeTLS(t.Context(), nil, "", "")} {
		if !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Error(err)
		}
	}
}

// "200 from the beginning …, and 503 from the moment the end of all begins", whoever begins it.
func TestReadyOfTenantsSaysSoBeforeTheFirstIsTold(t *testing.T) {
	for name, end := range map[string]func(tenants *wskit.Tenants, pid *actor.PID){
		"Shutdown":   func(tenants *wskit.Tenants, _ *actor.PID) { go func() { _ = tenants.Shutdown(context.Background()) }() },
		"a message":  func(_ *wskit.Tenants, pid *actor.PID) { actors.System().Root.Send(pid, &actors.Shutdown{}) },
		"its parent": func(_ *wskit.Tenants, pid *actor.PID) { actors.System().Root.Stop(pid) },
	} {
		t.Run(name, func(t *testing.T) {
			codes := make(chan int, 1)
			var tenants *wskit.Tenants
			pid, _ := tenantsElsewhere(t, hubactor.TenantsConfig{Configure: func(string) hubactor.Config {
				return hubactor.Config{OnDisconnect: func(actors.Subscriber) { codes <- tenantsReady(tenants, http.MethodGet) }}
			}})
			tenants = wskit.AttachTenants(nil, pid)
			hubOf(t, tenants, "a").Register(&wstest.Probe{})
			no(t, tenants.Stop(t.Context(), "a")) // that of one hub does not count
			if code := wstest.Receive(t, "OnDisconnect", codes); code != http.StatusOK || tenantsReady(tenants, http.MethodPost) != http.StatusMethodNotAllowed {
				t.Error(code)
			}
			hubOf(t, tenants, "a").Register(&wstest.Probe{})
			end(tenants, pid)
			if code := wstest.Receive(t, "OnDisconnect", codes); code != http.StatusServiceUnavailable {
				t.Error(code)
			}
		})
	}
	var none *wskit.Tenants
	if code := tenantsReady(none, http.MethodGet); code != http.StatusServiceUnavailable {
		t.Error(code)
	}
}

// tenantsElsewhere spawns tenants as the child of another actor; ended is closed when that has been told of their end.
func tenantsElsewhere(t *testing.T, cfg hubactor.TenantsConfig) (pid *actor.PID, ended <-chan struct{}) {
	t.Helper()
	wstest.Clean(t)
	spawned, over := make(chan *actor.PID, 1), make(chan struct{})
	parent := actors.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			spawned <- ctx.Spawn(hubactor.Tenants(cfg))
		case *actor.Terminated:
			close(over)
		}
	}))
	t.Cleanup(func() {
		actors.System().Root.Stop(parent)
		wstest.Eventually(t, "the parent is gone", func() bool { _, alive := actors.System().ProcessRegistry.Get(parent); return !alive })
	})
	return wstest.Receive(t, "the tenants are spawned", spawned), over
}

// AttachTenants: "Hub, Handler, Serve and the rest work on them".
func TestAttachToTenantsThatAnotherActorSpawned(t *testing.T) {
	pid, ended := tenantsElsewhere(t, hubactor.TenantsConfig{IdleTimeout: 10 * time.Millisecond, Configure: func(name string) hubactor.Config {
		if name == "broken" {
			panic("configure")
		}
		return hubactor.Config{}
	}})
	tenants := wskit.AttachTenants(nil, pid)
	kept := hubOf(t, tenants, "a")
	idled(t, tenants)
	srv := serveTenants(t, wstest.TCP, tenants)
	p, err := srv.TryOpen("/a/ws")
	no(t, err)
	stream := srv.StreamAt(t, "/a/sse")
	wstest.Eventually(t, "both are in", func() bool { return kept.SubscriberCount() == 2 })
	no(t, kept.BroadcastContext(t.Context(), []byte("1"))) // the *Hub of before it idled
	same := hubOf(t, tenants, "a")
	if other := hubOf(t, wskit.AttachTenants(nil, pid), "a"); other.SubscriberCount() != 2 || hubOf(t, tenants, "a") != same {
		t.Error("it is another hub")
	}
	p.Expect(t, "1")
	stream.Expect(t, "1")
	if _, err := srv.TryOpen("/broken/ws"); err == nil {
		t.Error("it is let in")
	}
	if s := tenants.Stats(); s.Hubs != 1 || s.Deliveries != 2 {
		t.Errorf("%+v", s)
	}
	srv.stop()
	p.Ends(t, websocket.StatusGoingAway)
	no(t, wstest.Receive(t, "Serve returns", srv.result))
	wstest.Receive(t, "their parent is told", ended)
	no(t, tenants.Shutdown(t.Context()))

	for _, none := range []*wskit.Tenants{wskit.AttachTenants(nil, nil), wskit.AttachTenants(actors.System(), pid)} {
		if _, err := none.Hub("a"); !errors.Is(err, wskit.ErrHubStopped) || len(none.Names()) != 0 || none.Stats().Hubs != 0 {
			t.Error(err)
		}
		no(t, none.Stop(t.Context(), "a"))
		no(t, none.Shutdown(t.Context()))
		if err := none.Serve(t.Context(), &http.Server{Addr: "127.0.0.1:0"}); !errors.Is(err, wskit.ErrHubStopped) || tenantsReady(none, http.MethodGet) != http.StatusServiceUnavailable {
			t.Error(err)
		}
	}
}
