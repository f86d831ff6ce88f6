package contract_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// serveSSE is a server whose streams are ServeSSE with these options.
func serveSSE(t *testing.T, kind wstest.Kind, hub *wskit.Hub, opts ...wskit.ClientOption) *wstest.Server {
	t.Helper()
	return wstest.Serve(t, hub, wstest.Serving{Kind: kind, SendBuffer: narrow, Stream: func(w http.ResponseWriter, r *http.Request) error {
		return wskit.ServeSSE(w, r, hub, opts...)
	}})
}

// "ServeSSE is AcceptSSE with options, and nil when the client left", and when the hub closed the stream.
func TestServeSSEReturnsNilWhenTheClientLeftAndWhenTheHubClosedTheStream(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		joined := make(chan wskit.Subscriber, 9)
		hub := wstest.Run(t, append(opts, wskit.WithOnConnect(func(s wskit.Subscriber) { joined <- s }))...)
		srv := serveSSE(t, kind, hub.Hub, nil)
		for name, end := range map[string]func(*wstest.Stream, wskit.Subscriber){
			"left":         func(st *wstest.Stream, _ wskit.Subscriber) { st.End() },
			"closed":       func(_ *wstest.Stream, s wskit.Subscriber) { s.Close() },
			"unregistered": func(_ *wstest.Stream, s wskit.Subscriber) { hub.Unregister(s) },
		} {
			st := srv.Stream(t)
			s := wstest.Receive(t, "OnConnect", joined)
			hub.Broadcast([]byte(name))
			st.Expect(t, name)
			end(st, s)
			if err := wstest.Receive(t, "ServeSSE returns", srv.Streamed); err != nil {
				t.Error(name, err)
			}
			hub.Count(t, 0)
		}
	})
}

// Every other error is AcceptSSE's, and so is its answer.
func TestServeSSEReturnsTheErrorsOfAcceptSSE(t *testing.T) {
	hub := wstest.Run(t, wskit.WithMaxSubscribers(1))
	type deaf struct{ http.ResponseWriter }
	broken := errors.New("broken")
	stopped := wstest.Run(t)
	stopped.Count(t, 0)
	stopped.Halt(t)
	for name, c := range map[string]struct {
		hub    *wskit.Hub
		method string
		wrap   func(http.ResponseWriter) http.ResponseWriter
		full   bool
		err    error
		status int
	}{
		"method":  {hub: hub.Hub, method: http.MethodPut, err: wskit.ErrMethodNotAllowed, status: 405},
		"flush":   {hub: hub.Hub, wrap: func(w http.ResponseWriter) http.ResponseWriter { return deaf{w} }, err: wskit.ErrFlusherNotSupported, status: 500},
		"stopped": {hub: stopped.Hub, err: wskit.ErrHubStopped, status: 503},
		"no hub":  {err: wskit.ErrInvalidArgument, status: 500},
		"full":    {hub: hub.Hub, full: true, err: wskit.ErrTooManySubscribers, status: 200},
		"HEAD":    {hub: hub.Hub, method: http.MethodHead, status: 200},
		"write": {hub: hub.Hub, err: broken, status: 200, wrap: func(w http.ResponseWriter) http.ResponseWriter {
			return &brokenWriter{unwrapper{w}, func() error { return broken }}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.full {
				p := &wstest.Probe{}
				hub.Register(p)
				defer func() { hub.Unregister(p); hub.Count(t, 0) }()
			}
			results := make(chan error, 1)
			srv := wstest.Listen(t, wstest.TCP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.wrap != nil {
					w = c.wrap(w)
				}
				results <- wskit.ServeSSE(w, r, c.hub)
			}))
			req, _ := http.NewRequestWithContext(t.Context(), c.method, srv.URL, nil)
			resp, err := srv.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if c.err == broken {
				hub.Count(t, 1)
				hub.Broadcast([]byte("x"))
			}
			if err := wstest.Receive(t, "ServeSSE returns", results); !errors.Is(err, c.err) || resp.StatusCode != c.status {
				t.Errorf("%v, %s", err, resp.Status)
			}
			hub.Count(t, map[bool]int{true: 1}[c.full])
		})
	}
	if err := wskit.ServeSSE(nil, nil, nil, nil); !errors.Is(err, wskit.ErrInvalidArgument) {
		t.Error(err)
	}
}

