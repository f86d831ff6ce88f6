package contract_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// orderly is a call of wskit.Serve, or ServeTLS.
type orderly struct {
	*wstest.Server
	http   *http.Server
	stop   context.CancelFunc
	result chan error
}

// serveHub has wskit.Serve serve the hub at /ws and /sse and a handler of the test's own at /other, and waits until it does.
func serveHub(t testing.TB, kind wstest.Kind, hub *wskit.Hub, other http.HandlerFunc) *orderly {
	t.Helper()
	addr := make(chan net.Addr, 1)
	return serveWith(t, kind, hubServer(hub, other, addr), addr, func(ctx context.Context, srv *http.Server) error {
		if kind == wstest.TCP {
			return wskit.Serve(ctx, srv, hub)
		}
		return wskit.ServeTLS(ctx, srv, hub, "", "")
	})
}

func serveWith(t testing.TB, kind wstest.Kind, srv *http.Server, addr <-chan net.Addr, serve func(context.Context, *http.Server) error) *orderly {
	t.Helper()
	wstest.Clean(t)
	ctx, stop := context.WithCancel(context.Background())
	o := &orderly{http: srv, stop: stop, result: make(chan error, 1)}
	if kind != wstest.TCP {
		srv.TLSConfig = &tls.Config{Certificates: certificates(t)}
	}
	done := wstest.Begin(func() { o.result <- serve(ctx, srv) })
	t.Cleanup(func() { stop(); wstest.Receive(t, "Serve returns", done) })
	o.Server = wstest.At(t, kind, wstest.Receive(t, "Serve serves", addr))
	return o
}

// hubServer is a server at any free port, which it tells.
func hubServer(hub *wskit.Hub, other http.HandlerFunc, addr chan<- net.Addr) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		if c, err := wskit.Accept(r.Context(), w, r, hub, nil); err == nil {
			go c.Serve()
		}
	})
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) { _ = wskit.AcceptSSE(w, r, hub) })
	mux.HandleFunc("/other", other)
	return anyPort(mux, addr)
}

func anyPort(handler http.Handler, addr chan<- net.Addr) *http.Server {
	return &http.Server{Addr: "127.0.0.1:0", Handler: handler, BaseContext: func(l net.Listener) context.Context {
		addr <- l.Addr()
		return context.Background()
	}}
}

// certificates is those of httptest.
func certificates(t testing.TB) []tls.Certificate {
	srv := httptest.NewTLSServer(nil)
	defer srv.Close()
	return srv.TLS.Certificates
}

func none(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// crowd is clients of both transports that read to their end.
type crowd struct {
	all     sync.WaitGroup
	in      atomic.Int64 // that have got the first message
	endings wstest.List[string]
}

// join has n more clients join, half of them WebSockets.
func (c *crowd) join(srv *wstest.Server, n int) {
	for i := range n {
		c.all.Go(func() {
			if i%2 == 0 {
				c.endings.Add(c.socket(srv))
			} else {
				c.endings.Add(c.stream(srv))
			}
		})
	}
}

func (c *crowd) socket(srv *wstest.Server) string {
	b, err := srv.TryOpen("/ws")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = b.CloseNow() }()
	for {
		data, err := b.Next()
		if err != nil {
			return fmt.Sprint("socket ", websocket.CloseStatus(err))
		}
		if data == "hello" {
			c.in.Add(1)
		}
	}
}

func (c *crowd) stream(srv *wstest.Server) string {
	resp, err := srv.Client().Get(srv.URL + "/sse")
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	err = wstest.ReadEvents(resp.Body, func(data string) {
		if data == "hello" {
			c.in.Add(1)
		}
	}, nil)
	return fmt.Sprint("stream ", err)
}

// expect waits for the end of n clients, of which none may have been cut off.
func (c *crowd) expect(t *testing.T, n int) {
	t.Helper()
	wstest.Receive(t, "all clients end", wstest.Begin(c.all.Wait))
	counts := map[string]int{}
	for _, e := range c.endings.All() {
		counts[e]++
	}
	if counts["socket StatusGoingAway"] != n/2 || counts["stream EOF"] != n/2 {
		t.Errorf("ends: %v, want %d of each transport in good order", counts, n/2)
	}
}

