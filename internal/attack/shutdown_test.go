package attack_test

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// crowd is a hub with clients that read nothing, and healthy ones that will.
func crowd(t *testing.T, srv *wstest.Server, quiet, healthy int) (peers []*wstest.Browser) {
	t.Helper()
	for range quiet {
		silent(t, srv)
	}
	for range healthy {
		p, _ := srv.Browser(t)
		peers = append(peers, p)
	}
	return peers
}

// getAll reads what each peer gets before its close frame.
func getAll(t *testing.T, peers []*wstest.Browser) []<-chan []string {
	var results []<-chan []string
	for _, p := range peers {
		result := make(chan []string, 1)
		results = append(results, result)
		go func() {
			var got []string
			for {
				text, err := p.Next()
				if err != nil {
					if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway {
						got = append(got, "ended: "+err.Error())
					}
					result <- got
					return
				}
				got = append(got, text)
			}
		}()
	}
	return results
}

// A shutdown returns within its timeout though 1000 peers never answer a close frame, and every healthy client gets all 100
// messages that were queued for it, and then 1001.
func TestAThousandSilentPeersCannotHoldUpAShutdownNorCostAMessage(t *testing.T) {
	if testing.Short() {
		t.Skip("1000 connections")
	}
	const drain = 3 * time.Second
	h := wstest.Run(t, wskit.WithDrainTimeout(drain))
	srv := serve(t, h.Hub)
	peers := crowd(t, srv, 1000, 20)
	h.Count(t, 1020)
	want := numbered("m", 100)
	for _, text := range want {
		h.Broadcast([]byte(text))
	}
	results := getAll(t, peers) // reading begins when the shutdown does
	if d := wstest.Took(t, "Shutdown returns", func() {
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}); d > drain+margin {
		t.Errorf("it took %v, more than %v", d, drain)
	}
	for _, result := range results {
		if got := wstest.Receive(t, "a healthy peer ends", result); !slices.Equal(got, want) {
			t.Fatalf("a healthy peer got %d: %.200q", len(got), got)
		}
	}
	h.Count(t, 0)
}

// Where every peer answers, a shutdown waits for no timeout.
func TestAShutdownOfHealthyClientsIsQuick(t *testing.T) {
	h := wstest.Run(t, wskit.WithDrainTimeout(time.Minute))
	srv := serve(t, h.Hub)
	results := getAll(t, crowd(t, srv, 0, 10))
	h.Count(t, 10)
	if d := wstest.Took(t, "Shutdown", func() { _ = h.Shutdown(context.Background()) }); d > wstest.Patience/2 {
		t.Error("it took", d)
	}
	for _, result := range results {
		if got := wstest.Receive(t, "a peer ends", result); got != nil {
			t.Error(got)
		}
	}
}

// The context bounds Shutdown beside the drain timeout: the one that is over first.
func TestShutdownIsBoundedByTheContextAndByTheDrainTimeout(t *testing.T) {
	deadline := func(d time.Duration) func() (context.Context, context.CancelFunc) {
		return func() (context.Context, context.CancelFunc) { return context.WithTimeout(context.Background(), d) }
	}
	cancelled := func() (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		return ctx, cancel
	}
	for name, test := range map[string]struct {
		ctx    func() (context.Context, context.CancelFunc)
		drain  time.Duration
		want   error
		within time.Duration // Shutdown
		stops  time.Duration // the hub
	}{
		"a context shorter than the drain timeout": {deadline(100 * time.Millisecond), 20 * time.Second, context.DeadlineExceeded, 100 * time.Millisecond, 100 * time.Millisecond},
		"a context longer than the drain timeout":  {deadline(15 * time.Second), 100 * time.Millisecond, nil, 100 * time.Millisecond, 100 * time.Millisecond},
		"a context that was cancelled":             {cancelled, 200 * time.Millisecond, context.Canceled, 0, 200 * time.Millisecond},
		"a context whose deadline is over":         {deadline(-time.Second), 200 * time.Millisecond, context.DeadlineExceeded, 0, 200 * time.Millisecond},
		"a context without an end":                 {func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }, 200 * time.Millisecond, nil, 200 * time.Millisecond, 200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			h := wstest.Run(t, wskit.WithDrainTimeout(test.drain))
			crowd(t, serve(t, h.Hub), 3, 0)
			h.Count(t, 3)
			ctx, cancel := test.ctx()
			defer cancel()
			start := time.Now()
			// Where the hub stops at ctx's own deadline, or at once because that is over, it may be found stopped.
			if err := h.Shutdown(ctx); err != nil && !errors.Is(err, test.want) || err == nil && test.want == context.Canceled {
				t.Errorf("%v, want %v", err, test.want)
			}
			if d := time.Since(start); d > test.within+margin {
				t.Errorf("Shutdown took %v, want %v", d, test.within)
			}
			wstest.Receive(t, "Run returns", h.Done)
			if d := time.Since(start); d > test.stops+margin {
				t.Errorf("the hub took %v to stop, want %v", d, test.stops)
			}
		})
	}
}

