package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// newTenants makes Tenants that are shut down with the test.
func newTenants(t *testing.T, configure func(name string) []wskit.HubOption, opts ...wskit.TenantsOption) *wskit.Tenants {
	t.Helper()
	wstest.Clean(t)
	tenants := wskit.NewTenants(configure, opts...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), wstest.Patience)
		defer cancel()
		if err := tenants.Shutdown(ctx); err != nil {
			t.Error("Shutdown:", err)
		}
	})
	return tenants
}

// hubOf is the hub of that name.
func hubOf(t *testing.T, tenants *wskit.Tenants, name string) *wskit.Hub {
	t.Helper()
	hub, err := tenants.Hub(name)
	if err != nil {
		t.Fatalf("Hub(%q): %v", name, err)
	}
	return hub
}

// idled waits until no hub runs.
func idled(t *testing.T, tenants *wskit.Tenants) {
	t.Helper()
	wstest.Eventually(t, "all hubs have idled", func() bool { return len(tenants.Names()) == 0 })
}

// hubsOf is how many actors of hubs of that name there are.
func hubsOf(name string) (n int) {
	for _, id := range wstest.Processes(actors.System()) {
		if strings.HasPrefix(id, "tenants") && strings.HasSuffix(id, "/"+name) {
			n++
		}
	}
	return n
}

// "The running hub of that name": nobody has to call Run, and it is the same for everybody.
func TestATenantsHubRunsFromItsFirstUse(t *testing.T) {
	tenants := newTenants(t, nil)
	a, b := hubOf(t, tenants, "a"), hubOf(t, tenants, "b")
	inA, inB := &wstest.Probe{}, &wstest.Probe{}
	a.Register(inA)
	b.Register(inB)
	hubOf(t, tenants, "a").Broadcast([]byte("1"))
	_ = b.BroadcastJSON(t.Context(), "x", nil)
	inA.Expect(t, "1")
	wstest.Eventually(t, "b's own message", func() bool { return inB.Len() == 1 })
	if a != hubOf(t, tenants, "a") || a.SubscriberCount() != 1 {
		t.Error("another hub of the same name, or without its subscriber")
	}
	if names := tenants.Names(); !slices.Equal(names, []string{"a", "b"}) {
		t.Error(names)
	}
}

// "1 to 255 bytes of UTF-8 without control characters", and whatever they are, no two are mixed up.
func TestNamesOfTenantsAreThoseOfTopics(t *testing.T) {
	tenants := newTenants(t, nil)
	for _, name := range []string{"", strings.Repeat("x", 256), "\xff", "a\nb", "\x00"} {
		if _, err := tenants.Hub(name); !errors.Is(err, wskit.ErrInvalidTenant) {
			t.Errorf("%q: %v", name, err)
		}
	}
	odd := []string{strings.Repeat("x", 255), "a", "a/registry", "a%2Fregistry", "registry", "ä b", "..", "?", "a:b", "$1"}
	probes := map[string]*wstest.Probe{}
	for _, name := range odd {
		probes[name] = &wstest.Probe{}
		hubOf(t, tenants, name).Register(probes[name])
	}
	for _, name := range odd {
		hubOf(t, tenants, name).Broadcast([]byte(name))
	}
	for _, name := range odd {
		probes[name].Expect(t, name)
	}
}

// 64 goroutines against an idle timeout of next to nothing, some with a *Hub that they keep for good: each registration counts, each
// broadcast arrives, and there is never a hub beside another of its name.
func TestNothingIsLostWhileHubsIdleOut(t *testing.T) {
	const goroutines, rounds, names = 64, 40, 4
	var made atomic.Int64
	tenants := newTenants(t, func(name string) []wskit.HubOption {
		made.Add(1)
		if n := hubsOf(name); n > 0 {
			t.Errorf("%q is made beside %d of that name", name, n)
		}
		return nil
	}, wskit.WithIdleTimeout(time.Nanosecond))
	var group sync.WaitGroup
	for g := range goroutines {
		name := fmt.Sprint("tenant-", g%names)
		kept := hubOf(t, tenants, name)
		group.Go(func() {
			pace := time.NewTicker(time.Duration(g%7+1) * 3 * time.Millisecond)
			defer pace.Stop()
			for i := range rounds {
				hub := kept
				if g%2 == 0 {
					var err error
					if hub, err = tenants.Hub(name); err != nil {
						t.Error(err)
						return
					}
				}
				p, own := &wstest.Probe{}, fmt.Sprint(g, ".", i)
				hub.Register(p)
				if i%2 == 0 {
					hub.Broadcast([]byte(own))
				} else if err := hub.BroadcastEventContext(t.Context(), own); err != nil {
					t.Error(err)
				}
				hub.Unregister(p)
				if !wstest.Poll(wstest.Patience, func() bool { return slices.Contains(p.All(), wstest.Closed) }) {
					t.Errorf("%s was not closed: its registration was lost", own)
				}
				if i%2 == 1 {
					own = `"` + own + `"`
				}
				if !slices.Contains(p.All(), own) {
					t.Errorf("%s did not arrive", own)
				}
				<-pace.C
			}
		})
	}
	group.Wait()
	idled(t, tenants)
	t.Logf("hubs were made %d times", made.Load())
	if n := made.Load(); n < 3*names {
		t.Errorf("hubs were made %d times: nothing has idled", n)
	}
}