// Serve: "the order in which nobody is cut off", over each kind of connection that it makes.
func TestServeEndsEveryClientInGoodOrder(t *testing.T) {
	for _, kind := range []wstest.Kind{wstest.TCP, wstest.TLS, wstest.HTTP2} {
		t.Run(kind.Name, func(t *testing.T) {
			hub := wskit.NewHub(wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send([]byte("hello")) }))
			srv := serveHub(t, kind, hub, none)
			const n = 100
			var clients crowd
			clients.join(srv.Server, n)
			wstest.Eventually(t, "all are in", func() bool { return clients.in.Load() == n })
			hub.Broadcast([]byte("last"))
			srv.stop()
			if err := wstest.Receive(t, "Serve returns", srv.result); err != nil {
				t.Error(err)
			}
			clients.expect(t, n)
		})
	}
}

const child = "WSKIT_TEST_SERVE" // set: this process is the one that is told to end

// A process that is told to end, and does as soon as Serve has returned, cuts none of its clients off.
func TestAProcessThatIsToldToEndCutsNobodyOff(t *testing.T) {
	if os.Getenv(child) != "" {
		beServed()
	}
	process := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	process.Env, process.Stderr = append(os.Environ(), child+"=1"), os.Stderr
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	addr, err := net.ResolveTCPAddr("tcp", line[:len(line)-1])
	if err != nil {
		t.Fatal(err)
	}
	const n = 500
	var clients crowd
	clients.join(wstest.At(t, wstest.TCP, addr), n)
	wstest.Eventually(t, "all are in", func() bool { return clients.in.Load() == n })
	if err := process.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	clients.expect(t, n)
	if err := process.Wait(); err != nil {
		t.Error("the process ends with", err)
	}
}

// beServed is the program of the README: it serves until it is told to end, and ends.
func beServed() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	hub := wskit.NewHub(wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send([]byte("hello")) }))
	addr := make(chan net.Addr, 1)
	go func() { fmt.Println(<-addr) }()
	if err := wskit.Serve(ctx, hubServer(hub, none, addr), hub); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Serve: "The port is closed", before the hub begins to drain. "Connections that wait for their next request are closed", too.
func TestThePortIsClosedBeforeTheHubDrains(t *testing.T) {
	var srv *orderly
	dialled := make(chan error, 1)
	hub := wskit.NewHub(wskit.WithDrainTimeout(2*time.Second), wskit.WithOnDisconnect(func(wskit.Subscriber) {
		conn, err := net.Dial("tcp", srv.Host())
		if err == nil {
			_ = conn.Close()
		}
		dialled <- err
	}))
	srv = serveHub(t, wstest.TCP, hub, none)
	srv.Open(t) // does not answer a close frame
	idle := srv.Ask(t, "GET", "/other")
	wstest.Eventually(t, "it is in, and has its actor", func() bool { return hub.SubscriberCount() == 1 && len(wstest.Children(t, hub, "ws-")) == 1 })
	srv.stop()
	if err := wstest.Receive(t, "OnDisconnect", dialled); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("while the hub drains the port says %v", err)
	}
	if rest, err := io.ReadAll(idle); len(rest) > 0 || err != nil {
		t.Errorf("a connection without a request: %q, %v", rest, err)
	}
	wstest.Silent(t, "the hub drained no more", srv.result)
	if err := wstest.Receive(t, "Serve returns", srv.result); err != nil {
		t.Error(err)
	}
}

