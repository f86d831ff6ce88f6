package attack_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// network is a net.Listener whose connections are pairs of pipes: an HTTP server and its clients without a socket.
type network struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.conns:
		return c, nil
	case <-n.closed:
		return nil, net.ErrClosed
	}
}

func (n *network) Close() error { n.once.Do(func() { close(n.closed) }); return nil }

func (n *network) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (n *network) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.conns <- server:
		return client, nil
	case <-n.closed:
		return nil, errors.New("closed")
	}
}

// piped is a server as serve makes them, over pipes; pump is what is done with each client.
type piped struct {
	*network
	client   *http.Client
	accepted chan *wskit.Client
}

func pipes(t testing.TB, h *wskit.Hub, pump func(*wskit.Client), opts ...wskit.ClientOption) *piped {
	p := &piped{network: &network{conns: make(chan net.Conn), closed: make(chan struct{})}, accepted: make(chan *wskit.Client, 16)}
	transport := &http.Transport{DialContext: p.dial}
	p.client = &http.Client{Transport: transport}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := wskit.Accept(r.Context(), w, r, h, nil, opts...)
		if err != nil {
			return
		}
		pump(c)
		p.accepted <- c
	})
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) { _ = wskit.AcceptSSE(w, r, h) })
	srv := &http.Server{Handler: mux}
	done := begin(func() { _ = srv.Serve(p.network) })
	t.Cleanup(func() {
		_ = srv.Close()
		transport.CloseIdleConnections()
		<-done
	})
	return p
}

func (p *piped) ws(t testing.TB) (*peer, *wskit.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws://pipe/ws", &websocket.DialOptions{HTTPClient: p.client})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	return &peer{conn}, receive(t, "Accept", p.accepted)
}