// However far away the end of the drain is, what was accepted is written.
func TestADrainTimeoutThatNeverEndsCostsNoMessage(t *testing.T) {
	const forever = time.Duration(math.MaxInt64)
	for name, stop := range map[string]func(*wstest.Hub) error{
		"drain timeout": func(h *wstest.Hub) error { return h.Shutdown(context.Background()) },
		"context": func(h *wstest.Hub) error {
			ctx, cancel := context.WithDeadline(context.Background(), time.Now().AddDate(400, 0, 0))
			defer cancel()
			return h.Shutdown(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			drain := 2 * time.Second
			if name == "drain timeout" {
				drain = forever
			}
			h := wstest.Run(t, wskit.WithDrainTimeout(drain))
			// Its peer reads only after the shutdown has begun.
			filler, want := strings.Repeat("x", bulk), numbered("m", 100)
			late, c := silent(t, serve(t, h.Hub))
			h.Count(t, 1)
			stuff(t, c, filler)
			for _, text := range want {
				h.Broadcast([]byte(text))
			}
			h.Settled(t)
			done := wstest.Begin(func() {
				if err := stop(h); err != nil {
					t.Error(err)
				}
			})
			wstest.Poll(500*time.Millisecond, func() bool { // longer than the hub's grace
				select {
				case <-done:
					return true
				default:
					return false
				}
			})
			late.Expect(t, append([]string{filler}, want...)...)
			late.Ends(t, 1001, "server is shutting down")
			_ = late.Close()
			wstest.Receive(t, "Shutdown returns", done)
		})
	}
}