// Serve: "Other handlers get DefaultHandlerTimeout to return"; an answer that has begun gets to its end.
func TestAHandlerThatRunsWhenServeIsToEndMayFinish(t *testing.T) {
	entered, goOn := make(chan bool, 1), make(chan bool)
	hub := wskit.NewHub()
	srv := serveHub(t, wstest.TCP, hub, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-goOn
		_, _ = io.WriteString(w, "an answer")
	})
	answer := make(chan string, 1)
	asking := wstest.Begin(func() {
		resp, err := srv.Client().Get(srv.URL + "/other")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		answer <- fmt.Sprint(string(text), " ", err, " ", resp.Close)
	})
	wstest.Receive(t, "the handler runs", entered)
	srv.stop()
	wstest.Eventually(t, "the hub has stopped", func() bool { return errors.Is(hub.BroadcastContext(context.Background(), nil), wskit.ErrHubStopped) })
	wstest.Silent(t, "Serve returned before the handler did", srv.result)
	close(goOn)
	if got := wstest.Receive(t, "the answer", answer); got != "an answer <nil> true" {
		t.Error(got)
	}
	if err := wstest.Receive(t, "Serve returns", srv.result); err != nil {
		t.Error(err)
	}
	<-asking
}

// Serve: "What still runs then is cut off"
func TestAHandlerThatBlocksIsCutOffAndServeSaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("the handlers' 5 s")
	}
	entered := make(chan bool, 1)
	hub := wskit.NewHub(wskit.WithDrainTimeout(time.Second))
	srv := serveHub(t, wstest.TCP, hub, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done() // net/http ends it when the connection is closed
	})
	asking := wstest.Begin(func() {
		if resp, err := srv.Client().Get(srv.URL + "/other"); err == nil {
			t.Error(resp.Status)
		}
	})
	wstest.Receive(t, "the handler runs", entered)
	start := time.Now()
	srv.stop()
	if err := wstest.Receive(t, "Serve returns", srv.result); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(start); took < wskit.DefaultHandlerTimeout || took > time.Second+wskit.DefaultHandlerTimeout+2*time.Second {
		t.Error("Serve took", took)
	}
	wstest.Receive(t, "the client is cut off", asking)
}

// A connection without a request is no handler: neither one that a browser has opened in advance, nor one of HTTP/2 that became
// one while the server was shutting down, which net/http forgets.
func TestConnectionsWithoutARequestDoNotHoldUpServe(t *testing.T) {
	hub := wskit.NewHub()
	srv := serveHub(t, wstest.HTTP2, hub, none)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", srv.Host())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	late := dial()
	srv.Stream(t).End() // behind them in the queue: both are accepted
	srv.stop()
	start := time.Now()
	wstest.Eventually(t, "the hub has stopped", func() bool { return errors.Is(hub.BroadcastContext(context.Background(), nil), wskit.ErrHubStopped) })
	h2 := tls.Client(late, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if _, err := h2.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")); err != nil {
		t.Fatal(err)
	}
	if err := wstest.Receive(t, "Serve returns", srv.result); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > wskit.DefaultHandlerTimeout-time.Second {
		t.Error("Serve took", took)
	}
}

// Serve: "one that runs already, or was spawned elsewhere (Attach), it drains all the same".
func TestServeDrainsAHubThatRunsElsewhere(t *testing.T) {
	for name, hub := range map[string]func(t *testing.T) *wstest.Hub{
		"Run":    func(t *testing.T) *wstest.Hub { return wstest.Run(t) },
		"Attach": func(t *testing.T) *wstest.Hub { h, _ := wstest.Embed(t, hubactor.Config{}); return h },
	} {
		t.Run(name, func(t *testing.T) {
			hub := hub(t)
			srv := serveHub(t, wstest.TCP, hub.Hub, none)
			b := srv.Open(t)
			hub.Count(t, 1)
			srv.stop()
			b.Ends(t, websocket.StatusGoingAway)
			if err := wstest.Receive(t, "Serve returns", srv.result); err != nil {
				t.Error(err)
			}
			wstest.Receive(t, "Run returns", hub.Done)
		})
	}
}

// Serve: "when the hub ends by itself or by Shutdown (the error wraps ErrHubStopped)": it does not stay with a dead hub.
func TestServeEndsWhenTheHubDoes(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *wskit.Hub){
		"Shutdown": func(t *testing.T, h *wskit.Hub) { go func() { _ = h.Shutdown(context.Background()) }() },
		"by itself": func(t *testing.T, h *wskit.Hub) {
			registry := wstest.One(t, h, "registry")
			for range 50 { // more than its budget
				wstest.Crash(registry, "test")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			hub := wskit.NewHub()
			srv := serveHub(t, wstest.TCP, hub, none)
			b := srv.Open(t)
			wstest.Eventually(t, "it is in", func() bool { return hub.SubscriberCount() == 1 })
			end(t, hub)
			b.Ends(t, websocket.StatusGoingAway)
			if err := wstest.Receive(t, "Serve returns", srv.result); !errors.Is(err, wskit.ErrHubStopped) {
				t.Error(err)
			}
			if _, err := net.Dial("tcp", srv.Host()); err == nil {
				t.Error("the port is still open")
			}
		})
	}
}

