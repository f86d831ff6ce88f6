package contract_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// ready is how the hub's Ready answers.
func ready(hub *wskit.Hub, method string, opts ...wskit.ReadyOption) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	hub.Ready(opts...).ServeHTTP(w, httptest.NewRequest(method, "/ready", nil))
	return w
}

func expectReady(t *testing.T, hub *wskit.Hub, status int, opts ...wskit.ReadyOption) {
	t.Helper()
	wstest.Eventually(t, "Ready says "+http.StatusText(status), func() bool { return ready(hub, http.MethodGet, opts...).Code == status })
}

func TestReadySaysWhetherTheHubRuns(t *testing.T) {
	hub := wstest.Idle(t)
	w := ready(hub.Hub, http.MethodGet)
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "not ready\n" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("before it is used: %d %q %v", w.Code, w.Body, w.Header())
	}
	hub.PID()
	if w := ready(hub.Hub, http.MethodGet); w.Code != http.StatusServiceUnavailable {
		t.Error("before it runs:", w.Code)
	}
	hub.Start(t)
	expectReady(t, hub.Hub, http.StatusOK)
	if w := ready(hub.Hub, http.MethodGet); w.Body.String() != "ok\n" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%q %v", w.Body, w.Header())
	}
	if w := ready(hub.Hub, http.MethodHead); w.Code != http.StatusOK {
		t.Error("HEAD:", w.Code)
	}
	if w := ready(hub.Hub, http.MethodPost); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Error("POST:", w.Code, w.Header())
	}
	hub.Halt(t)
	if w := ready(hub.Hub, http.MethodGet); w.Code != http.StatusServiceUnavailable {
		t.Error("when it has ended:", w.Code)
	}
	var none *wskit.Hub
	if w := ready(none, http.MethodGet); w.Code != http.StatusServiceUnavailable {
		t.Error("no hub:", w.Code)
	}
	failing := wstest.Run(t)
	expectReady(t, failing.Hub, http.StatusOK)
	registry := wstest.One(t, failing.Hub, "registry")
	for range 50 {
		wstest.Crash(registry, "test")
	}
	wstest.Receive(t, "Run returns", failing.Done)
	if w := ready(failing.Hub, http.MethodGet); w.Code != http.StatusServiceUnavailable {
		t.Error("when it has failed:", w.Code)
	}
}

// "From the moment it begins to end": before the first is told, whoever asks.
// Only where that is asked for, and of a hub that has Redis.
func TestReadyMayAskForRedis(t *testing.T) {
	redis := redistest.Start(t)
	hub, without := wstest.Run(t, wskit.WithRedis(redis.Client(t), "ready")), wstest.Run(t)
	expectReady(t, without.Hub, http.StatusOK, wskit.WithRedisRequired())
	expectReady(t, hub.Hub, http.StatusServiceUnavailable, wskit.WithRedisRequired(), nil) // it is not known yet
	ctx, stop := context.WithCancel(context.Background())
	done := wstest.Begin(func() { hub.SubscribeToRedis(ctx) })
	defer func() { stop(); <-done }()
	expectReady(t, hub.Hub, http.StatusOK, wskit.WithRedisRequired())
	redis.Kill()
	expectReady(t, hub.Hub, http.StatusServiceUnavailable, wskit.WithRedisRequired())
	expectReady(t, hub.Hub, http.StatusOK)
	redis.Restart()
	expectReady(t, hub.Hub, http.StatusOK, wskit.WithRedisRequired())
}

func TestReadySaysSoBeforeTheFirstIsTold(t *testing.T) {
	for name, end := range map[string]func(*wstest.Hub){
		"Run's context": func(h *wstest.Hub) { h.Stop() },
		"Shutdown":      func(h *wstest.Hub) { go func() { _ = h.Shutdown(context.Background()) }() },
	} {
		t.Run(name, func(t *testing.T) {
			const n = 8
			hub := wstest.Run(t, wskit.WithDrainSpread(100*time.Millisecond), wskit.WithDrainTimeout(20*time.Second))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			expectReady(t, hub.Hub, http.StatusOK)
			var clients leavers
			clients.come(t, hub, srv, n, func(*leaver) {
				if w := ready(hub.Hub, http.MethodGet); w.Code != http.StatusServiceUnavailable {
					t.Error("somebody was told, and Ready says", w.Code)
				}
			})
			end(hub)
			clients.expect(t, n, restart)
			wstest.Receive(t, "Run returns", hub.Done)
		})
	}
}

