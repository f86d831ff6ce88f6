package main

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	opPing  = 0x9
	opPong  = 0xa
	opClose = 0x8
)

// frames decodes the WebSocket frames of a server (RFC 6455, section 5), which are not masked.
type frames struct {
	pong    func(payload []byte) error // answers a ping; nil: nobody does
	inflate *inflater                  // of permessage-deflate; nil: it was not negotiated

	head    [10]byte
	have    int    // bytes of head
	left    uint64 // bytes of payload still to come
	inside  bool   // the header is complete
	control []byte
}

const (
	finBit     = 0x80
	rsv1Bit    = 0x40 // of a compressed message's first frame: RFC 7692, section 6
	controlBit = 0x08
)

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
		switch {
		case f.head[0]&controlBit != 0:
			f.control = append(f.control, p[:n]...)
		case f.inflate != nil:
			f.inflate.add(p[:n], data)
		case n > 0:
			data(p[:n])
		}
		p, f.left = p[n:], f.left-n
		if f.left > 0 {
			return nil
		}
		if err := f.end(data); err != nil {
			return err
		}
	}
}

// header collects a frame's header; inside is set once it is complete.
func (f *frames) header(p []byte) (rest []byte, err error) {
	for len(p) > 0 {
		f.head[f.have] = p[0]
		f.have++
		p = p[1:]
		if f.have < 2 {
			continue
		}
		switch {
		case f.head[1]&0x80 != 0:
			return nil, errors.New("masked frame from the server")
		case f.head[0]&rsv1Bit != 0 && f.inflate == nil:
			return nil, errors.New("compressed message, though that was not negotiated")
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
		if f.head[0]&rsv1Bit != 0 {
			f.inflate.begin()
		}
		return p, nil
	}
	return nil, nil
}

func (f *frames) end(data func([]byte)) error {
	first, payload := f.head[0], f.control
	f.have, f.inside, f.control = 0, false, f.control[:0]
	op := first & 0x0f
	switch {
	case op == opClose && len(payload) >= 2:
		return fmt.Errorf("%w with %d %s", errPeerClosed, binary.BigEndian.Uint16(payload), payload[2:])
	case op == opClose:
		return errPeerClosed
	case op == opPing && f.pong != nil:
		return f.pong(payload)
	case f.inflate != nil && op&controlBit == 0 && first&finBit != 0:
		return f.inflate.end(data)
	}
	return nil
}

// clientFrame is a masked frame, as clients send; the key is zero, which leaves the payload as it is. Up to 125 bytes.
func clientFrame(op byte, payload []byte) []byte {
	return append([]byte{finBit | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
}
