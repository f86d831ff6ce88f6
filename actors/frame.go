package actors

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// Frame is one message on its way to subscribers: the payload, copied once, and its encodings, each built at most once
// however many clients share it. A Frame never changes after NewFrame and may be used from any goroutine.
type Frame struct {
	buf   []byte // room for the longest WebSocket header, then the payload
	start int    // where the WebSocket header begins in buf

	sseOnce sync.Once
	sse     []byte
}

const maxHeader = 10 // of an unmasked frame: RFC 6455, section 5.2

// NewFrame copies payload, which the caller may reuse at once.
func NewFrame(payload []byte) *Frame {
	buf := make([]byte, maxHeader+len(payload))
	copy(buf[maxHeader:], payload)
	return &Frame{buf: buf, start: putHeader(buf, 0x81, len(payload))}
}

// Payload is the message itself. The caller must not change it: every subscriber shares it.
func (f *Frame) Payload() []byte { return f.buf[maxHeader:] }

// Len is the payload's length in bytes.
func (f *Frame) Len() int { return len(f.buf) - maxHeader }

// WebSocket is the message as one unmasked text frame, header and payload, ready for the socket.
func (f *Frame) WebSocket() []byte { return f.buf[f.start:] }

// SSE is the message as one event of data lines, ready for the stream (WHATWG HTML, section 9.2.6).
func (f *Frame) SSE() []byte {
	f.sseOnce.Do(func() { f.sse = AppendSSE(nil, f.Payload()) })
	return f.sse
}

// IgnoreDeadLetterLogging keeps protoactor silent about a frame that arrives just after its connection stopped.
func (*Frame) IgnoreDeadLetterLogging() {}

// AppendSSE appends payload as one event. Each line becomes a data field, so no payload can forge another field, a
// comment or a second event; CR, LF and CRLF all end a line and arrive as LF.
func AppendSSE(dst, payload []byte) []byte {
	if cap(dst) == 0 {
		dst = make([]byte, 0, len(payload)+len("data: \n\n")+8*bytes.Count(payload, []byte{'\n'}))
	}
	for {
		i := bytes.IndexAny(payload, "\r\n")
		dst = append(dst, "data: "...)
		if i < 0 {
			dst = append(dst, payload...)
			return append(dst, "\n\n"...)
		}
		dst = append(append(dst, payload[:i]...), '\n')
		if payload[i] == '\r' && i+1 < len(payload) && payload[i+1] == '\n' {
			i++
		}
		payload = payload[i+1:]
	}
}

// maxControl is the longest payload of a control frame: RFC 6455, section 5.5.
const maxControl = 125

// CloseFrame is the control frame that tells the peer why: code and text of r.
func CloseFrame(r Reason) []byte {
	text := r.Text() // a constant, far below maxControl-2
	p := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(text)), r.Code())
	return ControlFrame(0x8, append(p, text...))
}

// ControlFrame is an unmasked control frame with the given opcode; a payload over 125 bytes is cut.
func ControlFrame(opcode byte, payload []byte) []byte {
	payload = payload[:min(len(payload), maxControl)]
	return append([]byte{0x80 | opcode, byte(len(payload))}, payload...)
}

// putHeader writes the header for n bytes of payload right before buf[maxHeader] and returns where it begins.
func putHeader(buf []byte, first byte, n int) int {
	switch {
	case n <= maxControl:
		buf[8], buf[9] = first, byte(n)
		return 8
	case n <= 0xffff:
		buf[6], buf[7] = first, 126
		binary.BigEndian.PutUint16(buf[8:], uint16(n))
		return 6
	default:
		buf[0], buf[1] = first, 127
		binary.BigEndian.PutUint64(buf[2:], uint64(n))
		return 0
	}
}
