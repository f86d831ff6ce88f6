package attack_test

import (
	"bufio"
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// At n subscribers Accept answers 503 with Retry-After, and AcceptSSE too if it is to say so by a status, and else has the client
// come back; a place that comes free is given away again.
func TestBeyondNSubscribersAcceptAndAcceptSSERefuse(t *testing.T) {
	const n = 3
	for _, path := range []string{"ws", "sse", "sse by status"} {
		path, byStatus := strings.CutSuffix(path, " by status")
		opts := []wskit.HubOption{wskit.WithMaxSubscribers(n)}
		if byStatus {
			opts = append(opts, wskit.WithSSERefusalStatus())
		}
		refused := func(resp *http.Response) bool {
			if path == "sse" && !byStatus {
				return resp.StatusCode == http.StatusOK && resp.ContentLength > 0 // it is over
			}
			return resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != ""
		}
		t.Run(path, func(t *testing.T) {
			h := wstest.Run(t, opts...)
			srv := serve(t, h.Hub)
			failures := map[string]chan error{"ws": srv.Refused, "sse": srv.Streamed}[path]
			var conns []*wstest.Peer
			for i := range n {
				r, resp := ask(t, srv, []string{"ws", "sse"}[i%2])
				if resp.StatusCode >= 300 {
					t.Fatal(i, resp.Status)
				}
				conns = append(conns, r)
				h.Count(t, i+1)
			}
			for range 3 {
				_, resp := ask(t, srv, path)
				if !refused(resp) {
					t.Error(resp.Status, resp.Header)
				}
				if err := wstest.Receive(t, "the handler's error", failures); !errors.Is(err, wskit.ErrTooManySubscribers) {
					t.Error(err)
				}
			}
			_ = conns[0].Close()
			h.Count(t, n-1)
			if _, resp := ask(t, srv, path); resp.StatusCode >= 300 || refused(resp) {
				t.Error("the place that came free:", resp.Status)
			}
			h.Count(t, n)
			if _, resp := ask(t, srv, path); !refused(resp) {
				t.Error("one too many:", resp.Status)
			}
		})
	}
}

// What is registered with Register counts and is not refused.
func TestRegisterCountsAndIsNotRefused(t *testing.T) {
	h := wstest.Run(t, wskit.WithMaxSubscribers(2))
	srv := serve(t, h.Hub)
	subs := []*wstest.Probe{{}, {}, {}}
	for _, p := range subs {
		h.Register(p)
	}
	h.Count(t, 3)
	if _, resp := ask(t, srv, "ws"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Error(resp.Status)
	}
	h.Unregister(subs[0])
	h.Unregister(subs[1])
	h.Settled(t)
	if _, resp := ask(t, srv, "ws"); resp.StatusCode != http.StatusSwitchingProtocols {
		t.Error(resp.Status)
	}
}

// bare is a ResponseWriter that can flush and nothing more.
type bare struct {
	header http.Header
	status atomic.Int32
}

func newBare() *bare                        { return &bare{header: http.Header{}} }
func (b *bare) Header() http.Header         { return b.header }
func (b *bare) WriteHeader(status int)      { b.status.Store(int32(status)) }
func (b *bare) Write(p []byte) (int, error) { return len(p), nil }
func (b *bare) Flush()                      {}

// Accepts at once never let in more than n, and no fewer: n who come together all get in.
func TestAcceptsAtOnceLetInExactlyN(t *testing.T) {
	const n = 4
	h := wstest.Run(t, wskit.WithMaxSubscribers(n))
	for round := range 400 {
		wanted := n + round%2*3 // exactly as many as there is room for, or more
		ctx, leave := context.WithCancel(context.Background())
		var streams sync.WaitGroup
		var in, refused atomic.Int32
		for range wanted {
			streams.Go(func() {
				r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx)
				in.Add(1)
				if err := wskit.AcceptSSE(newBare(), r, h.Hub); errors.Is(err, wskit.ErrTooManySubscribers) {
					refused.Add(1)
					in.Add(-1)
				}
			})
		}
		most := 0
		ok := wstest.Poll(wstest.Patience, func() bool {
			most = max(most, h.SubscriberCount())
			return int(in.Load()+refused.Load()) == wanted && h.SubscriberCount() == int(in.Load())
		})
		got := int(in.Load())
		leave()
		streams.Wait()
		h.Count(t, 0)
		if !ok || got != n || most > n {
			t.Fatalf("round %d: of %d at once %d got in, at most %d at a time; there was room for %d", round, wanted, got, most, n)
		}
	}
}

