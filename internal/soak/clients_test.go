package soak_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/wskit/wskit"
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
		w.cancel = func() { _, _ = p.Write(masked(opClose, "\x03\xe8")) }
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
		if !poll(a.patience(), w.complete) {
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
		op, payload, err := p.frame()
		switch {
		case err != nil:
			w.over(0, err)
			return
		case op == opText:
			w.hear([]byte(payload))
		case op == opPing:
			_, _ = p.Write(masked(opPong, payload))
		case op == opClose:
			_, _ = p.Write(masked(opClose, payload))
			w.over(closeCode(payload), nil)
			return
		}
	}
}

func (w *witness) readSSE(body io.ReadCloser) {
	defer func() { _ = body.Close() }()
	br := bufio.NewReader(body)
	for {
		line, err := br.ReadBytes('\n')
		if err != nil {
			w.over(0, err)
			return
		}
		if data, ok := bytes.CutPrefix(bytes.TrimSuffix(line, []byte("\n")), []byte("data: ")); ok {
			w.hear(data)
		}
	}
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

// peer is a WebSocket connection over bare TCP.
type peer struct {
	*net.TCPConn
	br *bufio.Reader
	v  *visit
	c  *wskit.Client
}

const upgrade = " HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

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
	p := &peer{TCPConn: conn, br: bufio.NewReaderSize(conn, 1024), v: v}
	if _, err = p.Write([]byte("GET " + a.visit(v) + upgrade)); err == nil {
		_ = p.SetReadDeadline(time.Now().Add(patience))
		var resp *http.Response
		if resp, err = http.ReadResponse(p.br, nil); err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		_ = p.SetReadDeadline(time.Time{})
	}
	if err == nil {
		err = v.in()
	}
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	p.c = <-v.accepted
	return p, nil
}

// reset ends a connection with an RST.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

// ending reads until the close frame or the end of the connection and returns the close code.
func (p *peer) ending() (code int, err error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	for {
		op, payload, err := p.frame()
		if err != nil {
			return 0, err
		}
		if op == opClose {
			return closeCode(payload), nil
		}
	}
}

// closes expects a close code; the peer answers it, as it should, and leaves.
func (p *peer) closes(want int) error {
	defer func() { _ = p.Close() }()
	got, err := p.ending()
	if got != want {
		return fmt.Errorf("close code %d (%v), want %d", got, err, want)
	}
	_, _ = p.Write(masked(opClose, string([]byte{byte(want >> 8), byte(want)})))
	return nil
}

const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
)

// masked is a frame as a client sends it, with a mask of zeros.
func masked(op byte, payload string) []byte {
	frame := []byte{0x80 | op}
	if n := len(payload); n < 126 {
		frame = append(frame, 0x80|byte(n))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	}
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// frame reads one frame of the server.
func (p *peer) frame() (op byte, payload string, err error) {
	var head [2]byte
	if _, err = io.ReadFull(p.br, head[:]); err != nil {
		return
	}
	n := uint64(head[1] & 0x7f)
	switch {
	case head[0]&0x70 != 0 || head[0]&0x80 == 0 || head[1]&0x80 != 0:
		return 0, "", fmt.Errorf("a header of %x", head)
	case n >= 126:
		ext := make([]byte, 2+6*(n-126))
		if _, err = io.ReadFull(p.br, ext); err != nil {
			return
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-len(ext)), ext...))
	}
	if n > 1<<20 {
		return 0, "", fmt.Errorf("a frame of %d bytes", n)
	}
	data := make([]byte, n)
	_, err = io.ReadFull(p.br, data)
	return head[0] & 0x0f, string(data), err
}

func closeCode(payload string) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16([]byte(payload)))
}