// The same with hubs that are stopped and crash meanwhile: whoever was registered is closed in the end, once, callbacks are in pairs, and there
// is never a hub beside another of its name.
func TestNobodyIsForgottenWhileHubsIdleStopAndCrash(t *testing.T) {
	const goroutines, rounds = 64, 25
	var in, out, registered atomic.Int64
	tenants := newTenants(t, func(name string) []wskit.HubOption {
		if n := hubsOf(name); n > 0 {
			t.Errorf("%q is made beside %d of that name", name, n)
		}
		return []wskit.HubOption{
			wskit.WithOnConnect(func(wskit.Subscriber) { in.Add(1) }), wskit.WithOnDisconnect(func(wskit.Subscriber) { out.Add(1) }),
		}
	}, wskit.WithIdleTimeout(time.Nanosecond))
	hubs := map[string]*wskit.Hub{}
	for i := range 4 {
		name := fmt.Sprint("tenant-", i)
		hubs[name] = hubOf(t, tenants, name)
	}
	var group sync.WaitGroup
	for g := range goroutines {
		name := fmt.Sprint("tenant-", g%4)
		kept := hubs[name]
		group.Go(func() {
			pace := time.NewTicker(time.Duration(g%7+1) * 2 * time.Millisecond)
			defer pace.Stop()
			for i := range rounds {
				if _, err := tenants.Hub(name); err != nil && !errors.Is(err, wskit.ErrTenantFailed) {
					t.Error(err)
				}
				p := &wstest.Probe{}
				err := kept.RegisterContext(t.Context(), p)
				switch {
				case err == nil:
					registered.Add(1)
				case !errors.Is(err, wskit.ErrHubStopped):
					t.Error(err)
				}
				switch {
				case i == rounds/2 && g == 0: // the others go on
					wstest.Crash(kept.PID(), "test")
				case g < 8:
					_ = tenants.Stop(t.Context(), name)
				default:
					kept.Unregister(p)
				}
				if !wstest.Poll(wstest.Patience, func() bool { return p.Len() > 0 }) || p.Text() != wstest.Closed {
					t.Errorf("written down was %q; Register: %v", p.All(), err)
				}
				<-pace.C
			}
		})
	}
	group.Wait()
	idled(t, tenants)
	if in.Load() != registered.Load() || out.Load() != in.Load() {
		t.Errorf("%d registered, %d connected, %d disconnected", registered.Load(), in.Load(), out.Load())
	}
}

