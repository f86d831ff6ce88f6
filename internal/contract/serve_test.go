package contract_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// served is a server whose /ws is ServeWS, and what that returned.
func served(t testing.TB, hub *wskit.Hub, accept *websocket.AcceptOptions, opts ...wskit.ClientOption) (*server, <-chan error) {
	t.Helper()
	results := make(chan error, 1<<10)
	s := &server{Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		results <- wskit.ServeWS(w, r, hub, accept, opts...)
	}))}
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s, results
}

// "ServeWS is the whole handler of a WebSocket ... It blocks"
func TestServeWSReadsAndWritesAndBlocksUntilThePeerCloses(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(echo))
	s, results := served(t, hub.Hub, nil)
	p := s.open(t)
	hub.count(t, 1)
	hub.Broadcast([]byte("to all"))
	p.expect(t, "to all")
	p.say(t, "hi")
	p.expect(t, "echo hi")
	silent(t, "ServeWS returns", results)
	if err := p.Close(4321, "enough"); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "ServeWS returns", results); websocket.CloseStatus(err) != 4321 {
		t.Errorf("ServeWS: %v, want the peer's close code 4321", err)
	}
	hub.count(t, 0)
}

func TestServeReturnsNilWhenThisSideEndedTheConnection(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *runner, *wskit.Client){
		"Close":      func(_ *testing.T, _ *runner, c *wskit.Client) { c.Close() },
		"Unregister": func(_ *testing.T, h *runner, c *wskit.Client) { h.Unregister(c) },
		"hub's end":  func(t *testing.T, h *runner, _ *wskit.Client) { h.halt(t) },
	} {
		t.Run(name, func(t *testing.T) {
			hub := run(t)
			result := make(chan error, 1)
			p, c := serve(t, hub.Hub, serving{pumps: func(c *wskit.Client) { go func() { result <- c.Serve() }() }}).dial(t)
			hub.count(t, 1)
			c.Send([]byte("first"))
			end(t, hub, c)
			p.expect(t, "first")
			if _, err := p.next(); websocket.CloseStatus(err) < 1000 {
				t.Errorf("the peer read %v, want a close frame", err)
			}
			if err := receive(t, "Serve returns", result); err != nil {
				t.Error("Serve:", err)
			}
		})
	}
}

func TestServeSaysWhatWentWrong(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(func(*wskit.Client, []byte) { panic("in the handler") }))
	s, results := served(t, hub.Hub, nil, wskit.WithMaxMessageSize(10))
	p := s.open(t)
	p.say(t, "hello")
	p.ends(t, websocket.StatusInternalError)
	if err := receive(t, "ServeWS returns", results); err == nil || !strings.Contains(err.Error(), "crashed") {
		t.Errorf("a handler that panicked: %v", err)
	}
	p = s.open(t)
	_ = p.CloseNow()
	if err := receive(t, "ServeWS returns", results); err == nil {
		t.Error("a peer that went away: nil")
	}
	p = s.open(t)
	p.say(t, "more than ten bytes")
	p.ends(t, websocket.StatusMessageTooBig)
	if err := receive(t, "ServeWS returns", results); !errors.Is(err, websocket.ErrMessageTooBig) {
		t.Errorf("a message that is too big: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := wskit.NewClient(hub.Hub, nil, ctx).Serve(); !errors.Is(err, wskit.ErrHubStopped) {
		t.Errorf("a client that was never open: %v", err)
	}
	if err := (*wskit.Client)(nil).Serve(); !errors.Is(err, wskit.ErrHubStopped) {
		t.Errorf("a nil client: %v", err)
	}
}

func TestServeWSAnswersWhatItCannotServe(t *testing.T) {
	hub := run(t)
	s, results := served(t, hub.Hub, nil)
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Error("a plain GET:", resp.Status)
	}
	if err := receive(t, "ServeWS returns", results); err == nil {
		t.Error("a plain GET: nil")
	}
	hub.halt(t)
	if resp, err = http.Get(s.URL); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Error("a stopped hub:", resp.Status)
	}
	if err := receive(t, "ServeWS returns", results); !errors.Is(err, wskit.ErrHubStopped) {
		t.Errorf("a stopped hub: %v", err)
	}
	w := httptest.NewRecorder()
	for _, err := range []error{
		wskit.ServeWS(nil, httptest.NewRequest("GET", "/", nil), hub.Hub, nil),
		wskit.ServeWS(w, nil, hub.Hub, nil),
		wskit.ServeWS(w, httptest.NewRequest("GET", "/", nil), nil, nil),
	} {
		if !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Errorf("nil argument: %v", err)
		}
	}
}

