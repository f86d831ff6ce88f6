package clientactor

import (
	"encoding/binary"
	"math"
)

// decoder makes messages and control frames of the bytes that a client sends, which may come in pieces of any size
// (RFC 6455; RFC 7692 for what is compressed). It is strict: what the protocol forbids ends it with a *violation, after
// which it is not to be used. It does no input itself and never waits, so nothing that it borrows is kept in between.
//
// It belongs to whoever reads.
type decoder struct {
	limit   int64    // bytes of a message; negative: none
	deflate bool     // messages may be compressed
	window  *window  // what they refer to from one to the next; nil: they do not
	discard bool     // nobody wants messages: they are checked, and not kept
	head    [14]byte // of the frame, as far as it has come
	got     uint8    // how much of head

	// The frame that is being read, once its head is there.
	inside  bool
	fin     bool
	control byte   // its opcode, if it is a control frame
	key     uint32 // what its next byte is masked with
	left    uint64 // bytes of payload that have not come

	message
	aside []byte // the payload of a control frame that comes in pieces
	empty int    // how many fragments had none, for whoever counts them
}

// unit is a whole message, or a control frame. There is none in one without an opcode.
type unit struct {
	opcode  byte
	payload []byte // a message's is the receiver's own; a control frame's is valid until the next call
}

const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	finBit   = 0x80
	rsv1     = 0x40
	rsvOther = 0x30
	maskBit  = 0x80

	maxControl = 125 // bytes of payload: RFC 6455, section 5.5
)

// next takes from in, which it changes, up to the end of the next unit, and returns what follows. Without a unit all of
// it has been taken, and more is needed.
func (d *decoder) next(in []byte) (u unit, rest []byte, err error) {
	for {
		if !d.inside {
			if in, err = d.header(in); err != nil || !d.inside {
				return unit{}, nil, err
			}
		}
		n := int(min(uint64(len(in)), d.left))
		if d.control != 0 {
			if payload, whole := d.controlPart(in[:n]); whole {
				return unit{d.control, payload}, in[n:], nil
			}
		} else {
			if n > 0 {
				d.grow(n, d.left-uint64(n), d.fin)
				copy(d.buf[len(d.buf):len(d.buf)+n], in)
				if err := d.took(n); err != nil {
					return unit{}, nil, err
				}
			}
			if d.left == 0 {
				d.inside = false
				if d.fin {
					u, err := d.finish()
					return u, in[n:], err
				}
			}
		}
		if in = in[n:]; d.inside { // all of it was this frame's
			return unit{}, nil, nil
		}
	}
}

// space is where the next bytes may be put without a detour, to be told of with took, since a large message is under way. It
// is nil when they had better come through next. It is as large as what has come of the message, or a buffer: what is
// announced takes no memory.
func (d *decoder) space() []byte {
	if !d.inside || d.control != 0 || d.left < inputBuffer {
		return nil
	}
	if cap(d.buf)-len(d.buf) < inputBuffer/2 {
		d.grow(inputBuffer, d.left-inputBuffer, d.fin)
	}
	return d.buf[len(d.buf):min(uint64(cap(d.buf)), uint64(len(d.buf))+d.left)]
}

// took is told that n bytes, no more than are left of the frame, are where the message has room.
func (d *decoder) took(n int) error {
	at := len(d.buf)
	d.buf = d.buf[:at+n]
	d.left -= uint64(n)
	d.key = unmask(d.buf[at:], d.key)
	if d.compressed {
		return nil // what it says will be checked when it is whole
	}
	return d.check(false, d.discard)
}

// header takes the head of the next frame from in, and is inside it when that has come whole.
func (d *decoder) header(in []byte) (rest []byte, err error) {
	for {
		need := uint8(2)
		if d.got >= 2 {
			if err := d.judge(d.head[0], d.head[1]); err != nil {
				return nil, err
			}
			switch need = 2 + 4; d.head[1] &^ maskBit {
			case 126:
				need += 2
			case 127:
				need += 8
			}
			if d.got == need {
				d.got = 0
				return in, d.begin(d.head[:need])
			}
		}
		n := copy(d.head[d.got:need], in)
		if n == 0 {
			return nil, nil
		}
		d.got += uint8(n)
		in = in[n:]
	}
}

// judge says whether a frame may begin so here: RFC 6455, sections 5.2, 5.4 and 5.5; RFC 7692, section 6.
func (d *decoder) judge(first, second byte) error {
	opcode, fin := first&0x0f, first&finBit != 0
	if first&rsvOther != 0 || first&rsv1 != 0 && (!d.deflate || opcode != opText && opcode != opBinary) {
		return errReservedBits
	}
	switch opcode {
	case opContinuation:
		if d.opcode == 0 {
			return errContinuation
		}
	case opText, opBinary:
		if d.opcode != 0 {
			return errInterrupted
		}
	case opClose, opPing, opPong:
		if !fin || second&^maskBit > maxControl {
			return errControl
		}
	default:
		return errOpcode
	}
	if second&maskBit == 0 {
		return errUnmasked
	}
	return nil
}

// begin is inside the frame whose head is complete and may begin here.
func (d *decoder) begin(head []byte) error {
	mask := len(head) - 4
	switch length := head[2:mask]; len(length) {
	case 0:
		d.left = uint64(head[1] &^ maskBit)
	case 2:
		d.left = uint64(binary.BigEndian.Uint16(length))
	case 8:
		if d.left = binary.BigEndian.Uint64(length); d.left > math.MaxInt64 {
			return errLength
		}
	}
	d.key = binary.LittleEndian.Uint32(head[mask:])
	d.inside, d.fin = true, head[0]&finBit != 0
	d.control = 0
	switch opcode := head[0] & 0x0f; opcode {
	case opContinuation:
	case opText, opBinary:
		d.message = message{opcode: opcode, compressed: head[0]&rsv1 != 0}
	default:
		d.control = opcode
		return nil
	}
	if d.left == 0 && !d.fin {
		d.empty++
	}
	return d.announce(int64(d.left), d.limit)
}

// controlPart takes more of a control frame's payload, and returns that when it is whole.
func (d *decoder) controlPart(p []byte) (payload []byte, whole bool) {
	d.key = unmask(p, d.key)
	d.left -= uint64(len(p))
	if d.aside != nil || d.left > 0 {
		d.aside = append(d.aside, p...)
		p = d.aside
	}
	if d.left > 0 {
		return nil, false
	}
	d.inside, d.aside = false, nil
	return p, true
}

// finish returns the message that has come whole.
func (d *decoder) finish() (unit, error) {
	m := d.message
	d.message = message{}
	if m.compressed {
		if err := m.inflate(d.window, d.limit, d.discard); err != nil {
			return unit{}, err
		}
	} else if err := m.check(true, d.discard); err != nil {
		return unit{}, err
	}
	if m.buf == nil {
		m.buf = []byte{}
	}
	return unit{m.opcode, m.buf}, nil
}
