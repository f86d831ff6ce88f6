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
	"github.com/wskit/wskit/internal/wstest"
)

// Whoever registers while the hub stops is closed exactly once, by the hub or by Register; the callbacks are paired.
func TestWhoeverRegistersWhileTheHubStopsIsClosedExactlyOnce(t *testing.T) {
	for range 8 {
		var in, out atomic.Int64
		hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { in.Add(1) }), wskit.WithOnDisconnect(func(wskit.Subscriber) { out.Add(1) }))
		var mu sync.Mutex
		var all []*wstest.Probe
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for running := true; running; {
					select {
					case <-hub.Done:
						running = false
					default:
					}
					p := &wstest.Probe{}
					hub.Register(p)
					mu.Lock()
					all = append(all, p)
					mu.Unlock()
				}
			})
		}
		wstest.Eventually(t, "some are registered", func() bool { return hub.SubscriberCount() > 10 })
		hub.Halt(t)
		group.Wait()
		for _, p := range all {
			p.Expect(t, wstest.Closed)
		}
		if in.Load() != out.Load() {
			t.Errorf("%d connected, %d disconnected", in.Load(), out.Load())
		}
	}
}

// Connections that come while the hub stops are refused or told 1001: none hangs, no handler stays, nothing is left.
func TestConnectionsThatComeWhileTheHubStopsAreRefusedOrEnded(t *testing.T) {
	for range 5 {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
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
						wstest.AllEvents(resp.Body)
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
					_, err = (&wstest.Browser{Conn: conn}).Next()
					if code := websocket.CloseStatus(err); code != websocket.StatusGoingAway && code != websocket.StatusTryAgainLater {
						t.Error(err)
					}
					_ = conn.CloseNow()
					ended.Add(1)
				}
			})
		}
		wstest.Eventually(t, "all are there", func() bool { return opened.Load() >= 16 })
		hub.Stop()
		wstest.Receive(t, "everybody is told", wstest.Begin(group.Wait))
		hub.Halt(t)
		if opened.Load() != ended.Load() {
			t.Error(opened.Load(), ended.Load())
		}
	}
}

// A client made for a hub that has stopped is a closed one, and its peer is told.
func TestNewClientOnAStoppedHubIsClosed(t *testing.T) {
	hub := wstest.Run(t)
	hub.Count(t, 0)
	hub.Halt(t)
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
		pumps <- wstest.Begin(c.ReadPump)
		pumps <- wstest.Begin(c.WritePump)
	}))
	t.Cleanup(srv.Close)
	conn, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	(&wstest.Browser{Conn: conn}).Ends(t, websocket.StatusGoingAway)
	wstest.Receive(t, "a pump returns", <-pumps)
	wstest.Receive(t, "the other pump returns", <-pumps)
}

// A closed client, the zero one included, becomes no member by being registered.
func TestRegisterOfAClosedClientIsIgnored(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { t.Errorf("OnConnect of a closed %T", s) }))
	sse := wskit.NewSSEClient(hub.Hub, 1)
	sse.Close()
	for _, s := range []wskit.Subscriber{sse, &wskit.Client{}, &wskit.SSEClient{}, wskit.NewClient(nil, nil, nil), wskit.NewSSEClient(nil, 1)} {
		hub.Register(s)
	}
	p := &wstest.Probe{}
	hub.Unregister(p) // behind the others
	if !wstest.Poll(time.Second, func() bool { return len(wstest.Tree(t, hub.Hub)) == 4 }) {
		t.Error(wstest.Tree(t, hub.Hub))
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
			hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) {
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
					wstest.Echo(c, data)
				}))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			for range 3 {
				bad := &wstest.Probe{OnSend: func(string) bool { exit("Send"); return true }, OnClose: func() { exit("Close") }}
				hub.Register(bad)
				hub.Broadcast([]byte("x"))
				hub.Unregister(bad)
				wstest.Eventually(t, "Close", func() bool { return strings.HasSuffix(bad.Text(), wstest.Closed) })
			}
			p, _ := srv.Browser(t)
			p.Say(t, "exit")
			if text, err := p.Next(); name == "OnMessage" && err == nil || name != "OnMessage" && text != "echo exit" {
				t.Error(text, err)
			}
			_ = p.CloseNow()
			hub.Count(t, 0)
			good := &wstest.Probe{}
			hub.Register(good)
			hub.Broadcast([]byte("1"))
			good.Expect(t, "1")
		})
	}
}
