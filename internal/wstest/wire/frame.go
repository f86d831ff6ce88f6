// Package wire reads and writes WebSocket frames (RFC 6455, section 5.2) as tests want to see them, and makes pairs of
// connections. It knows nothing of this module, so that tests inside of its packages can use it too; all others find the
// same names in package wstest.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Opcode is what a frame is.
type Opcode byte

// The opcodes of RFC 6455.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xA
)

// String is the opcode's name.
func (o Opcode) String() string {
	switch o {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return fmt.Sprintf("opcode %#x", byte(o))
}

// IsControl reports whether the frame may stand between the fragments of a message.
func (o Opcode) IsControl() bool { return o&0x8 != 0 }

// The reserved bits as they stand in a frame's first byte; RSV1 marks what is compressed (RFC 7692).
const (
	RSV1 byte = 0x40
	RSV2 byte = 0x20
	RSV3 byte = 0x10
)

// NoCode is the code of a close frame that has none (RFC 6455, section 7.1.5).
const NoCode = 1005

// MaxPayload is what Read takes for a frame, in bytes; beyond it is a test that went wrong.
const MaxPayload = 1 << 26

// Frame is one frame without its mask. Frames are compared with ==.
type Frame struct {
	Fin     bool
	RSV     byte // the reserved bits in their place
	Op      Opcode
	Payload string
}

// Whole is a frame that is a message by itself, or a control frame.
func Whole(op Opcode, payload string) Frame { return Frame{Fin: true, Op: op, Payload: payload} }

// Is reports whether the frame is a whole one of that opcode, with no reserved bit.
func (f Frame) Is(op Opcode) bool { return f == Whole(op, f.Payload) }

// Fragments is a message in as many frames as there are parts.
func Fragments(op Opcode, parts ...string) (frames []Frame) {
	for i, part := range parts {
		frames = append(frames, Frame{Fin: i == len(parts)-1, Op: op, Payload: part})
		op = Continuation
	}
	return frames
}

// CloseWith is a close frame.
func CloseWith(code int, reason string) Frame {
	return Whole(Close, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

// Code is the code that a close frame carries, or NoCode.
func (f Frame) Code() int {
	if len(f.Payload) < 2 {
		return NoCode
	}
	return int(binary.BigEndian.Uint16([]byte(f.Payload)))
}

// Reason is the text behind a close frame's code.
func (f Frame) Reason() string { return f.Payload[min(2, len(f.Payload)):] }

// String is short, whatever the payload.
func (f Frame) String() string {
	text := f.Op.String()
	if f.Op == Close {
		text += fmt.Sprintf(" %d %.80q", f.Code(), f.Reason())
	} else {
		text += fmt.Sprintf(" of %d bytes %.80q", len(f.Payload), f.Payload)
	}
	if f.RSV != 0 {
		text += fmt.Sprintf(", reserved bits %#x", f.RSV)
	}
	if !f.Fin {
		text += ", to be continued"
	}
	return text
}

// key is the mask of the example in RFC 6455, section 5.7.
var key = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// Masked is the frame as a client sends it.
func (f Frame) Masked() []byte {
	b := append(f.header(0x80), key[:]...)
	start := len(b)
	b = append(b, f.Payload...)
	for i := range b[start:] {
		b[start+i] ^= key[i%4]
	}
	return b
}

// Unmasked is the frame as a server sends it, and a client must not.
func (f Frame) Unmasked() []byte { return append(f.header(0), f.Payload...) }

func (f Frame) header(mask byte) []byte {
	first := f.RSV | byte(f.Op)
	if f.Fin {
		first |= 0x80
	}
	b := make([]byte, 0, 14+len(f.Payload))
	switch n := len(f.Payload); {
	case n < 126:
		return append(b, first, mask|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, first, mask|126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, first, mask|127), uint64(n))
	}
}

// Masked is a whole frame as a client sends it.
func Masked(op Opcode, payload string) []byte { return Whole(op, payload).Masked() }

// Masks is frames one behind the other as a client sends them.
func Masks(frames ...Frame) (all []byte) {
	for _, f := range frames {
		all = append(all, f.Masked()...)
	}
	return all
}

// Read reads one frame of a server. One that is masked, or whose length is not in the shortest form, is an error; reserved
// bits and fragments are the caller's to judge. io.EOF: the stream ended between two frames.
func Read(r io.Reader) (f Frame, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return f, err
	}
	f.Fin, f.RSV, f.Op = head[0]&0x80 != 0, head[0]&0x70, Opcode(head[0]&0x0f)
	n := uint64(head[1])
	if n&0x80 != 0 {
		return f, fmt.Errorf("a server's frame is masked: %x", head)
	}
	if n >= 126 {
		var ext [8]byte
		size := 2 + 6*(int(n)-126)
		if _, err = io.ReadFull(r, ext[8-size:]); err != nil {
			return f, midFrame(err)
		}
		shortest := uint64(126)
		if size == 8 {
			shortest = 1 << 16
		}
		if n = binary.BigEndian.Uint64(ext[:]); n < shortest || n > MaxPayload {
			return f, fmt.Errorf("a frame says it has %d bytes, in a field of %d", n, size)
		}
	}
	p := make([]byte, n)
	_, err = io.ReadFull(r, p)
	f.Payload = string(p)
	return f, midFrame(err)
}

func midFrame(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
