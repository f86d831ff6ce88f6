package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// peer is one client connection of the load generator.
type peer struct {
	load  *load
	conn  net.Conn
	dec   decoder
	scan  scanner
	sink  func([]byte) // takes payload; made once, since a method value allocates
	timed bool         // latency is measured on this connection

	buf  [8 << 10]byte
	rest []byte // of buf: what came along with the end of the handshake

	next  uint32 // the number of the message that is due
	batch int64  // messages found in the current read
	now   int64  // when it was read
}

const handshakeWait = 10 * time.Second

// dialled spreads connections over source addresses: one address has 28,000 ports, and closed ones rest for a minute.
var dialled atomic.Int64

func dial(ctx context.Context, l *load, target string, receiveBuf int) (*peer, error) {
	d := net.Dialer{
		Timeout:   handshakeWait,
		LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+dialled.Add(1)/4000%200))},
		KeepAlive: -1,
	}
	if receiveBuf > 0 {
		d.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			if e := raw.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuf)
			}); e != nil {
				return e
			}
			return err
		}
	}
	conn, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	p := &peer{load: l, conn: conn}
	p.sink = p.take
	if err := p.handshake(l.sys, target); err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

// request is what a client of sys sends first, to get target, and how the answer begins.
func (s *system) request(target string) (request, answer string) {
	if s.proto == sse {
		return "GET " + target + " HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n", "HTTP/1.1 200"
	}
	request = "GET " + target + " HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if s.deflate {
		request += "Sec-WebSocket-Extensions: " + deflateOffer + "\r\n"
	}
	if s.speaks != "" {
		request += "Sec-WebSocket-Protocol: " + s.speaks + "\r\n"
	}
	return request + "\r\n", "HTTP/1.1 101"
}

// handshake sends the request and reads the response's header, and for a system that has the client say hello, the answer.
func (p *peer) handshake(sys *system, target string) error {
	request, want := sys.request(target)
	_ = p.conn.SetDeadline(time.Now().Add(handshakeWait))
	if _, err := p.conn.Write([]byte(request)); err != nil {
		return err
	}
	n, end := 0, -1
	for end < 0 {
		k, err := p.conn.Read(p.buf[n:])
		if err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		n += k
		end = bytes.Index(p.buf[:n], []byte("\r\n\r\n"))
	}
	header := string(p.buf[:end])
	if !strings.HasPrefix(header, want) {
		line, _, _ := strings.Cut(header, "\r\n")
		return fmt.Errorf("handshake: %s", line)
	}
	if sys.deflate && !deflateAgreed(header) {
		return errors.New("handshake: compression was not negotiated")
	}
	if sys.speaks != "" && !strings.Contains(header, "\r\nSec-Websocket-Protocol: "+sys.speaks) {
		return errors.New("handshake: the subprotocol was not agreed upon")
	}
	p.dec = p.decoderFor(sys, header)
	p.rest = p.buf[end+4 : n]
	if sys.hello != "" {
		if err := p.sayHello(sys.hello); err != nil {
			return fmt.Errorf("hello: %w", err)
		}
	}
	return p.conn.SetDeadline(time.Time{})
}

func (p *peer) decoderFor(sys *system, header string) decoder {
	switch {
	case sys.deflate:
		return &frames{pong: p.pong, inflate: &inflater{}}
	case sys.proto == ws:
		return &frames{pong: p.pong}
	case strings.Contains(strings.ToLower(header), "\ntransfer-encoding: chunked"):
		return &chunks{}
	}
	return untilClosed{}
}

func (p *peer) sayHello(hello string) error {
	if _, err := p.conn.Write(clientFrame(1, []byte(hello))); err != nil {
		return err
	}
	for answered := false; !answered; {
		n, err := p.conn.Read(p.buf[:])
		if err != nil {
			return err
		}
		if err := p.dec.decode(p.buf[:n], func([]byte) { answered = true }); err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) pong(payload []byte) error {
	_, err := p.conn.Write(clientFrame(opPong, payload))
	return err
}

// read takes everything that arrives until the connection ends.
func (p *peer) read() {
	in := p.rest
	for {
		p.now, p.batch = p.load.now(), 0
		err := p.dec.decode(in, p.sink)
		if p.batch > 0 {
			p.load.delivered(p.batch)
		}
		if err == nil {
			var n int
			n, err = p.conn.Read(p.buf[:])
			in = p.buf[:n]
		}
		if err != nil {
			p.load.lost(err)
			return
		}
	}
}

// readFrom has the reader wake up only when so many bytes have arrived, or the kernel wants to be rid of them.
func (p *peer) readFrom(bytes int) error {
	raw, err := p.conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	if e := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, bytes)
	}); e != nil {
		return e
	}
	return err
}

// take looks for messages in a piece of payload. Each connection has to get every message that is for it once and in order. How many
// of those that are for some are for this one, the total tells.
func (p *peer) take(data []byte) {
	for {
		rest, number, stamp, ok := p.scan.next(data)
		if !ok {
			return
		}
		data = rest
		first := p.load.first.Load()
		if number < first {
			continue // of an earlier measurement
		}
		if due := max(p.next, first); number != due && !(p.load.some.Load() && number > due) {
			p.load.disorder.Add(1)
		}
		p.next = number + 1
		p.batch++
		if p.timed {
			p.load.latency.Load().add(time.Duration(p.now - stamp))
		}
	}
}

// leave closes the connection as its protocol has it, and waits until the server has done its part.
func (p *peer) leave() {
	defer p.conn.Close()
	if _, isWS := p.dec.(*frames); !isWS {
		return
	}
	_ = p.conn.SetDeadline(time.Now().Add(handshakeWait))
	if _, err := p.conn.Write(clientFrame(opClose, []byte{1000 >> 8, 1000 & 0xff})); err != nil {
		return
	}
	for {
		n, err := p.conn.Read(p.buf[:])
		if err != nil || p.dec.decode(p.buf[:n], func([]byte) {}) != nil {
			return
		}
	}
}