// "No subscriber, connection, call in progress nor callback": each of them keeps a hub from idling.
func TestWhatIsUnderWayKeepsAHubFromIdling(t *testing.T) {
	blocked, release := make(chan struct{}), make(chan struct{})
	made := atomic.Int64{}
	tenants := newTenants(t, func(string) []wskit.HubOption {
		made.Add(1)
		return []wskit.HubOption{
			wskit.WithOnDisconnect(func(wskit.Subscriber) { blocked <- struct{}{}; <-release }),
			wskit.WithAuthenticate(func(r *http.Request) (wskit.Identity, error) {
				if r.URL.Path == "/slow" {
					blocked <- struct{}{}
					<-release
				}
				return wskit.Identity{}, wskit.ErrForbidden
			}),
		}
	}, wskit.WithIdleTimeout(time.Millisecond))
	srv := wstest.Listen(t, wstest.TCP, tenants.Handler(func(*http.Request) (string, error) { return "a", nil }))
	get := func(path string) {
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
	}
	for name, begin := range map[string]func() (end func()){
		"a subscriber": func() func() {
			hub, p := hubOf(t, tenants, "a"), &wstest.Probe{}
			hub.Register(p)
			return func() { hub.Unregister(p); <-blocked; release <- struct{}{} }
		},
		"a client that is not registered": func() func() { return wskit.NewSSEClient(hubOf(t, tenants, "a"), 1).Close },
		"a callback": func() func() {
			hub, p := hubOf(t, tenants, "a"), &wstest.Probe{}
			hub.Register(p)
			hub.Unregister(p)
			<-blocked
			return func() { release <- struct{}{} }
		},
		"a request that is being looked at": func() func() {
			done := wstest.Begin(func() { get("/slow") })
			<-blocked
			return func() { release <- struct{}{}; <-done }
		},
	} {
		t.Run(name, func(t *testing.T) {
			idled(t, tenants)
			before := made.Load()
			end := begin()
			wstest.Silent(t, "it idled", wstest.Begin(func() { wstest.Poll(wstest.Hush*2, func() bool { return len(tenants.Names()) == 0 }) }))
			if n := made.Load() - before; n != 1 {
				t.Errorf("it was made %d times", n)
			}
			wstest.Quickly(t, "a call of it", time.Second, func() { hubOf(t, tenants, "a").Broadcast([]byte("x")) })
			end()
			idled(t, tenants)
		})
	}
}

// Nobody who is locked out comes in sooner since the hub has idled meanwhile.
func TestALockoutOutlivesIdling(t *testing.T) {
	tenants := newTenants(t, func(string) []wskit.HubOption {
		return []wskit.HubOption{
			wskit.WithUserLockout(500 * time.Millisecond),
			wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{User: "u"}, nil }),
		}
	}, wskit.WithIdleTimeout(time.Millisecond))
	srv := wstest.Listen(t, wstest.TCP, tenants.Handler(func(*http.Request) (string, error) { return "a", nil }))
	hub, given := hubOf(t, tenants, "a"), time.Now()
	if _, err := hub.User("u").Disconnect(t.Context(), 4000, "bye"); err != nil {
		t.Fatal(err)
	}
	wstest.Eventually(t, "the lockout is over", func() bool {
		p, err := srv.TryOpen("/")
		if err == nil {
			_ = p.CloseNow()
		}
		return err == nil
	})
	if took := time.Since(given); took < 500*time.Millisecond {
		t.Errorf("let in after %v", took)
	}
}

// A *Hub may be kept: whatever is asked of it makes the hub anew, and what only looks does not.
func TestAKeptHubGoesOnAfterItHasIdled(t *testing.T) {
	tenants := newTenants(t, func(string) []wskit.HubOption {
		return []wskit.HubOption{wskit.WithHistory(wskit.History{}), wskit.WithUserLockout(100 * time.Millisecond)}
	},
		wskit.WithIdleTimeout(time.Millisecond))
	kept := hubOf(t, tenants, "a")
	for name, use := range map[string]func() error{
		"Broadcast":      func() error { kept.Broadcast([]byte("x")); return nil },
		"BroadcastEvent": func() error { return kept.BroadcastEvent(t.Context(), 1) },
		"History":        func() error { _, err := kept.History(t.Context(), 1); return err },
		"Disconnect":     func() error { _, err := kept.User("u").Disconnect(t.Context(), 1000, ""); return err },
		"PID":            func() error { kept.PID(); return nil },
		"NewSSEClient":   func() error { wskit.NewSSEClient(kept, 1).Close(); return nil },
		"Register": func() error {
			p := &wstest.Probe{}
			kept.Topic("t") // costs nothing
			err := errors.Join(kept.RegisterContext(t.Context(), p), kept.Topic("t").Join(p))
			kept.Topic("t").Broadcast([]byte("1"))
			kept.Unregister(p)
			p.Expect(t, "1", wstest.Closed)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			idled(t, tenants)
			if n := kept.SubscriberCount() + len(kept.Topics()); n != 0 || len(tenants.Names()) != 0 {
				t.Error("a look at it made the hub anew", n)
			}
			if err := use(); err != nil {
				t.Error(err)
			}
			idled(t, tenants)
		})
	}
	// Who looks at it through an old *Hub sees the one that runs.
	p := &wstest.Probe{}
	hubOf(t, tenants, "a").Register(p)
	if n := kept.SubscriberCount(); n != 1 {
		t.Error(n)
	}
}

