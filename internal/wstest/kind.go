package wstest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
)

// Kind is a kind of connection. What the library promises it promises on each: a test ranges over Kinds or StreamKinds, or
// calls Each or EachStream.
type Kind struct {
	Name string

	tls     bool // net/http's TLS over TCP
	http2   bool
	wrapped bool // a net.Conn that the library does not know
	lent    bool // upgraded by the server itself, and handed to wskit.NewClient
	pipe    bool // no socket at all
}

// The kinds of connection.
var (
	TCP       = Kind{Name: "TCP"}
	TLS       = Kind{Name: "TLS", tls: true}
	Wrapped   = Kind{Name: "wrapped net.Conn", wrapped: true} // a struct that embeds net.Conn, as proxies and limiters make them
	NewClient = Kind{Name: "NewClient", lent: true}           // TCP, upgraded by the server itself and handed to wskit.NewClient
	HTTP2     = Kind{Name: "HTTP/2", tls: true, http2: true}  // for streams only: there is no upgrade
	Pipe      = Kind{Name: "pipe", pipe: true}                // net.Pipe: unbuffered, and fit for a synctest bubble
)

// Kinds is what a WebSocket may run over.
var Kinds = []Kind{TCP, TLS, Wrapped, NewClient}

// StreamKinds is what a stream of Server-Sent Events may run over.
var StreamKinds = []Kind{TCP, TLS, Wrapped, HTTP2}

// Each runs test as a subtest for each of Kinds.
func Each(t *testing.T, test func(t *testing.T, kind Kind)) { each(t, Kinds, test) }

// EachStream runs test as a subtest for each of StreamKinds.
func EachStream(t *testing.T, test func(t *testing.T, kind Kind)) { each(t, StreamKinds, test) }

func each(t *testing.T, kinds []Kind, test func(*testing.T, Kind)) {
	for _, kind := range kinds {
		t.Run(kind.Name, func(t *testing.T) { test(t, kind) })
	}
}

// listener is what a server of some kind accepts from.
type listener struct {
	net.Listener
	sendBuffer int // bytes of each socket's, if not 0
	wrapped    bool
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok && l.sendBuffer > 0 {
		_ = tcp.SetWriteBuffer(l.sendBuffer)
	}
	if l.wrapped {
		conn = struct{ net.Conn }{conn}
	}
	return conn, nil
}

// pipes is a net.Listener whose connections are pairs of pipes.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.closed:
		return nil, errors.New("the server is closed")
	}
}
