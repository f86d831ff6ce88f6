package clientactor

import (
	"bufio"
	"errors"
	"io"
	"sync"
)

// input is the reading half of a wire. While nothing arrives it takes no buffer and hardly any stack: the goroutine that
// waits keeps the 2 KB that it began with, of which the WebSocket library's way to a read would need more. It belongs to
// whoever reads.
type input struct {
	fill func(fd uintptr) bool
	buf  *[inputBuffer]byte // nil while nothing has arrived
	came []byte             // what has arrived last, in buf if there is one
	at   int                // how much of it was read
	err  error              // that reading ended with
}

// inputBuffer is how many bytes are read at a time; a read of as many or more bypasses the buffer.
const inputBuffer = 4 << 10

var inputBuffers = sync.Pool{New: func() any { return new([inputBuffer]byte) }}

// readBuffer is the size in bytes of the buffer that the library reads through. What the peer sends is mostly small, and
// larger payloads bypass it; with a buffer of our own it is as small as bufio has it.
func (w *wire) readBuffer() int {
	if w.Raw() == nil {
		return 256
	}
	return 16
}

// await waits until there is something to read, or an error.
func (w *wire) await() {
	if w.arrived() {
		return
	}
	w.recycle()
	if err := w.Raw().Read(w.fill); err != nil {
		w.err = err
	}
}

// arrived reports whether a read returns at once.
func (in *input) arrived() bool { return in.at < len(in.came) || in.err != nil }

var errLeft = errors.New("wskit: the peer has left without a close frame")

// ended is how the end of what the peer sends is told: the library takes io.EOF for the end of a message that has begun, and
// of a compressed one io.ErrUnexpectedEOF too, which TLS has.
func ended(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errLeft
	}
	return err
}

// Read is the library's way to what the peer sends.
func (w *wire) Read(p []byte) (int, error) {
	if !w.arrived() {
		if w.Raw() == nil || len(p) >= inputBuffer {
			w.recycle()
			n, err := w.Conn.Read(p)
			return n, ended(err)
		}
		w.await()
	}
	if w.at == len(w.came) {
		return 0, ended(w.err)
	}
	n := copy(p, w.came[w.at:])
	w.at += n
	return n, nil
}

// unread takes back what the library's reader has fetched beyond the end of a message. That is of one Read, the last, if
// nothing is awaited in between: the reader fetches nothing while it has something, and its buffer is too small for what
// bypasses ours.
func (in *input) unread(from *bufio.Reader) {
	n, _ := from.Discard(from.Buffered())
	in.at -= n
}

func (in *input) recycle() {
	if in.buf != nil {
		inputBuffers.Put(in.buf)
	}
	in.buf, in.came, in.at = nil, nil, 0
}

// heartbeat reads a ping or a pong, if one has arrived whole and is next. The library would handle it too, but then
// read on until a message comes (RFC 6455, sections 5.2 and 5.5).
func (in *input) heartbeat() (opcode byte, payload []byte, ok bool) {
	const (
		fin, masked = 0x80, 0x80
		header      = 2 + 4 // with the mask
	)
	rest := in.came[in.at:]
	if len(rest) < header || rest[1] < masked {
		return 0, nil, false
	}
	opcode, end := rest[0]^fin, header+int(rest[1]-masked) // with a reserved bit, or without fin, it is no opcode
	if opcode != opPing && opcode != opPong || end > header+maxControl || end > len(rest) {
		return 0, nil, false
	}
	payload = make([]byte, end-header)
	for i := range payload {
		payload[i] = rest[header+i] ^ rest[2+i%4]
	}
	in.at += end
	return opcode, payload, true
}