// "WithMaxTenants bounds how many hubs there are at a time."
func TestNTenantsAreLetInAndNotOneMore(t *testing.T) {
	tenants := newTenants(t, nil, wskit.WithMaxTenants(2))
	hubOf(t, tenants, "a")
	hubOf(t, tenants, "b")
	for range 2 {
		if _, err := tenants.Hub("c"); !errors.Is(err, wskit.ErrTooManyTenants) {
			t.Error(err)
		}
	}
	hubOf(t, tenants, "a")
	if err := tenants.Stop(t.Context(), "a"); err != nil {
		t.Error(err)
	}
	hubOf(t, tenants, "c")
	if _, err := tenants.Hub("a"); !errors.Is(err, wskit.ErrTooManyTenants) {
		t.Error(err)
	}
	for i := range 200 { // one that has been stopped has left its place, though its actors may not be gone
		if err := tenants.Stop(t.Context(), "c"); err != nil {
			t.Error(err)
		}
		hubOf(t, tenants, fmt.Sprint(i))
		if _, err := tenants.Hub("c"); !errors.Is(err, wskit.ErrTooManyTenants) {
			t.Error(err)
		}
		if err := tenants.Stop(t.Context(), fmt.Sprint(i)); err != nil {
			t.Error(err)
		}
		hubOf(t, tenants, "c")
	}
}

// "One that fails beyond its budget is given up alone", is refused for a while, and then made anew; others notice nothing.
func TestATenantOverItsBudgetIsGivenUpAloneAndComesBack(t *testing.T) {
	var errs troubles
	var records wstest.LogRecorder
	tenants := newTenants(t, func(name string) []wskit.HubOption {
		if name == "a" {
			return []wskit.HubOption{errs.option()}
		}
		return nil
	}, wskit.WithMaxTenants(2), wskit.WithTenantsLogger(records.Logger()))
	a, b := hubOf(t, tenants, "a"), hubOf(t, tenants, "b")
	inA, inB := &wstest.Probe{}, &wstest.Probe{}
	a.Register(inA)
	b.Register(inB)
	registry := wstest.One(t, a, "registry")
	for range 11 {
		wstest.Crash(registry, "test")
	}
	inA.Expect(t, wstest.Closed)
	var failed *wskit.TenantFailedError
	if _, err := tenants.Hub("a"); !errors.As(err, &failed) || !errors.Is(err, wskit.ErrTenantFailed) || !errors.Is(err, wskit.ErrHubStopped) {
		t.Fatal(err)
	}
	if left := time.Until(failed.Until); failed.Name != "a" || left <= 0 || left > time.Second || !strings.Contains(failed.Err.Error(), "registry") {
		t.Error(failed, left)
	}
	if err := a.BroadcastContext(t.Context(), []byte("x")); !errors.Is(err, wskit.ErrTenantFailed) {
		t.Error("of a *Hub that was kept:", err)
	}
	late := &wstest.Probe{}
	a.Register(late)
	late.Expect(t, wstest.Closed)
	b.Broadcast([]byte("1"))
	inB.Expect(t, "1")
	if names := tenants.Names(); !slices.Equal(names, []string{"b"}) {
		t.Error(names)
	}
	if len(errs.All()) == 0 {
		t.Error("OnError was not told")
	}
	wstest.Eventually(t, "it is logged", func() bool {
		lines := records.Find("wskit: tenant failed")
		return len(lines) == 1 && lines[0].Attrs["tenant"] == "a"
	})

	wstest.Eventually(t, "the backoff is over", func() bool { return a.BroadcastContext(t.Context(), []byte("x")) == nil })
	if time.Now().Before(failed.Until) {
		t.Error("it came back before it was said to")
	}
	again := &wstest.Probe{}
	hubOf(t, tenants, "a").Register(again)
	a.Broadcast([]byte("2"))
	again.Expect(t, "2")
	b.Broadcast([]byte("3"))
	inB.Expect(t, "1", "3")
}

