package actors

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Frame is one message on its way to subscribers: the payload, copied once, and its encodings, each built at most once
// however many clients share it. Messages that were broadcast one right after the other may travel as one Frame, a bundle:
// then their encodings are joined once for all clients too.
//
// A Frame never changes and may be used from any goroutine.
type Frame struct {
	websocket []byte   // a message as one frame, header and payload; nil for a bundle
	parts     []*Frame // of a bundle: two messages or more
	size      int      // of payload, in bytes
	at        *place   // in the log; nil: nowhere
	more      atomic.Pointer[encodings]
}

// encodings are what not every frame is asked for.
type encodings struct {
	joined, deflated, sse, named shared
	threshold                    int // of a bundle: what deflated was built for
	enveloped                    atomic.Pointer[Frame]
}

// shared is an encoding that is built when it is first asked for.
type shared struct {
	once  sync.Once
	bytes []byte
}

// A bundle is bounded so that it can pass for one message: in bytes of payload and in messages.
const (
	maxBundle      = 64 << 10
	maxBundleCount = 64
)

const maxHeader = 10 // of an unmasked frame: RFC 6455, section 5.2

// First byte of a frame: a whole text or binary message; and the bit of one that is compressed (RFC 7692, section 6).
const (
	opText     = 0x81
	opBinary   = 0x82
	compressed = 0x40
)

// NewFrame copies payload, which the caller may reuse at once. What is not UTF-8 cannot go out as text: browsers end the
// connection for it (RFC 6455, section 8.1).
func NewFrame(payload []byte) *Frame {
	if !utf8.Valid(payload) {
		return newFrame(opBinary, payload)
	}
	return newFrame(opText, payload)
}

// NewBinaryFrame is NewFrame of a message that goes out as a binary one whatever is in it. A stream has nothing but text: see AppendSSE.
func NewBinaryFrame(payload []byte) *Frame { return newFrame(opBinary, payload) }

func newFrame(first byte, payload []byte) *Frame {
	buf := make([]byte, maxHeader+len(payload))
	copy(buf[maxHeader:], payload)
	return &Frame{websocket: buf[putHeader(buf, first, len(payload)):], size: len(payload)}
}

// Bundle makes one frame of the first of messages, as many as fit, and returns the others too. There is at least one
// message, and none is a bundle. The bundle keeps the slice.
func Bundle(messages []*Frame) (bundle *Frame, rest []*Frame) {
	n, size := 1, messages[0].Len()
	for n < min(len(messages), maxBundleCount) && size+messages[n].Len() <= maxBundle {
		size += messages[n].Len()
		n++
	}
	if n == 1 {
		return messages[0], messages[1:]
	}
	return &Frame{parts: messages[:n:n], size: size}, messages[n:]
}

// Payload is the message itself; there is none of a bundle. The caller must not change it: every subscriber shares it.
func (f *Frame) Payload() []byte { return f.websocket[len(f.websocket)-f.size:] }

// Binary reports whether the message goes out as a binary one; a bundle is none.
func (f *Frame) Binary() bool { return f.parts == nil && f.websocket[0] == opBinary }

// Len is the payload's length in bytes.
func (f *Frame) Len() int { return f.size }

// Count is how many messages this is.
func (f *Frame) Count() int { return max(len(f.parts), 1) }

// WebSocket is the message as one unmasked frame, header and payload, ready for the socket.
func (f *Frame) WebSocket() []byte {
	if f.parts == nil {
		return f.websocket
	}
	e := f.encodings()
	e.joined.once.Do(func() { e.joined.bytes = f.join((*Frame).WebSocket) })
	return e.joined.bytes
}

// Deflated is WebSocket for a client that negotiated permessage-deflate (RFC 7692): a payload of threshold bytes or more is
// compressed, if that makes it shorter. It refers to no message before it, so it serves clients with context takeover too.
func (f *Frame) Deflated(threshold int) []byte {
	if f.parts == nil && f.Len() < threshold {
		return f.WebSocket()
	}
	e := f.encodings()
	if f.parts != nil {
		encode := func(f *Frame) []byte { return f.Deflated(threshold) }
		e.deflated.once.Do(func() { e.threshold, e.deflated.bytes = threshold, f.join(encode) })
		if e.threshold != threshold { // clients of one hub that were accepted with different options
			return f.join(encode)
		}
		return e.deflated.bytes
	}
	e.deflated.once.Do(func() {
		if e.deflated.bytes = deflate(f.websocket[0], f.Payload()); len(e.deflated.bytes) >= len(f.WebSocket()) {
			e.deflated.bytes = f.WebSocket()
		}
	})
	return e.deflated.bytes
}

// SSE is the message as one event of data lines, ready for the stream (WHATWG HTML, section 9.2.6).
func (f *Frame) SSE() []byte {
	e := f.encodings()
	e.sse.once.Do(func() {
		if f.parts == nil {
			e.sse.bytes = f.event("")
		} else {
			e.sse.bytes = f.join((*Frame).SSE)
		}
	})
	return e.sse.bytes
}

// encodings are made when the first is asked for.
func (f *Frame) encodings() *encodings {
	if f.more.Load() == nil {
		f.more.CompareAndSwap(nil, new(encodings))
	}
	return f.more.Load()
}

// join is a bundle's messages in one encoding.
func (f *Frame) join(encode func(*Frame) []byte) []byte {
	n := 0
	for _, part := range f.parts {
		n += len(encode(part))
	}
	joined := make([]byte, 0, n)
	for _, part := range f.parts {
		joined = append(joined, encode(part)...)
	}
	return joined
}

// IgnoreDeadLetterLogging keeps protoactor silent about a frame that arrives just after its connection stopped.
func (*Frame) IgnoreDeadLetterLogging() {}

// AppendSSE appends payload as one event. Each line becomes a data field, so no payload can forge another field, a
// comment or a second event; CR, LF and CRLF all end a line and arrive as LF. A stream is UTF-8 (WHATWG HTML, section 9.2.5):
// each byte that is not valid arrives as U+FFFD, since not every client is as lenient as an EventSource.
func AppendSSE(dst, payload []byte) []byte {
	if !utf8.Valid(payload) {
		payload = replaceInvalid(payload)
	}
	if cap(dst) == 0 {
		dst = make([]byte, 0, sizeSSE(payload))
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

// sizeSSE is what AppendSSE appends at most, but for a payload of many CRs.
func sizeSSE(payload []byte) int {
	return len(payload) + len("data: \n\n") + 8*bytes.Count(payload, []byte{'\n'})
}

// replaceInvalid is p with U+FFFD in place of each byte that is not valid UTF-8.
func replaceInvalid(p []byte) []byte {
	valid := make([]byte, 0, len(p)+len(p)/2)
	for _, r := range string(p) {
		valid = utf8.AppendRune(valid, r)
	}
	return valid
}

// maxControl is the longest payload of a control frame: RFC 6455, section 5.5.
const maxControl = 125

// CloseFrame is the control frame that tells the peer why. The text is cut by CloseText.
func CloseFrame(code uint16, text string) []byte {
	text = CloseText(text)
	p := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(text)), code)
	return ControlFrame(0x8, append(p, text...))
}

// CloseText is what a close frame has room for of text, 123 bytes, up to the end of a character; each run of bytes that are not UTF-8
// becomes U+FFFD (RFC 6455, sections 5.5 and 5.5.1).
func CloseText(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	n := min(len(text), maxControl-2)
	for n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
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