func TestShutdownTwiceAtOnceAndOnAStoppedHub(t *testing.T) {
	h := wstest.Run(t)
	p, c := serve(t, h.Hub).Browser(t)
	h.Count(t, 1)
	results := make(chan error, 8)
	for range cap(results) {
		go func() { results <- h.Shutdown(context.Background()) }()
	}
	p.Ends(t, websocket.StatusGoingAway)
	for range cap(results) {
		if err := wstest.Receive(t, "Shutdown returns", results); err != nil {
			t.Error(err)
		}
	}
	wstest.Receive(t, "Run returns", h.Done)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if d := wstest.Took(t, "Shutdown of a stopped hub", func() {
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := h.Shutdown(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}); d > margin {
		t.Error("it took", d)
	}
	if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
}

// Before Run, Shutdown applies what is queued, closes, and Run then returns at once.
func TestShutdownBeforeRun(t *testing.T) {
	wstest.Clean(t)
	h := wskit.NewHub()
	p := &wstest.Probe{}
	h.Register(p)
	h.Broadcast([]byte("queued"))
	if err := h.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	p.Expect(t, "queued", wstest.Closed)
	if d := wstest.Took(t, "Run returns", func() { h.Run(context.Background()) }); d > margin {
		t.Error("Run took", d)
	}
	unused := wskit.NewHub()
	if err := unused.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestShutdownOfNothingIsAnError(t *testing.T) {
	wstest.Clean(t)
	var none *wskit.Hub
	if err := none.Shutdown(context.Background()); !errors.Is(err, wskit.ErrInvalidArgument) {
		t.Error("nil hub:", err)
	}
	h := wstest.Run(t)
	if err := h.Shutdown(noContext); !errors.Is(err, wskit.ErrInvalidArgument) { //nolint:staticcheck // that is the point
		t.Error("nil context:", err)
	}
	h.Settled(t) // it goes on
}

// A callback or a message handler that shuts the hub down gets its answer; the drain timeout bounds its wait for itself.
func TestShutdownFromACallback(t *testing.T) {
	for _, where := range []string{"OnConnect", "OnDisconnect", "OnMessage", "Send"} {
		t.Run(where, func(t *testing.T) {
			const drain = 300 * time.Millisecond
			var h *wstest.Hub
			results := make(chan error, 1)
			shut := func() { results <- h.Shutdown(context.Background()) }
			ready := make(chan struct{})
			opts := map[string]wskit.HubOption{
				"OnConnect":    wskit.WithOnConnect(func(wskit.Subscriber) { <-ready; shut() }),
				"OnDisconnect": wskit.WithOnDisconnect(func(wskit.Subscriber) { shut() }),
				"OnMessage":    wskit.WithOnMessage(func(*wskit.Client, []byte) { shut() }),
				"Send":         nil,
			}
			h = wstest.Run(t, wskit.WithDrainTimeout(drain), opts[where])
			p, c := serve(t, h.Hub).Browser(t)
			h.Count(t, 1)
			close(ready)
			start := time.Now()
			switch where {
			case "OnDisconnect":
				h.Unregister(c)
			case "OnMessage":
				if err := p.Write(t.Context(), websocket.MessageText, nil); err != nil {
					t.Fatal(err)
				}
			case "Send":
				h.Register(&wstest.Probe{OnSend: func(string) bool { shut(); return true }})
				h.Broadcast([]byte("now"))
			}
			p.Listen(t)
			if err := wstest.Receive(t, "Shutdown returns", results); err != nil {
				t.Error(err)
			}
			wstest.Receive(t, "Run returns", h.Done)
			if d := time.Since(start); d > drain+margin {
				t.Error("it took", d)
			}
		})
	}
}

// Peers that never read, with full queues and full sockets, WebSocket and SSE: gone when the drain timeout is over.
func TestPeersThatNeverReadAreGoneAfterTheDrainTimeout(t *testing.T) {
	const drain = 300 * time.Millisecond
	h := wstest.Run(t, wskit.WithDrainTimeout(drain))
	srv := serve(t, h.Hub)
	for range 20 {
		silent(t, srv)
		if _, resp := ask(t, srv, "sse"); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	h.Count(t, 40)
	text := []byte(strings.Repeat("x", 8<<10))
	for range 2 * wskit.DefaultSendBufSize {
		h.Broadcast(text)
	}
	if d := wstest.Took(t, "Shutdown", func() {
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}); d > drain+margin {
		t.Error("it took", d)
	}
	for range 20 {
		_ = wstest.Receive(t, "AcceptSSE returns", srv.Streamed)
	}
	h.Count(t, 0)
}

// http.Server.Shutdown waits for SSE handlers; with the hub's Shutdown registered it has to wait for nobody else.
func TestRegisterOnShutdownEndsStreamsAndSockets(t *testing.T) {
	h := wstest.Run(t, wskit.WithDrainTimeout(2*time.Second))
	srv := serve(t, h.Hub)
	p, _ := srv.Browser(t)
	resp, err := srv.Client().Get(srv.URL + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	h.Count(t, 2)
	h.Broadcast([]byte("last"))
	srv.Config.RegisterOnShutdown(func() {
		if err := h.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), wstest.Patience/2)
		defer cancel()
		stopped <- srv.Config.Shutdown(ctx)
	}()
	p.Expect(t, "last")
	p.Ends(t, websocket.StatusGoingAway)
	if got := wstest.AllEvents(resp.Body); !slices.Equal(got, []string{"last"}) {
		t.Error(got)
	}
	if err := wstest.Receive(t, "Server.Shutdown returns", stopped); err != nil {
		t.Error(err)
	}
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
		t.Error(err)
	}
	wstest.Receive(t, "Run returns", h.Done)
}

var noContext context.Context