// hijackPanics is a ResponseWriter of a middleware that has a bug.
type hijackPanics struct{ http.ResponseWriter }

func (hijackPanics) Hijack() (net.Conn, *bufio.ReadWriter, error) { panic("hijack") }

// A place is given back after whatever has kept its connection from coming about.
func TestPlacesComeBackAfterWhatFails(t *testing.T) {
	upgrade := func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
		return r
	}
	accept := func(h *wstest.Hub, w http.ResponseWriter, r *http.Request, opts ...wskit.ClientOption) {
		defer func() { _ = recover() }() // as net/http does for a handler
		if _, err := wskit.Accept(r.Context(), w, r, h.Hub, nil, opts...); err == nil {
			panic("accepted")
		}
	}
	for name, fail := range map[string]func(h *wstest.Hub){
		"no upgrade request":           func(h *wstest.Hub) { accept(h, httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)) },
		"a writer without Hijack":      func(h *wstest.Hub) { accept(h, httptest.NewRecorder(), upgrade()) },
		"a writer whose Hijack panics": func(h *wstest.Hub) { accept(h, hijackPanics{httptest.NewRecorder()}, upgrade()) },
		"a client option that panics": func(h *wstest.Hub) {
			accept(h, httptest.NewRecorder(), upgrade(), func(*wskit.ClientConfig) { panic("option") })
		},
		"a stream whose client is gone": func(h *wstest.Hub) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_ = wskit.AcceptSSE(newBare(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), h.Hub)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := wstest.Run(t, wskit.WithMaxSubscribers(2))
			for range 5 {
				fail(h)
			}
			h.Count(t, 0)
			srv := serve(t, h.Hub)
			for i := range 2 {
				// A registration that the registry has not taken yet, of a client that has gone, still holds its place.
				wstest.Eventually(t, "the place is back", func() bool {
					_, resp := ask(t, srv, "ws")
					return resp.StatusCode == http.StatusSwitchingProtocols
				})
				h.Count(t, i+1)
			}
		})
	}
}

// A place is given back when the hub's queue stayed full.
func TestPlacesComeBackAfterTimeouts(t *testing.T) {
	wstest.Clean(t)
	h := wskit.NewHub(wskit.WithMaxSubscribers(2), wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(10*time.Millisecond),
		wskit.WithDrainTimeout(margin/10))
	srv := serve(t, h)
	for i := range 6 {
		if i%2 == 0 {
			if _, resp := ask(t, srv, "sse"); resp.ContentLength <= 0 { // a stream that goes on has no length
				t.Error(resp.Header)
			}
			if err := wstest.Receive(t, "AcceptSSE fails", srv.Streamed); !errors.Is(err, wskit.ErrTimeout) {
				t.Error(i, err)
			}
			continue
		}
		r, _ := ask(t, srv, "ws")
		if err := wstest.Receive(t, "Accept fails", srv.Refused); !errors.Is(err, wskit.ErrTimeout) {
			t.Error(i, err)
		}
		r.Ends(t, 1013, "try again later")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := wstest.Begin(func() { h.Run(ctx) })
	for i := range 2 {
		if _, resp := ask(t, srv, "ws"); resp.StatusCode != http.StatusSwitchingProtocols {
			t.Error(i, resp.Status)
		}
		wstest.Eventually(t, "it is a member", func() bool { return h.SubscriberCount() == i+1 })
	}
	srv.CloseClientConnections()
	cancel()
	wstest.Receive(t, "Run returns", done)
}

// Without a bound, and with one that makes no sense, everybody gets in.
func TestNoBoundLetsEverybodyIn(t *testing.T) {
	for _, n := range []int{0, -1, math.MinInt} {
		h := wstest.Run(t, wskit.WithMaxSubscribers(n))
		srv := serve(t, h.Hub)
		for range 5 {
			silent(t, srv)
		}
		h.Count(t, 5)
	}
}
