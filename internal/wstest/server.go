package wstest

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// Server is an HTTP server for one kind of connection. One that Serve made tells what its handlers met; nobody has to listen.
type Server struct {
	*httptest.Server
	Kind     Kind
	Accepted chan *wskit.Client // each client that /ws accepted, with its pumps running
	Refused  chan error         // each error of Accept
	Served   chan error         // each result of ServeWS
	Streamed chan error         // each result of AcceptSSE

	dial   func(ctx context.Context, network, addr string) (net.Conn, error)
	client *http.Client // nil: httptest's
}

// Serving is how Serve serves. The zero Serving is wskit.Accept with both pumps, and wskit.AcceptSSE, over TCP.
type Serving struct {
	Kind   Kind                                               // zero: TCP
	Accept *websocket.AcceptOptions                           // for the upgrade
	Client []wskit.ClientOption                               // for each client
	Block  bool                                               // /ws is ServeWS (for NewClient's kind: Client.Serve) and tells Served
	Pumps  func(*wskit.Client)                                // what runs the client; nil: both pumps, each on a goroutine
	Ctx    func(*http.Request) context.Context                // Accept's; nil: the request's own
	Wrap   func(http.ResponseWriter) http.ResponseWriter      // middleware; nil: none
	Stream func(w http.ResponseWriter, r *http.Request) error // instead of AcceptSSE

	SendBuffer int                    // bytes of each socket's send buffer, so that a peer that does not read is noticed early; 0: the system's
	Setup      func(*httptest.Server) // before it starts
}

// Listen starts a server with a handler of the test's own. It is closed with the test, and so are its connections.
func Listen(t testing.TB, kind Kind, handler http.Handler) *Server {
	t.Helper()
	return listen(t, handler, Serving{Kind: kind})
}

// Serve starts a server with the hub's WebSockets at /ws and its streams at /sse.
func Serve(t testing.TB, hub *wskit.Hub, how Serving) *Server {
	t.Helper()
	h := &handlers{hub: hub, Serving: how, accepted: make(chan *wskit.Client, kept),
		refused: make(chan error, kept), served: make(chan error, kept), streamed: make(chan error, kept)}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", h.ws)
	mux.HandleFunc("/sse", h.sse)
	s := listen(t, mux, how)
	s.Accepted, s.Refused, s.Served, s.Streamed = h.accepted, h.refused, h.served, h.streamed
	return s
}

// kept is how much a Server tells before its handlers wait for somebody who listens.
const kept = 1 << 14

func listen(t testing.TB, handler http.Handler, how Serving) *Server {
	t.Helper()
	kind := how.Kind
	if kind == (Kind{}) {
		kind = TCP
	}
	s := &Server{Server: httptest.NewUnstartedServer(handler), Kind: kind, dial: (&net.Dialer{}).DialContext}
	if kind.pipe {
		_ = s.Listener.Close()
		pipes := newPipes()
		s.Listener, s.dial = pipes, pipes.dial
	}
	s.Listener = &listener{s.Listener, how.SendBuffer, kind.wrapped}
	s.EnableHTTP2 = kind.http2
	if how.Setup != nil {
		how.Setup(s.Server)
	}
	if kind.tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	if kind.pipe {
		s.Client().Transport.(*http.Transport).DialContext = s.dial
	}
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// At is a server that somebody else runs at that address, another process perhaps, over TCP, TLS or HTTP/2. It tells nothing of its
// handlers: Open, Handshake, Ask and Stream are for it.
func At(t testing.TB, kind Kind, addr net.Addr) *Server {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: kind.http2}
	s := &Server{Kind: kind, Server: &httptest.Server{URL: "http://" + addr.String(), Listener: elsewhere{addr: addr}},
		dial: (&net.Dialer{}).DialContext, client: &http.Client{Transport: transport}}
	if kind.tls {
		s.URL, s.TLS = "https://"+addr.String(), &tls.Config{InsecureSkipVerify: true}
		transport.TLSClientConfig = s.TLS
	}
	t.Cleanup(transport.CloseIdleConnections)
	return s
}

// elsewhere is the listener of a server that somebody else runs.
type elsewhere struct {
	net.Listener
	addr net.Addr
}

func (e elsewhere) Addr() net.Addr { return e.addr }

// Client is an HTTP client that trusts the server.
func (s *Server) Client() *http.Client {
	if s.client != nil {
		return s.client
	}
	return s.Server.Client()
}

// Host is the server's address, as in a Host header.
func (s *Server) Host() string { return s.Listener.Addr().String() }

// Conn dials a connection, with TLS if the server has it. All it does is bounded by twice Patience, and it is closed with
// the test.
func (s *Server) Conn(t testing.TB) net.Conn {
	t.Helper()
	conn, err := s.dial(t.Context(), "tcp", s.Host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * Patience))
	if s.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	return conn
}

// handlers is what a hub's server does with its requests.
type handlers struct {
	Serving
	hub                       *wskit.Hub
	accepted                  chan *wskit.Client
	refused, served, streamed chan error
}

func (h *handlers) ws(w http.ResponseWriter, r *http.Request) {
	w = h.wrapped(w)
	if h.Block && !h.Kind.lent {
		h.served <- wskit.ServeWS(w, r, h.hub, h.Accept, h.Client...)
		return
	}
	c, err := h.accept(w, r)
	if err != nil {
		h.refused <- err
		return
	}
	switch {
	case h.Block:
		h.served <- c.Serve()
		return
	case h.Pumps != nil:
		h.Pumps(c)
	default:
		go c.ReadPump()
		go c.WritePump()
	}
	h.accepted <- c
}

func (h *handlers) accept(w http.ResponseWriter, r *http.Request) (*wskit.Client, error) {
	ctx := r.Context()
	if h.Ctx != nil {
		ctx = h.Ctx(r)
	}
	if !h.Kind.lent {
		return wskit.Accept(ctx, w, r, h.hub, h.Accept, h.Client...)
	}
	conn, err := websocket.Accept(w, r, h.Accept)
	if err != nil {
		return nil, err
	}
	if h.Ctx == nil {
		ctx = context.WithoutCancel(ctx) // NewClient cannot tell that it is a request's
	}
	c := wskit.NewClient(h.hub, conn, ctx, h.Client...)
	h.hub.Register(c)
	return c, nil
}

func (h *handlers) sse(w http.ResponseWriter, r *http.Request) {
	if w = h.wrapped(w); h.Stream != nil {
		h.streamed <- h.Stream(w, r)
		return
	}
	h.streamed <- wskit.AcceptSSE(w, r, h.hub)
}

func (h *handlers) wrapped(w http.ResponseWriter) http.ResponseWriter {
	if h.Wrap == nil {
		return w
	}
	return h.Wrap(w)
}