// The upgrade runs on another goroutine, where nobody but Accept could recover a panic.
func TestAPanicInAnUpgradeReachesNetHTTP(t *testing.T) {
	hub := run(t)
	recovered := make(chan any, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { recovered <- recover() }()
		if r.URL.Path == "/serve" {
			_ = wskit.ServeWS(badHijacker{w}, r, hub.Hub, nil)
		} else {
			_, _ = wskit.Accept(r.Context(), badHijacker{w}, r, hub.Hub, nil)
		}
	}))
	defer srv.Close()
	for _, path := range []string{"/accept", "/serve"} {
		if c, _, err := websocket.Dial(t.Context(), srv.URL+path, nil); err == nil { // 101 was written before
			defer c.CloseNow()
		}
		var pe *wskit.PanicError
		if err, ok := receive(t, "the panic", recovered).(error); !ok || !errors.As(err, &pe) || pe.Value != "bad writer" {
			t.Errorf("%s: recovered %v", path, err)
		}
	}
	hub.count(t, 0)
}

func TestErrAbortHandlerReachesNetHTTPAsItIs(t *testing.T) {
	hub := run(t)
	recovered := make(chan any, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { recovered <- recover() }()
		_ = wskit.AcceptSSE(aborting{w}, r, hub.Hub)
	}))
	defer srv.Close()
	if resp, err := http.Get(srv.URL); err == nil {
		resp.Body.Close()
	}
	if v := receive(t, "the panic", recovered); v != http.ErrAbortHandler {
		t.Errorf("recovered %v", v)
	}
	hub.count(t, 0)
	http.DefaultClient.CloseIdleConnections()
}

func TestAWriterThatEndsItsGoroutineEndsItsStreamWithAnError(t *testing.T) {
	failures := make(chan error, 16)
	hub := run(t, wskit.WithOnError(func(_ string, err error) { failures <- err }))
	results := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		results <- wskit.AcceptSSE(exiting{w}, r, hub.Hub)
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	hub.count(t, 1)
	hub.Broadcast([]byte("x"))
	var pe *wskit.PanicError
	if err := receive(t, "AcceptSSE returns", results); !errors.As(err, &pe) || pe.Op != "ResponseWriter" {
		t.Errorf("AcceptSSE: %v", err)
	}
	if err := receive(t, "OnError", failures); !errors.As(err, &pe) {
		t.Errorf("OnError: %v", err)
	}
	hub.count(t, 0)
	http.DefaultClient.CloseIdleConnections()
}

// exiting is a writer that does what a test's FailNow does.
type exiting struct{ http.ResponseWriter }

func (e exiting) Write([]byte) (int, error) { runtime.Goexit(); return 0, nil }
func (e exiting) FlushError() error         { return http.NewResponseController(e.ResponseWriter).Flush() }

// aborting is a middleware's writer that has had enough.
type aborting struct{ http.ResponseWriter }

func (a aborting) Header() http.Header { panic(http.ErrAbortHandler) }
func (a aborting) Flush()              {}

// badHijacker is a middleware's writer that fails in its own way.
type badHijacker struct{ http.ResponseWriter }

func (badHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { panic("bad writer") }

func TestServeBesideAReadPumpWaitsForTheEnd(t *testing.T) {
	hub := run(t)
	result := make(chan error, 1)
	p, c := serve(t, hub.Hub, serving{pumps: func(c *wskit.Client) { go c.ReadPump() }}).dial(t)
	time.AfterFunc(50*time.Millisecond, func() { result <- c.Serve() })
	c.Send([]byte("written once Serve was called"))
	p.expect(t, "written once Serve was called")
	silent(t, "Serve returns", result)
	_ = p.CloseNow()
	if err := receive(t, "Serve returns", result); err == nil {
		t.Error("Serve: nil, though the peer went away")
	}
}