// After Stop a hub is stopped until somebody asks for Hub again, and after Shutdown for good.
func TestStopIsUntilTheNextHubAndShutdownForGood(t *testing.T) {
	tenants := newTenants(t, nil)
	srv := wstest.Listen(t, wstest.TCP, tenants.Handler(func(r *http.Request) (string, error) { return r.URL.Path[1:], nil }))
	a, b := hubOf(t, tenants, "a"), hubOf(t, tenants, "b")
	at := func(path string) *wstest.Browser {
		p, err := srv.TryOpen(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.CloseNow() })
		return p
	}
	inA, inB := at("/a"), at("/b")
	a.Broadcast([]byte("1"))
	inA.Expect(t, "1")
	stopping := wstest.Begin(func() {
		if err := tenants.Stop(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	})
	inA.Ends(t, websocket.StatusGoingAway)
	wstest.Receive(t, "Stop returns", stopping)
	if err := a.BroadcastContext(t.Context(), nil); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	for _, name := range []string{"a", "never", ""} {
		if err := tenants.Stop(t.Context(), name); err != nil {
			t.Errorf("Stop(%q) of none that runs: %v", name, err)
		}
	}
	again := &wstest.Probe{}
	hubOf(t, tenants, "a").Register(again)
	a.Broadcast([]byte("2"))
	again.Expect(t, "2")
	if err := a.Shutdown(t.Context()); err != nil { // its own is Stop
		t.Error(err)
	}
	again.Expect(t, "2", wstest.Closed)
	hubOf(t, tenants, "a")

	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tenants.Shutdown(stopped); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	inB.Ends(t, websocket.StatusGoingAway)
	if err := tenants.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := tenants.Hub("a"); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	if err := b.BroadcastContext(t.Context(), nil); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	if names := tenants.Names(); len(names) > 0 {
		t.Error(names)
	}
	late := &wstest.Probe{}
	a.Register(late)
	late.Expect(t, wstest.Closed)
}