// Serve: "when somebody else shuts the server down or closes it (nil)". The hub ends with it.
func TestServeEndsWhenSomebodyElseEndsTheServer(t *testing.T) {
	for name, end := range map[string]func(*http.Server) error{
		"Shutdown": func(s *http.Server) error { return s.Shutdown(context.Background()) },
		"Close":    (*http.Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			hub := wskit.NewHub(wskit.WithOnMessage(wstest.Echo))
			srv := serveHub(t, wstest.TCP, hub, none)
			b := srv.Open(t)
			b.Say(t, "are you there") // until it is, the connection is still the server's, which cuts it
			b.Expect(t, "echo are you there")
			if err := end(srv.http); err != nil {
				t.Error(err)
			}
			b.Ends(t, websocket.StatusGoingAway)
			if err := wstest.Receive(t, "Serve returns", srv.result); err != nil {
				t.Error(err)
			}
		})
	}
}

// Serve: "An error before the first connection could be accepted is returned at once, and hub and server are as they were".
func TestServeThatCannotBeginLeavesHubAndServerAsTheyWere(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	hub := wskit.NewHub()
	nowhere := make(chan net.Addr, 9)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	srv := hubServer(hub, none, nowhere)
	srv.Addr = taken.Addr().String()
	if err := wskit.Serve(ctx, srv, hub); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error("the port is taken:", err)
	}
	srv.Addr = "127.0.0.1:0"
	missing := filepath.Join(t.TempDir(), "no such file")
	if err := wskit.ServeTLS(ctx, srv, hub, missing, missing); !errors.Is(err, os.ErrNotExist) {
		t.Error("no certificate:", err)
	}
	closed := hubServer(hub, none, nowhere)
	_ = closed.Close()
	if err := wskit.Serve(ctx, closed, hub); !errors.Is(err, wskit.ErrInvalidArgument) || errors.Is(err, http.ErrServerClosed) {
		t.Error("a server that is closed already:", err)
	}
	var noContext context.Context
	for _, err := range []error{
		wskit.Serve(noContext, srv, hub), wskit.Serve(ctx, nil, hub), wskit.Serve(ctx, srv, nil),
		wskit.ServeTLS(noContext, srv, hub, "", ""), wskit.ServeTLS(ctx, nil, hub, "", ""), wskit.ServeTLS(ctx, srv, nil, "", ""),
	} {
		if !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Error("a nil argument:", err)
		}
	}
	// All the same hub and server can be served, once.
	for len(nowhere) > 0 {
		<-nowhere
	}
	result := make(chan error, 1)
	serving := wstest.Begin(func() { result <- wskit.Serve(ctx, srv, hub) })
	at := wstest.At(t, wstest.TCP, wstest.Receive(t, "Serve serves", nowhere))
	b := at.Open(t)
	wstest.Eventually(t, "it is in", func() bool { return hub.SubscriberCount() == 1 })
	second := hubServer(hub, none, nowhere)
	second.Addr = at.Host()
	if err := wskit.Serve(ctx, second, hub); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error("a second server at the same port:", err)
	}
	hub.Broadcast([]byte("still served"))
	b.Expect(t, "still served")
	cancel()
	b.Ends(t, websocket.StatusGoingAway)
	<-serving
	if err := <-result; err != nil {
		t.Error(err)
	}
	if err := wskit.Serve(context.Background(), srv, wskit.NewHub()); !errors.Is(err, wskit.ErrInvalidArgument) {
		t.Error("a server that was served:", err)
	}
	if err := wskit.Serve(context.Background(), second, hub); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error("a hub that was served:", err)
	}
}
