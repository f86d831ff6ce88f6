package contract_test

import (
	"bufio"
	"bytes"
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
	"github.com/wskit/wskit/internal/wstest"
)

// served is a server whose /ws is ServeWS, and what that returned.
func served(t testing.TB, hub *wskit.Hub, accept *websocket.AcceptOptions, opts ...wskit.ClientOption) (*wstest.Server, <-chan error) {
	t.Helper()
	results := make(chan error, 1<<10)
	s := &wstest.Server{Server: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	s, results := served(t, hub.Hub, nil)
	p := s.Open(t)
	hub.Count(t, 1)
	hub.Broadcast([]byte("to all"))
	p.Expect(t, "to all")
	p.Say(t, "hi")
	p.Expect(t, "echo hi")
	wstest.Silent(t, "ServeWS returns", results)
	if err := p.Close(4321, "enough"); err != nil {
		t.Fatal(err)
	}
	if err := wstest.Receive(t, "ServeWS returns", results); websocket.CloseStatus(err) != 4321 {
		t.Errorf("ServeWS: %v, want the peer's close code 4321", err)
	}
	hub.Count(t, 0)
}

func TestServeReturnsNilWhenThisSideEndedTheConnection(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *wstest.Hub, *wskit.Client){
		"Close":      func(_ *testing.T, _ *wstest.Hub, c *wskit.Client) { c.Close() },
		"Unregister": func(_ *testing.T, h *wstest.Hub, c *wskit.Client) { h.Unregister(c) },
		"hub's end":  func(t *testing.T, h *wstest.Hub, _ *wskit.Client) { h.Halt(t) },
	} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t)
			result := make(chan error, 1)
			p, c := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) { go func() { result <- c.Serve() }() }}).Browser(t)
			hub.Count(t, 1)
			c.Send([]byte("first"))
			end(t, hub, c)
			p.Expect(t, "first")
			if _, err := p.Next(); websocket.CloseStatus(err) < 1000 {
				t.Errorf("the peer read %v, want a close frame", err)
			}
			if err := wstest.Receive(t, "Serve returns", result); err != nil {
				t.Error("Serve:", err)
			}
		})
	}
}

func TestServeSaysWhatWentWrong(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(func(*wskit.Client, []byte) { panic("in the handler") }))
	s, results := served(t, hub.Hub, nil, wskit.WithMaxMessageSize(10))
	p := s.Open(t)
	p.Say(t, "hello")
	p.Ends(t, websocket.StatusInternalError)
	if err := wstest.Receive(t, "ServeWS returns", results); err == nil || !strings.Contains(err.Error(), "crashed") {
		t.Errorf("a handler that panicked: %v", err)
	}
	p = s.Open(t)
	_ = p.CloseNow()
	if err := wstest.Receive(t, "ServeWS returns", results); err == nil {
		t.Error("a peer that went away: nil")
	}
	p = s.Open(t)
	p.Say(t, "more than ten bytes")
	p.Ends(t, websocket.StatusMessageTooBig)
	if err := wstest.Receive(t, "ServeWS returns", results); !errors.Is(err, websocket.ErrMessageTooBig) {
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
	hub := wstest.Run(t)
	s, results := served(t, hub.Hub, nil)
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Error("a plain GET:", resp.Status)
	}
	if err := wstest.Receive(t, "ServeWS returns", results); err == nil {
		t.Error("a plain GET: nil")
	}
	hub.Halt(t)
	if resp, err = http.Get(s.URL); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable {
		t.Error("a stopped hub:", resp.Status)
	}
	if err := wstest.Receive(t, "ServeWS returns", results); !errors.Is(err, wskit.ErrHubStopped) {
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
	hub := wstest.Run(t)
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
		if err, ok := wstest.Receive(t, "the panic", recovered).(error); !ok || !errors.As(err, &pe) || pe.Value != "bad writer" {
			t.Errorf("%s: recovered %v", path, err)
		}
	}
	hub.Count(t, 0)
}

func TestErrAbortHandlerReachesNetHTTPAsItIs(t *testing.T) {
	hub := wstest.Run(t)
	recovered := make(chan any, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { recovered <- recover() }()
		_ = wskit.AcceptSSE(aborting{w}, r, hub.Hub)
	}))
	defer srv.Close()
	if resp, err := http.Get(srv.URL); err == nil {
		resp.Body.Close()
	}
	if v := wstest.Receive(t, "the panic", recovered); v != http.ErrAbortHandler {
		t.Errorf("recovered %v", v)
	}
	hub.Count(t, 0)
	http.DefaultClient.CloseIdleConnections()
}

func TestAWriterThatEndsItsGoroutineEndsItsStreamWithAnError(t *testing.T) {
	failures := make(chan error, 16)
	hub := wstest.Run(t, wskit.WithOnError(func(_ string, err error) { failures <- err }))
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
	hub.Count(t, 1)
	hub.Broadcast([]byte("x"))
	var pe *wskit.PanicError
	if err := wstest.Receive(t, "AcceptSSE returns", results); !errors.As(err, &pe) || pe.Op != "ResponseWriter" {
		t.Errorf("AcceptSSE: %v", err)
	}
	if err := wstest.Receive(t, "OnError", failures); !errors.As(err, &pe) {
		t.Errorf("OnError: %v", err)
	}
	hub.Count(t, 0)
	http.DefaultClient.CloseIdleConnections()
}

// exiting is a writer that does what a test's FailNow does.
type exiting struct{ http.ResponseWriter }

func (e exiting) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("data:")) {
		runtime.Goexit()
	}
	return e.ResponseWriter.Write(p)
}
func (e exiting) FlushError() error { return http.NewResponseController(e.ResponseWriter).Flush() }

// aborting is a middleware's writer that has had enough.
type aborting struct{ http.ResponseWriter }

func (a aborting) Header() http.Header { panic(http.ErrAbortHandler) }
func (a aborting) Flush()              {}

// badHijacker is a middleware's writer that fails in its own way.
type badHijacker struct{ http.ResponseWriter }

func (badHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { panic("bad writer") }

func TestServeBesideAReadPumpWaitsForTheEnd(t *testing.T) {
	hub := wstest.Run(t)
	result := make(chan error, 1)
	p, c := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) { go c.ReadPump() }}).Browser(t)
	time.AfterFunc(50*time.Millisecond, func() { result <- c.Serve() })
	c.Send([]byte("written once Serve was called"))
	p.Expect(t, "written once Serve was called")
	wstest.Silent(t, "Serve returns", result)
	_ = p.CloseNow()
	if err := wstest.Receive(t, "Serve returns", result); err == nil {
		t.Error("Serve: nil, though the peer went away")
	}
}
