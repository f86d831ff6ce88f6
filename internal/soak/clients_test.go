package soak_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// kinds is what healthy subscribers are.
var kinds = [...]string{"ws", "raw ws", "sse", "foreign"}

// roomy is how a healthy client is accepted.
var roomy = []wskit.ClientOption{wskit.WithSendBufSize(1024), wskit.WithPingInterval(time.Second)}

// join lets a healthy subscriber in, which reads until it ends.
func (a *arena) join(kind string, r *room, stable bool) (*witness, error) {
	w := a.newWitness(kind, r, stable)
	switch kind {
	case "ws":
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		v := &visit{hub: r.hub, opts: roomy, witness: w}
		conn, _, err := websocket.Dial(ctx, "ws://"+a.wide+a.visit(v), &websocket.DialOptions{HTTPClient: a.client})
		if err != nil {
			return nil, err
		}
		w.cancel = func() { _ = conn.Close(websocket.StatusNormalClosure, "") }
		a.work.Go(func() { w.readWS(conn) })
		return w, v.in()
	case "raw ws":
		v := &visit{hub: r.hub, opts: roomy, witness: w}
		p, err := a.dial(a.wide, v)
		if err != nil {
			return nil, err
		}
		w.cancel = func() { _, _ = p.Write(wstest.CloseWith(1000, "").Masked()) }
		a.work.Go(func() { w.readRaw(p) })
		return w, nil
	case "sse":
		ctx, cancel := context.WithCancel(context.Background())
		w.cancel = cancel
		a.serial.Add(1)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.wide+a.streamPath(r.hub), nil)
		resp, err := a.client.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			cancel()
			return nil, fmt.Errorf("%v %w", resp, err)
		}
		w.registered()
		a.work.Go(func() { w.readSSE(resp.Body) })
		return w, nil
	default:
		r.hub.Register(w)
		w.registered()
		return w, nil
	}
}

// part has a healthy subscriber leave: sent away by the hub, or by itself once it has what is owed to it.
func (a *arena) part(w *witness) {
	switch w.kind {
	case "foreign":
		w.leave()
		w.room.hub.Unregister(w)
	case "raw ws":
		w.leave()
		w.room.hub.Unregister(w.client)
	default:
		w.leave()
		if !wstest.Poll(a.patience(), w.complete) {
			a.fail("%s did not get all within %v", w.name, patience)
		}
		w.cancel()
	}
	select {
	case <-w.released:
	case <-time.After(a.patience()):
		a.fail("%s is not let go within %v", w.name, patience)
	}
}

func (w *witness) readWS(conn *websocket.Conn) {
	conn.SetReadLimit(-1)
	for {
		_, data, err := conn.Read(context.Background())
		if err != nil {
			w.over(int(websocket.CloseStatus(err)), err)
			_ = conn.CloseNow()
			return
		}
		w.hear(data)
	}
}

func (w *witness) readRaw(p *peer) {
	defer func() { _ = p.Close() }()
	for {
		f, err := p.Next(true)
		switch {
		case err != nil:
			w.over(0, err)
			return
		case f.Is(wstest.Text):
			w.hear([]byte(f.Payload))
		case f.Is(wstest.Close):
			_, _ = p.Write(f.Masked())
			w.over(f.Code(), nil)
			return
		default:
			w.over(0, fmt.Errorf("a frame that a server does not send: %v", f))
			return
		}
	}
}

func (w *witness) readSSE(body io.ReadCloser) {
	defer func() { _ = body.Close() }()
	w.over(0, wstest.ReadEvents(body, func(data string) { w.hear([]byte(data)) }, nil))
}

// streamPath announces a request for a stream.
func (a *arena) streamPath(hub *wskit.Hub) string {
	return "/sse" + a.visit(&visit{hub: hub})[len("/ws"):]
}

// in waits until the handler has accepted.
func (v *visit) in() error {
	select {
	case c := <-v.accepted:
		v.accepted <- c // for whoever wants it
		return nil
	case <-v.ended:
		return fmt.Errorf("Accept failed")
	case <-time.After(patience):
		return fmt.Errorf("Accept did not return within %v", patience)
	}
}

// gone waits until the server is through with the connection.
func (v *visit) gone(limit time.Duration) error {
	select {
	case <-v.ended:
		return nil
	case <-time.After(limit):
		return fmt.Errorf("the server held the connection for more than %v", limit)
	}
}

// peer is a WebSocket connection that does what it is told and no more.
type peer struct {
	*wstest.Peer
	v *visit
	c *wskit.Client
}

func (a *arena) tcp(addr string) (*net.TCPConn, error) {
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		return nil, err
	}
	c := conn.(*net.TCPConn)
	if addr == a.narrow {
		_ = c.SetReadBuffer(narrowBuffer)
	}
	return c, nil
}

// dial upgrades a bare connection and waits until it is accepted.
func (a *arena) dial(addr string, v *visit) (*peer, error) {
	conn, err := a.tcp(addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	p, err := wstest.Ask(conn, wstest.Handshake{Path: a.visit(v)}.Request("x"))
	if err == nil && p.Answer.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("status %d", p.Answer.StatusCode)
	}
	_ = conn.SetReadDeadline(time.Time{})
	if err == nil {
		err = v.in()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &peer{Peer: p, v: v, c: <-v.accepted}, nil
}

// reset ends a connection with an RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// ending reads until the close frame or the end of the connection and returns the close code.
func (p *peer) ending() (code int, err error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	return p.CloseCode()
}

// closes expects a close code; the peer answers it, as it should, and leaves.
func (p *peer) closes(want int) error {
	defer func() { _ = p.Close() }()
	got, err := p.ending()
	if got != want {
		return fmt.Errorf("close code %d (%v), want %d", got, err, want)
	}
	_, _ = p.Write(wstest.CloseWith(want, "").Masked())
	return nil
}