// actors.Unready changes what Ready says, and nothing else.
func TestUnreadyChangesNothingElse(t *testing.T) {
	hub, _ := wstest.Embed(t, hubactor.Config{})
	expectReady(t, hub.Hub, http.StatusOK)
	actors.System().Root.Send(hub.PID(), &actors.Unready{})
	expectReady(t, hub.Hub, http.StatusServiceUnavailable)
	p := &wstest.Probe{}
	no(t, hub.RegisterContext(t.Context(), p))
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
}

// WithReadyDelay: "with nothing changed but what Ready says, before it closes the port".
func TestServeIsNotReadyBeforeItClosesThePort(t *testing.T) {
	const delay = 1500 * time.Millisecond
	hub := wskit.NewHub(wskit.WithReadyDelay(delay), wskit.WithDrainSpread(100*time.Millisecond), wskit.WithDrainTimeout(5*time.Second))
	srv := serveHub(t, wstest.TCP, hub, none)
	expectReady(t, hub, http.StatusOK)
	first := srv.Open(t)
	wstest.Eventually(t, "it is in", func() bool { return hub.SubscriberCount() == 1 })
	began := time.Now()
	srv.stop()
	expectReady(t, hub, http.StatusServiceUnavailable)
	late := srv.Open(t)
	wstest.Eventually(t, "who comes late is in", func() bool { return hub.SubscriberCount() == 2 })
	hub.Broadcast([]byte("still here"))
	first.Expect(t, "still here")
	late.Expect(t, "still here")
	first.Ends(t, websocket.StatusServiceRestart)
	late.Ends(t, websocket.StatusServiceRestart)
	if took := time.Since(began); took < delay {
		t.Error("told after", took)
	}
	if _, err := srv.TryOpen("/ws"); err == nil {
		t.Error("the port is open")
	}
	no(t, wstest.Receive(t, "Serve returns", srv.result))
}

// A hub that ends during the delay ends it, whoever spawned it.
func TestAReadyDelayIsOverWhenTheHubEnds(t *testing.T) {
	embedded, _ := wstest.Embed(t, hubactor.Config{ReadyDelay: time.Hour})
	for _, hub := range []*wskit.Hub{wskit.NewHub(wskit.WithReadyDelay(time.Hour)), embedded.Hub} {
		srv := serveHub(t, wstest.TCP, hub, none)
		expectReady(t, hub, http.StatusOK)
		srv.stop()
		expectReady(t, hub, http.StatusServiceUnavailable)
		wstest.Silent(t, "Serve returns", srv.result)
		no(t, hub.Shutdown(t.Context()))
		no(t, wstest.Receive(t, "Serve returns", srv.result))
	}
}

// The port closes when the hub begins to drain, whoever wants it to: with a spread that takes its time.
func TestServeClosesThePortWhenASpreadBegins(t *testing.T) {
	hub := wskit.NewHub(wskit.WithDrainSpread(time.Hour))
	srv := serveHub(t, wstest.TCP, hub, none)
	pair := []*wstest.Browser{srv.Open(t), srv.Open(t)}
	wstest.Eventually(t, "they are in", func() bool { return hub.SubscriberCount() == 2 })
	go func() { _ = hub.Shutdown(context.Background()) }()
	wstest.Eventually(t, "the port is closed", func() bool {
		conn, err := net.Dial("tcp", srv.Host())
		if err == nil {
			_ = conn.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	wstest.Eventually(t, "one is told", func() bool { return hub.SubscriberCount() == 1 })
	for _, b := range pair {
		_ = b.CloseNow()
	}
	if err := wstest.Receive(t, "Serve returns", srv.result); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
}
