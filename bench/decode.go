package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// decoder strips a transport's framing from a connection's input, in pieces of any size.
type decoder interface {
	// decode hands the payload bytes in p to data, in order; the pieces are valid during the call.
	decode(p []byte, data func([]byte)) error
}

var errPeerClosed = errors.New("closed by the server")

const (
	opPing  = 0x9
	opPong  = 0xa
	opClose = 0x8
)

// frames decodes the WebSocket frames of a server (RFC 6455, section 5): unmasked, without extensions.
type frames struct {
	pong func(payload []byte) error // answers a ping; nil: nobody does

	head    [10]byte
	have    int    // bytes of head
	left    uint64 // bytes of payload still to come
	inside  bool   // the header is complete
	control []byte
}

func (f *frames) decode(p []byte, data func([]byte)) error {
	for {
		if !f.inside {
			var err error
			if p, err = f.header(p); err != nil {
				return err
			}
			if !f.inside {
				return nil
			}
		}
		n := min(uint64(len(p)), f.left)
		if f.isControl() {
			f.control = append(f.control, p[:n]...)
		} else if n > 0 {
			data(p[:n])
		}
		p, f.left = p[n:], f.left-n
		if f.left > 0 {
			return nil
		}
		if err := f.end(); err != nil {
			return err
		}
	}
}

func (f *frames) isControl() bool { return f.head[0]&0x08 != 0 }

// header collects a frame's header; inside is set once it is complete.
func (f *frames) header(p []byte) (rest []byte, err error) {
	for len(p) > 0 {
		f.head[f.have] = p[0]
		f.have++
		p = p[1:]
		if f.have < 2 {
			continue
		}
		if f.head[1]&0x80 != 0 {
			return nil, errors.New("masked frame from the server")
		}
		switch length := f.head[1]; {
		case length < 126:
			f.left = uint64(length)
		case length == 126 && f.have == 4:
			f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
		case length == 127 && f.have == 10:
			f.left = binary.BigEndian.Uint64(f.head[2:])
		default:
			continue
		}
		f.inside = true
		return p, nil
	}
	return nil, nil
}

func (f *frames) end() error {
	op, payload := f.head[0]&0x0f, f.control
	f.have, f.inside, f.control = 0, false, f.control[:0]
	switch {
	case op == opClose && len(payload) >= 2:
		return fmt.Errorf("%w with %d %s", errPeerClosed, binary.BigEndian.Uint16(payload), payload[2:])
	case op == opClose:
		return errPeerClosed
	case op == opPing && f.pong != nil:
		return f.pong(payload)
	}
	return nil
}

// clientFrame is a masked frame, as clients send; the key is zero, which leaves the payload as it is. Up to 125 bytes.
func clientFrame(op byte, payload []byte) []byte {
	return append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
}

// chunks decodes a chunked HTTP/1.1 body (RFC 9112, section 7.1).
type chunks struct {
	state chunkState
	size  int
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	inData
	inDataEnd
)

func (c *chunks) decode(p []byte, data func([]byte)) error {
	for len(p) > 0 {
		b := p[0]
		switch c.state {
		case inSize, inExtension:
			p = p[1:]
			if err := c.sizeByte(b); err != nil {
				return err
			}
		case inData:
			n := min(len(p), c.size)
			data(p[:n])
			p, c.size = p[n:], c.size-n
			if c.size == 0 {
				c.state = inDataEnd
			}
		case inDataEnd:
			p = p[1:]
			if b == '\n' {
				c.state = inSize
			}
		}
	}
	return nil
}

func (c *chunks) sizeByte(b byte) error {
	digit := -1
	switch {
	case b == '\n' && c.size == 0:
		return errPeerClosed
	case b == '\n':
		c.state = inData
		return nil
	case c.state == inExtension || b == ';' || b == '\r':
		c.state = inExtension
		return nil
	case b >= '0' && b <= '9':
		digit = int(b - '0')
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		digit = int(b|0x20-'a') + 10
	}
	if digit < 0 || c.size > 1<<30 {
		return fmt.Errorf("chunk size: unexpected byte %q", b)
	}
	c.size = c.size<<4 | digit
	return nil
}
