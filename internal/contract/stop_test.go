package contract_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// Whoever registers while the hub stops is closed exactly once, by the hub or by Register; the callbacks are paired.
func TestWhoeverRegistersWhileTheHubStopsIsClosedExactlyOnce(t *testing.T) {
	for range 8 {
		var in, out atomic.Int64
		hub := run(t, wskit.WithOnConnect(func(wskit.Subscriber) { in.Add(1) }), wskit.WithOnDisconnect(func(wskit.Subscriber) { out.Add(1) }))
		var mu sync.Mutex
		var all []*probe
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for running := true; running; {
					select {
					case <-hub.done:
						running = false
					default:
					}
					p := &probe{}
					hub.Register(p)
					mu.Lock()
					all = append(all, p)
					mu.Unlock()
				}
			})
		}
		eventually(t, "some are registered", func() bool { return hub.SubscriberCount() > 10 })
		hub.halt(t)
		group.Wait()
		for _, p := range all {
			p.expect(t, closed)
		}
		if in.Load() != out.Load() {
			t.Errorf("%d connected, %d disconnected", in.Load(), out.Load())
		}
	}
}

// Connections that come while the hub stops are refused or told 1001: none hangs, no handler stays, nothing is left.
func TestConnectionsThatComeWhileTheHubStopsAreRefusedOrEnded(t *testing.T) {
	for range 5 {
		hub := run(t)
		srv := serve(t, hub.Hub, serving{})
		var opened, ended atomic.Int64
		var group sync.WaitGroup
		for i := range 16 {
			group.Go(func() {
				for refused := false; !refused; {
					if i%2 == 0 {
						resp, err := srv.Client().Get(srv.URL + "/sse")
						if err != nil {
							t.Error(err)
							return
						}
						opened.Add(1)
						parseEvents(resp.Body, make(chan string, 9))
						_ = resp.Body.Close()
						refused = resp.StatusCode == http.StatusServiceUnavailable
						ended.Add(1)
						continue
					}
					conn, _, err := websocket.Dial(context.Background(), srv.URL+"/ws", &websocket.DialOptions{HTTPClient: srv.Client()})
					if err != nil {
						refused = true
						continue
					}
					opened.Add(1)
					_, err = (&peer{conn}).next()
					if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway && code != websocket.StatusTryAgainLater {
						t.Error(err)
					}
					_ = conn.CloseNow()
					ended.Add(1)
				}
			})
		}
		eventually(t, "all are there", func() bool { return opened.Load() >= 16 })
		hub.stop()
		receive(t, "everybody is told", begin(group.Wait))
		hub.halt(t)
		if opened.Load() != ended.Load() {
			t.Error(opened.Load(), ended.Load())
		}
	}
}

// A client made for a hub that has stopped is a closed one, and its peer is told.
func TestNewClientOnAStoppedHubIsClosed(t *testing.T) {
	hub := run(t)
	hub.count(t, 0)
	hub.halt(t)
	pumps := make(chan (<-chan struct{}), 2)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c := wskit.NewClient(hub.Hub, conn, context.Background())
		if err := c.SendErr([]byte("x")); !errors.Is(err, wskit.ErrHubStopped) {
			t.Error(err)
		}
		hub.Register(c)
		pumps <- begin(c.ReadPump)
		pumps <- begin(c.WritePump)
	}))
	t.Cleanup(srv.Close)
	conn, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	(&peer{conn}).ends(t, websocket.StatusGoingAway)
	receive(t, "a pump returns", <-pumps)
	receive(t, "the other pump returns", <-pumps)
}

// A closed client, the zero one included, becomes no member by being registered.
func TestRegisterOfAClosedClientIsIgnored(t *testing.T) {
	hub := run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { t.Errorf("OnConnect of a closed %T", s) }))
	sse := wskit.NewSSEClient(hub.Hub, 1)
	sse.Close()
	for _, s := range []wskit.Subscriber{sse, &wskit.Client{}, &wskit.SSEClient{}, wskit.NewClient(nil, nil, nil), wskit.NewSSEClient(nil, 1)} {
		hub.Register(s)
	}
	p := &probe{}
	hub.Unregister(p) // behind the others
	if !poll(time.Second, func() bool { return len(tree(t, hub.Hub)) == 4 }) {
		t.Error(tree(t, hub.Hub))
	}
	if n := hub.SubscriberCount(); n != 0 {
		t.Error(n, "subscribers")
	}
}

// User code that ends its goroutine, as t.FailNow does, costs what a panic costs.
func TestUserCodeThatEndsItsGoroutineCostsWhatAPanicCosts(t *testing.T) {
	for _, name := range []string{"OnConnect", "OnDisconnect", "OnError", "Send", "Close", "OnMessage"} {
		t.Run(name, func(t *testing.T) {
			exit := func(at string) {
				if at == name {
					runtime.Goexit()
				}
			}
			hub := run(t, wskit.WithOnConnect(func(wskit.Subscriber) {
				exit("OnConnect")
				if name == "OnError" {
					panic("for OnError")
				}
			}), wskit.WithOnDisconnect(func(wskit.Subscriber) { exit("OnDisconnect") }),
				wskit.WithOnError(func(string, error) { exit("OnError") }),
				wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
					if string(data) == "exit" {
						exit("OnMessage")
					}
					echo(c, data)
				}))
			srv := serve(t, hub.Hub, serving{})
			for range 3 {
				bad := &probe{onSend: func(string) bool { exit("Send"); return true }, onClose: func() { exit("Close") }}
				hub.Register(bad)
				hub.Broadcast([]byte("x"))
				hub.Unregister(bad)
				eventually(t, "Close", func() bool { return strings.HasSuffix(bad.all(), closed) })
			}
			p, _ := srv.dial(t)
			p.say(t, "exit")
			if text, err := p.next(); name == "OnMessage" && err == nil || name != "OnMessage" && text != "echo exit" {
				t.Error(text, err)
			}
			_ = p.CloseNow()
			hub.count(t, 0)
			good := &probe{}
			hub.Register(good)
			hub.Broadcast([]byte("1"))
			good.expect(t, "1")
		})
	}
}
