package main

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// slowly marks the client that is slow on purpose; see wskit.WithValue.
type slowly struct{}

const (
	slowQueue = 16              // messages that wait for it
	slowTurn  = 32              // bytes that it takes at a time
	slowPause = time.Second / 4 // between
	slowLife  = 2 * time.Minute // then it goes by itself
)

// slowClient is a real WebSocket client of this process's own, at the end of a line that carries 128 bytes a second. It belongs to a page,
// whose beats alone are more than that.
type slowClient struct {
	policy wskit.Overflow
	stop   context.CancelFunc
	done   chan struct{} // closed when it has gone
}

func dialSlowly(ctx context.Context, hub *wskit.Hub, page string, policy wskit.Overflow) (*slowClient, error) {
	near, far := net.Pipe()
	line := &slowLine{Conn: near}
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = wskit.ServeWS(w, r, hub, nil, wskit.WithOverflow(policy), wskit.WithSendBufSize(slowQueue),
			wskit.WithWriteWait(time.Minute), wskit.WithValue(slowly{}, true))
	})}
	go func() { _ = srv.Serve(&oneConn{conn: far}) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return line, nil }}
	conn, _, err := websocket.Dial(ctx, "ws://slow/?page="+url.QueryEscape(page), &websocket.DialOptions{HTTPClient: &http.Client{Transport: transport}})
	if err != nil {
		_ = srv.Close()
		_ = near.Close()
		return nil, err
	}
	line.slow.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), slowLife)
	c := &slowClient{policy: policy, stop: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer srv.Close()
		defer cancel()
		for {
			if _, _, err := conn.Read(ctx); err != nil { // which closes it
				_ = conn.CloseNow()
				return
			}
		}
	}()
	return c, nil
}

// slowLine is a connection that, once it is slow, brings a few bytes at a time.
type slowLine struct {
	net.Conn
	slow atomic.Bool
}

func (l *slowLine) Read(p []byte) (int, error) {
	if l.slow.Load() {
		time.Sleep(slowPause)
		p = p[:min(len(p), slowTurn)]
	}
	return l.Conn.Read(p)
}

// oneConn is a listener for one connection.
type oneConn struct{ conn net.Conn }

func (l *oneConn) Accept() (conn net.Conn, err error) {
	if conn, l.conn = l.conn, nil; conn == nil {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (l *oneConn) Close() error   { return nil }
func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{Name: "slow", Net: "pipe"} }