// A deadline that a middleware gave the request is no client that left.
func TestServeSSEReturnsTheErrorOfADeadline(t *testing.T) {
	hub := wstest.Run(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := wskit.ServeSSE(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), hub.Hub)
	if err != context.DeadlineExceeded {
		t.Error(err)
	}
	hub.Count(t, 0)
}

// read is what a request's answer begins with, n bytes of it.
func read(t *testing.T, srv *wstest.Server, path string, n int) string {
	t.Helper()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path, nil)
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	b := make([]byte, n)
	wstest.Quickly(t, "the first bytes", wstest.Patience, func() { _, err = io.ReadFull(resp.Body, b) })
	if err != nil {
		t.Errorf("%q, %v", b, err)
	}
	return string(b)
}

// WithRetry: "retry: <ms> goes out with the first bytes". WithKeepAlive: a comment after that silence.
func TestAStreamTellsItsRetryTimeAndKeepsAliveAsItsOptionsSay(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, opts...)
		srv := serveSSE(t, kind, hub.Hub, wskit.WithRetry(1500*time.Millisecond), wskit.WithKeepAlive(50*time.Millisecond))
		const want = ":\n\nretry: 1500\n\n:\n\n:\n\n"
		if got := read(t, srv, "/sse", len(want)); got != want {
			t.Errorf("%q", got)
		}
	})
}

// WithEventNames: "an Event's type goes out as event: before the data lines"; two streams of one hub, one of which did not ask.
func TestAStreamWithEventNamesGetsTheTypeOfAnEvent(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, opts...)
		named, plain := serveSSE(t, kind, hub.Hub, wskit.WithEventNames()).Stream(t), serveSSE(t, kind, hub.Hub).Stream(t)
		hub.Count(t, 2)
		if err := hub.BroadcastJSON(t.Context(), "tick", 1); err != nil {
			t.Fatal(err)
		}
		data := wstest.Receive(t, "event", plain.Events)
		named.Expect(t, "[event:tick] "+data)
		for range 2 { // as one batch
			hub.Broadcast([]byte(`{"type":"tick"}`))
			hub.Broadcast([]byte("two\nlines"))
		}
		for range 2 {
			named.Expect(t, `[event:tick] {"type":"tick"}`, "two\nlines")
			plain.Expect(t, `{"type":"tick"}`, "two\nlines")
		}
		large := `{"type":"large","payload":"` + strings.Repeat("x", 100<<10) + `"}`
		hub.Broadcast([]byte(large))
		named.Expect(t, "[event:large] "+large)
	})
}

// WithSendBufSize, WithSendBufBytes and WithOverflow work on streams, at N and N+1.
func TestTheQueueOfAStreamIsBoundAsItsOptionsSay(t *testing.T) {
	for name, c := range map[string]struct {
		opts []wskit.ClientOption
		sent string   // OK or not
		want []string // what arrives
	}{
		"default policy": {[]wskit.ClientOption{wskit.WithSendBufSize(2)}, "++-", []string{"0", "1"}},
		"oldest":         {[]wskit.ClientOption{wskit.WithSendBufSize(2), wskit.WithOverflow(wskit.DropOldest)}, "+++", []string{"1", "2"}},
		"bytes":          {[]wskit.ClientOption{wskit.WithSendBufBytes(1)}, "+--", []string{"0"}},
		"disconnect":     {[]wskit.ClientOption{wskit.WithSendBufSize(2), wskit.WithOverflow(wskit.Disconnect)}, "++-", nil},
	} {
		t.Run(name, func(t *testing.T) {
			joined := make(chan wskit.Subscriber, 1)
			hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { joined <- s }))
			handler := hub.SSEHandler(append(c.opts, nil, wskit.WithPingInterval(1), wskit.WithMaxMessageSize(1))...) // which do not matter here
			recorder, free := httptest.NewRecorder(), make(chan struct{})
			served := wstest.Begin(func() {
				handler.ServeHTTP(&waiting{unwrapper{recorder}, free}, httptest.NewRequest(http.MethodGet, "/", nil))
			})
			sub := wstest.Receive(t, "OnConnect", joined)
			var got strings.Builder
			for i := range 3 {
				got.WriteByte(map[bool]byte{true: '+', false: '-'}[sub.Send([]byte{'0' + byte(i)})])
			}
			close(free)
			sub.Close()
			wstest.Receive(t, "the handler returns", served)
			if events := wstest.AllEvents(recorder.Body); got.String() != c.sent || strings.Join(events, " ") != strings.Join(c.want, " ") {
				t.Errorf("sent %s, want %s; got %q, want %q", got.String(), c.sent, events, c.want)
			}
		})
	}
}

