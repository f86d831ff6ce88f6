package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
)

// eventSourcePage opens a stream and keeps what becomes of it.
const eventSourcePage = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>EventSource</title><script>
const begun = performance.now();
const seen = {opened: 0, errors: 0, firstOpen: -1, messages: []};
const source = new EventSource("/events");
source.onopen = () => { if (!seen.opened++) seen.firstOpen = performance.now() - begun; };
source.onerror = () => { seen.errors++; };
source.onmessage = (e) => { seen.messages.push(e.data); };
</script>`

type seen struct {
	Opened    int      `json:"opened"`
	Errors    int      `json:"errors"`
	FirstOpen float64  `json:"firstOpen"` // ms
	Messages  []string `json:"messages"`
	State     int      `json:"state"` // 0: connecting, 1: open, 2: closed for good
}

func (tab *tab) seen(t *testing.T) seen {
	t.Helper()
	return evaluate[seen](t, tab, `({...seen, state: source.readyState})`)
}

// eventSource is a page with an EventSource of whatever hub is current.
type eventSource struct {
	hub atomic.Pointer[wskit.Hub]
	tab *tab
}

// runHub is a hub that runs until the test ends.
func runHub(t *testing.T, opts ...wskit.HubOption) *wskit.Hub {
	t.Helper()
	hub := wskit.NewHub(append(opts, wskit.WithDrainTimeout(time.Second))...)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); hub.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return hub
}

func openEventSource(t *testing.T, b *browser, hub *wskit.Hub) *eventSource {
	t.Helper()
	e := &eventSource{}
	e.hub.Store(hub)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, eventSourcePage)
	})
	mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) { _ = wskit.AcceptSSE(w, r, e.hub.Load()) })
	srv := httptest.NewServer(mux)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	e.tab = b.open(t, &server{url: srv.URL})
	return e
}

// hears waits until the page has heard of it that it says so.
func (e *eventSource) hears(t *testing.T, message, want string) {
	t.Helper()
	eventually(t, func() error {
		e.hub.Load().Broadcast([]byte(message))
		s := e.tab.seen(t)
		for _, m := range s.Messages {
			if m == want {
				return nil
			}
		}
		return fmt.Errorf("%+v", s)
	})
}

// occupant is a subscriber that takes a place.
type occupant struct{}

func (*occupant) Send([]byte) bool { return true }
func (*occupant) Close()           {}

func TestAnEventSource(t *testing.T) {
	b := startBrowser(t)
	for name, opts := range map[string][]wskit.HubOption{"net/http": nil, "hijacked": {wskit.WithSSEHijack()}} {
		t.Run(name, func(t *testing.T) {
			t.Run("is open at once, and reads bytes that are no text", func(t *testing.T) {
				e := openEventSource(t, b, runHub(t, opts...))
				e.hears(t, "a\xff\xfe b", "a\ufffd\ufffd b")
				if s := e.tab.seen(t); s.FirstOpen > 5000 || s.Opened != 1 || s.Errors != 0 {
					t.Errorf("%+v", s)
				}
			})
			t.Run("comes back to a hub that was full", func(t *testing.T) {
				hub, first := runHub(t, append(opts, wskit.WithMaxSubscribers(1))...), &occupant{}
				hub.Register(first)
				e := openEventSource(t, b, hub)
				eventually(t, func() error {
					if s := e.tab.seen(t); s.Errors == 0 {
						return fmt.Errorf("%+v", s)
					}
					return nil
				})
				hub.Unregister(first)
				e.hears(t, "room again", "room again")
			})
			t.Run("comes back when another hub has taken the place of one that drains", func(t *testing.T) {
				left, held := make(chan struct{}), make(chan struct{})
				old := wskit.NewHub(append(opts, wskit.WithOnDisconnect(func(wskit.Subscriber) { close(left); <-held }))...)
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); old.Run(ctx) }()
				old.Register(&occupant{})
				stop()
				<-left // it drains
				e := openEventSource(t, b, old)
				eventually(t, func() error {
					if s := e.tab.seen(t); s.Errors == 0 {
						return fmt.Errorf("%+v", s)
					}
					return nil
				})
				e.hub.Store(runHub(t, opts...))
				close(held)
				e.hears(t, "the new one", "the new one")
				<-done
			})
			t.Run("gives up where the refusal is a status", func(t *testing.T) {
				hub := runHub(t, append(opts, wskit.WithMaxSubscribers(1), wskit.WithSSERefusalStatus())...)
				hub.Register(&occupant{})
				e := openEventSource(t, b, hub)
				eventually(t, func() error {
					if s := e.tab.seen(t); s.State != 2 {
						return fmt.Errorf("%+v", s)
					}
					return nil
				})
			})
		})
	}
}