// One whose subscriber never returns does not keep the others from being drained, nor Shutdown from returning.
func TestShutdownOfManyIsBoundedWhateverOneDoes(t *testing.T) {
	const many = 1000
	hang := make(chan struct{})
	tenants := newTenants(t, func(string) []wskit.HubOption { return []wskit.HubOption{wskit.WithDrainTimeout(time.Second)} })
	defer close(hang)
	probes := make([]*wstest.Probe, many)
	for i := range probes {
		probes[i] = &wstest.Probe{}
		if i == many/2 {
			probes[i].OnClose = func() { <-hang }
		}
		hubOf(t, tenants, fmt.Sprint(i)).Register(probes[i])
	}
	wstest.Quickly(t, "Shutdown", 10*time.Second, func() {
		if err := tenants.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	for _, p := range probes {
		p.Expect(t, wstest.Closed)
	}
}

// A panic in configure is the error of who wants that tenant, and no other's; it is asked again the next time.
func TestAPanicInConfigureIsTheErrorOfWhoWantsThatTenant(t *testing.T) {
	var bad atomic.Int32
	tenants := newTenants(t, func(name string) []wskit.HubOption {
		if name != "bad" {
			return nil
		}
		switch bad.Add(1) {
		case 1:
			panic("configure")
		case 2:
			runtime.Goexit()
		case 3:
			return []wskit.HubOption{func(*wskit.Hub) { panic("option") }}
		}
		return []wskit.HubOption{nil}
	})
	for _, what := range []string{"configure", "Goexit", "option"} {
		var failed *wskit.PanicError
		if _, err := tenants.Hub("bad"); !errors.As(err, &failed) || !strings.Contains(fmt.Sprint(failed.Value), what) {
			t.Errorf("%s: %v", what, err)
		}
		hubOf(t, tenants, "good")
	}
	hubOf(t, tenants, "bad")
}

// Whoever waits for a hub that is being made waits as long as its context lets it, and no other tenant waits.
func TestACallWaitsForATenantAsLongAsItsContextLetsIt(t *testing.T) {
	made, hold := atomic.Int32{}, make(chan struct{})
	tenants := newTenants(t, func(name string) []wskit.HubOption {
		if name == "slow" && made.Add(1) > 1 {
			<-hold
		}
		return nil
	}, wskit.WithIdleTimeout(time.Millisecond))
	slow := hubOf(t, tenants, "slow")
	idled(t, tenants)
	ctx, cancel := context.WithTimeout(t.Context(), wstest.Hush)
	defer cancel()
	p := &wstest.Probe{}
	for what, call := range map[string]func() error{
		"Register":  func() error { return slow.RegisterContext(ctx, p) },
		"Broadcast": func() error { return slow.BroadcastEventContext(ctx, 1) },
	} {
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
	}
	hubOf(t, tenants, "quick").Broadcast([]byte("x"))
	close(hold)
	hub := hubOf(t, tenants, "slow")
	hub.Register(p)
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
}

// The tenants' own actor survives whatever it is sent, and so do the hubs.
func TestACrashOfTheTenantsActorCostsNoHub(t *testing.T) {
	tenants := newTenants(t, nil)
	hub, p := hubOf(t, tenants, "a"), &wstest.Probe{}
	hub.Register(p)
	id := hub.PID().Id
	pid := actors.System().NewLocalPID(id[:strings.LastIndex(id, "/")])
	for _, m := range []any{&actors.Crash{Reason: "test"}, (*actors.Tenant)(nil), (*actors.Shutdown)(nil), actors.Tenant{}, 1, &actors.StopTenant{}, &actors.TenantNames{}, &actors.Tenant{}, &actors.ToTenant{}} {
		actors.System().Root.Send(pid, m)
	}
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
	if hub != hubOf(t, tenants, "a") {
		t.Error("another hub")
	}
}

// Handler serves WebSockets and streams for all tenants, and answers whoever it has no hub for.
func TestOneHandlerServesAllTenantsOverBothTransports(t *testing.T) {
	var records wstest.LogRecorder
	tenants := newTenants(t, func(name string) []wskit.HubOption {
		if name == "broken" {
			panic("configure")
		}
		return nil
	}, wskit.WithMaxTenants(2), wskit.WithTenantsLogger(records.Logger()))
	srv := wstest.Listen(t, wstest.TCP, tenants.Handler(func(r *http.Request) (string, error) {
		switch name := r.URL.Path[1:]; name {
		case "unknown":
			return "", errors.New("no such tenant")
		case "401":
			return "", fmt.Errorf("token: %w", wskit.ErrUnauthorized)
		case "403":
			return "", wskit.ErrForbidden
		case "panic":
			panic("name")
		default:
			return name, nil
		}
	}))
	streams := map[string]*wstest.Stream{}
	for _, name := range []string{"a", "b"} {
		streams[name] = srv.StreamAt(t, "/"+name)
	}
	sockets := map[string]*wstest.Browser{}
	for _, name := range []string{"a", "b"} {
		p, err := srv.TryOpen("/" + name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.CloseNow() })
		sockets[name] = p
	}
	for _, name := range []string{"a", "b"} {
		hubOf(t, tenants, name).Broadcast([]byte("to " + name))
		streams[name].Expect(t, "to "+name)
		sockets[name].Expect(t, "to "+name)
	}
	for path, want := range map[string]int{"/unknown": 404, "/": 404, "/401": 401, "/403": 403, "/panic": 500, "/broken": 503} {
		if _, err := srv.TryOpen(path); err == nil || !strings.Contains(err.Error(), fmt.Sprint(want)) {
			t.Errorf("%s: %v, want %d", path, err, want)
		}
	}
	// A page is to come back when there is no room; a program is told when.
	if events := srv.StreamAt(t, "/c"); !strings.HasPrefix(<-events.Events, "[retry:") {
		t.Error("it is not told to come back")
	}
	_ = sockets["b"].CloseNow()
	if err := tenants.Stop(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	if _, err := srv.TryOpen("/broken"); err == nil || !strings.Contains(err.Error(), "500") {
		t.Error(err)
	}
	wstest.Eventually(t, "both panics are logged", func() bool { return len(records.Find("wskit: crash")) == 2 })
}

// "No two have the same channel, and nothing of one is another's": a topic of "a" is not the tenant "a:b".
func TestTenantsOnOneRedisNeverHearEachOther(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		wstest.Clean(t)
		client := srv.Client(t)
		here := newTenants(t, nil, wskit.WithTenantsRedis(client, "app:"))
		there := newTenants(t, nil, wskit.WithTenantsRedis(client, "app:"))
		names := []string{"a", "a:b", "a::b", "a::control", "a::user:u", "a%3Ab", "a}", "{a}", "b"}
		topics := []string{"", "b", ":b", "::b", "control", ":control", "user:u"}
		type seat struct{ name, topic string }
		probes := map[seat]*wstest.Probe{}
		for _, name := range names {
			for _, topic := range topics {
				p, hub := &wstest.Probe{}, hubOf(t, there, name)
				probes[seat{name, topic}] = p
				hub.Register(p)
				if topic != "" {
					if err := hub.Topic(topic).Join(p); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		for _, name := range names {
			for _, topic := range topics {
				to := hubOf(t, here, name).Everyone()
				if topic != "" {
					to = hubOf(t, here, name).Topic(topic).Audience
				}
				wstest.Eventually(t, "a subscription", func() bool {
					_ = to.BroadcastEvent(t.Context(), "early")
					return slices.Contains(probes[seat{name, topic}].All(), `"early"`)
				})
			}
		}
		for _, name := range names {
			for _, topic := range topics[1:] {
				if err := hubOf(t, here, name).Topic(topic).BroadcastEventContext(t.Context(), name+" "+topic); err != nil {
					t.Error(err)
				}
			}
			if err := hubOf(t, here, name).BroadcastEventContext(t.Context(), "all "+name); err != nil {
				t.Error(err)
			}
		}
		for at, p := range probes {
			want := []string{fmt.Sprintf("%q", "all "+at.name)}
			if at.topic != "" {
				want = append([]string{fmt.Sprintf("%q", at.name+" "+at.topic)}, want...)
			}
			late := func() []string {
				return slices.DeleteFunc(p.All(), func(s string) bool { return s == `"early"` })
			}
			wstest.Poll(wstest.Patience, func() bool { return len(late()) >= len(want) })
			if got := late(); !slices.Equal(got, want) {
				t.Errorf("%q got %q, want %q", at, got, want)
			}
		}
	})
}

// Tenants that were made and have idled out leave nothing behind.
func TestTenantsThatHaveIdledOutLeaveNothing(t *testing.T) {
	tenants := newTenants(t, nil, wskit.WithIdleTimeout(10*time.Millisecond))
	many := 20_000
	if raceDetector || testing.Short() {
		many = 2_000
	}
	round := func(n int) (heap uint64, goroutines, processes int) {
		together := make([]*wstest.Probe, n/10)
		for i := range n {
			hub := hubOf(t, tenants, fmt.Sprint("tenant-", i))
			if i < len(together) {
				together[i] = &wstest.Probe{}
				hub.Register(together[i])
			}
			hub.Broadcast([]byte("x"))
		}
		for i, p := range together {
			hubOf(t, tenants, fmt.Sprint("tenant-", i)).Unregister(p)
		}
		idled(t, tenants)
		wstest.Poll(5*time.Second, func() bool { return runtime.NumGoroutine() < 20 })
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, runtime.NumGoroutine(), len(wstest.Processes(actors.System()))
	}
	round(100)
	heap, goroutines, processes := round(100)
	heapAfter, goroutinesAfter, processesAfter := round(many)
	t.Logf("heap %d -> %d KB, goroutines %d -> %d, actors %d -> %d", heap>>10, heapAfter>>10, goroutines, goroutinesAfter, processes, processesAfter)
	if heapAfter > heap+6<<20 { // 2,000 that ran at a time would be 18 MB
		t.Errorf("%d KB of heap are left", (heapAfter-heap)>>10)
	}
	if processesAfter != processes || goroutinesAfter > goroutines+10 {
		t.Error("actors or goroutines are left")
	}
}

func TestTheStatsOfTenantsAreTheSumOfTheirHubsThoseThatHaveEndedToo(t *testing.T) {
	tenants := newTenants(t, nil)
	const many = 3
	for i := range many {
		hub := hubOf(t, tenants, fmt.Sprint("stats-", i))
		probe := &wstest.Probe{}
		hub.Register(probe)
		hub.Broadcast([]byte("x"))
		wstest.Eventually(t, "the broadcast", func() bool { return probe.Len() == 1 })
	}
	now := func(hubs, subscribers int) {
		t.Helper()
		wstest.Eventually(t, "the sum is right", func() bool {
			s := tenants.Stats()
			return s.Hubs == hubs && s.Subscribers[actors.TransportOther] == subscribers && s.Broadcasts == many && s.Deliveries == many
		})
	}
	now(many, many)
	if err := tenants.Stop(t.Context(), "stats-1"); err != nil {
		t.Fatal(err)
	}
	now(many-1, many-1)
	if err := tenants.Shutdown(t.Context()); err != nil || tenants.Stats() != (wskit.Stats{}) {
		t.Error(err, tenants.Stats())
	}
	if (*wskit.Tenants)(nil).Stats() != (wskit.Stats{}) {
		t.Error("of no tenants there is something")
	}
}