// waiting is a writer that begins its answer when it may.
type waiting struct {
	unwrapper
	free <-chan struct{}
}

func (w *waiting) WriteHeader(status int) {
	<-w.free
	w.unwrapper.WriteHeader(status)
}

// WithWriteWait: a stream whose client does not read is cut after it.
func TestTheWriteWaitOfAStreamIsItsOwn(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, opts...)
		srv := serveSSE(t, kind, hub.Hub, wskit.WithWriteWait(100*time.Millisecond))
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/sse", nil)
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		hub.Count(t, 1)
		hub.Broadcast(make([]byte, 16<<20))                  // more than the buffers in between hold
		wstest.Quickly(t, "the cut", 8*time.Second, func() { // the default is 10 s
			if err := wstest.Receive(t, "ServeSSE returns", srv.Streamed); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error(err)
			}
		})
		hub.Count(t, 0)
	})
}

// NewSSEClient's streams can be served: what was sent before goes out first, whether it was registered before or is after.
func TestAStreamThatTheCallerMadeIsServedWithWhatItWasSentBefore(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		for _, before := range []bool{true, false} {
			hub := wstest.Run(t, opts...)
			c := wskit.NewSSEClient(hub.Hub, 4)
			c.Send([]byte("first"))
			if before {
				hub.Register(c)
				hub.Broadcast([]byte("second"))
				hub.Settled(t)
			} else {
				c.Send([]byte("second"))
			}
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Stream: c.Serve})
			st := srv.Stream(t)
			st.Expect(t, "first", "second")
			if !before {
				hub.Register(c)
			}
			hub.Broadcast([]byte("third"))
			st.Expect(t, "third")

			resp, _ := request(t, srv, http.MethodGet)
			if err := wstest.Receive(t, "the second Serve returns", srv.Streamed); !errors.Is(err, wskit.ErrInvalidArgument) || resp.StatusCode != 500 {
				t.Error("served twice:", err, resp.Status)
			}
			hub.Broadcast([]byte("unharmed"))
			st.Expect(t, "unharmed")

			st.End() // takes it out of the hub
			if err := wstest.Receive(t, "Serve returns", srv.Streamed); err != nil {
				t.Error(err)
			}
			hub.Count(t, 0)
			resp, _ = request(t, srv, http.MethodGet)
			if err := wstest.Receive(t, "Serve returns", srv.Streamed); !errors.Is(err, wskit.ErrHubStopped) || resp.StatusCode != 503 {
				t.Error("served after its end:", err, resp.Status)
			}
		}
	})
}

// Of a closed stream Serve answers 503: it was closed, unregistered, its hub has stopped, or it was never open.
func TestAClosedStreamIsNotServed(t *testing.T) {
	hub, stopped := wstest.Run(t), wstest.Run(t)
	late := wskit.NewSSEClient(stopped.Hub, 1)
	stopped.Halt(t)
	closed, gone := wskit.NewSSEClient(hub.Hub, 1), wskit.NewSSEClient(hub.Hub, 1)
	closed.Close()
	hub.Register(gone)
	hub.Unregister(gone)
	hub.Settled(t)
	var none *wskit.SSEClient
	for name, c := range map[string]*wskit.SSEClient{"closed": closed, "unregistered": gone, "hub stopped": late, "zero": {}, "nil": none,
		"of a stopped hub": wskit.NewSSEClient(stopped.Hub, 1), "of no hub": wskit.NewSSEClient(nil, 1)} {
		w := httptest.NewRecorder()
		if err := c.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil)); !errors.Is(err, wskit.ErrHubStopped) || w.Code != 503 {
			t.Error(name, err, w.Code)
		}
	}
}

// What cannot be answered with a stream leaves the stream as it was: another request gets it.
func TestARequestThatIsNoStreamsLeavesTheStreamToAnother(t *testing.T) {
	hub := wstest.Run(t)
	c := wskit.NewSSEClient(hub.Hub, 1)
	type deaf struct{ http.ResponseWriter }
	get := httptest.NewRequest(http.MethodGet, "/", nil)
	w := httptest.NewRecorder()
	if err := c.Serve(w, httptest.NewRequest(http.MethodDelete, "/", nil)); !errors.Is(err, wskit.ErrMethodNotAllowed) || w.Code != 405 {
		t.Error(err, w.Code)
	}
	w = httptest.NewRecorder()
	if err := c.Serve(deaf{w}, get); !errors.Is(err, wskit.ErrFlusherNotSupported) || w.Code != 500 {
		t.Error(err, w.Code)
	}
	w = httptest.NewRecorder()
	if err := c.Serve(w, httptest.NewRequest(http.MethodHead, "/", nil)); err != nil || w.Code != 200 {
		t.Error(err, w.Code)
	}
	for _, err := range []error{c.Serve(nil, get), c.Serve(w, nil)} {
		if !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Error(err)
		}
	}
	c.Send([]byte("1"))
	w, done := httptest.NewRecorder(), make(chan error, 1)
	go func() { done <- c.Serve(w, get) }()
	hub.Register(c)
	wstest.Eventually(t, "it is written", func() bool { return c.Send([]byte("2")) })
	c.Close()
	if err := wstest.Receive(t, "Serve returns", done); err != nil || w.Body.String() != "data: 1\n\ndata: 2\n\n" {
		t.Errorf("%v, %q", err, w.Body)
	}
}

// "hub.SSEHandler(opts...) and hub.WebSocketHandler(opts...) are http.Handlers", WithAcceptOptions is for the latter.
func TestTheHandlersOfAHubServeItsConnections(t *testing.T) {
	hub := wstest.Run(t)
	mux := http.NewServeMux()
	mux.Handle("/sse", hub.SSEHandler(wskit.WithEventNames()))
	mux.Handle("/ws", hub.WebSocketHandler(wskit.WithAcceptOptions(&websocket.AcceptOptions{Subprotocols: []string{"chat"}})))
	srv := wstest.Listen(t, wstest.TCP, mux)
	conn, _, err := websocket.Dial(t.Context(), srv.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{"chat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	if got := conn.Subprotocol(); got != "chat" {
		t.Errorf("subprotocol %q", got)
	}
	st := srv.Stream(t)
	hub.Count(t, 2)
	hub.Broadcast([]byte(`{"type":"x"}`))
	st.Expect(t, `[event:x] {"type":"x"}`)
	if _, data, err := conn.Read(t.Context()); err != nil || string(data) != `{"type":"x"}` {
		t.Errorf("%q, %v", data, err)
	}
	var none *wskit.Hub
	for _, h := range []http.Handler{none.SSEHandler(nil), none.WebSocketHandler(nil)} {
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil)); w.Code != 500 {
			t.Error(w.Code)
		}
	}
}

// WithAcceptOptions is for where no such options are given; Accept's own stand.
func TestAcceptsOwnOptionsStandAgainstWithAcceptOptions(t *testing.T) {
	for own, want := range map[*websocket.AcceptOptions]string{nil: "option", {Subprotocols: []string{"own"}}: "own"} {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Accept: own, Client: []wskit.ClientOption{
			wskit.WithAcceptOptions(&websocket.AcceptOptions{Subprotocols: []string{"option"}})}})
		conn, _, err := websocket.Dial(t.Context(), srv.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{"option", "own"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if got := conn.Subprotocol(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
