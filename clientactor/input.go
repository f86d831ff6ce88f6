package clientactor

import (
	"io"
	"sync"
	"time"
)

// input is the reading half of a wire: what has come, and what becomes of it. While nothing comes it takes no buffer and hardly
// any stack: the goroutine that waits keeps the 2 KB that it began with. It belongs to whoever reads.
type input struct {
	decoder
	fill   func(fd uintptr) bool
	into   []byte             // where fill puts what comes: the message's own room; nil: a buffer
	waits  bool               // fill is to wait until something comes
	buf    *[inputBuffer]byte // nil while nothing has come
	small  []byte             // in place of buf where there is no Raw
	came   []byte             // what has come and was not decoded
	direct int                // how much has come into the message's own room
	err    error              // that reading ended with
	due    int64              // when control frames that have come would be due at their pace; see pace
	rest   time.Duration      // how long to wait before more is read
}

// inputBuffer is how many bytes are read at a time; what is left of a longer message is read into it without a detour.
const inputBuffer = 4 << 10

// smallBuffer is how many where reading waits with a buffer, as with TLS. What a peer sends is mostly small.
const smallBuffer = 256

var inputBuffers = sync.Pool{New: func() any { return new([inputBuffer]byte) }}

// await waits until something has come, or an error.
func (w *wire) await() {
	if !w.arrived() {
		w.read(true)
	}
}

// poll is await that does not wait; it reports whether something has come.
func (w *wire) poll() bool {
	if !w.arrived() && w.Raw() != nil {
		w.read(false)
	}
	return w.arrived()
}

// arrived reports whether there is something to decode, or an error.
func (in *input) arrived() bool { return len(in.came) > 0 || in.direct > 0 || in.err != nil }

func (w *wire) read(wait bool) {
	w.into, w.waits = w.space(), wait
	if raw := w.Raw(); raw != nil {
		if err := raw.Read(w.fill); err != nil {
			w.err = err
		}
		return
	}
	p := w.into
	if p == nil {
		if w.small == nil {
			w.small = make([]byte, smallBuffer)
		}
		p = w.small
	}
	n, err := w.Conn.Read(p)
	w.filled(p[:n])
	if w.err = err; err == io.ErrUnexpectedEOF { // TLS has it
		w.err = io.EOF
	}
}

// filled is told what has come, where it was to be put.
func (in *input) filled(p []byte) {
	if in.into != nil {
		in.direct = len(p)
	} else {
		in.came = p
	}
}

// unit decodes what has come. Without one, all of it has been.
func (in *input) unit() (u unit, err error) {
	if n := in.direct; n > 0 {
		in.direct = 0
		if err := in.took(n); err != nil {
			return unit{}, err
		}
	}
	u, in.came, err = in.next(in.came)
	if len(in.came) == 0 && u.opcode < opClose { // the payload of a control frame may be in it
		in.recycle()
	}
	return u, err
}

func (in *input) recycle() {
	if in.buf != nil {
		inputBuffers.Put(in.buf)
	}
	in.buf, in.came = nil, nil
}

// Control frames, and fragments of nothing, cost their sender little and this side much. Beyond paceBurst of them, those that
// come faster than paceEvery apart have their sender wait, so that a flood slows down whoever sends it and nobody else: TCP
// pushes back. A wait takes paceLeast, since many waits would cost as much as what they are for.
const (
	paceEvery = time.Millisecond
	paceBurst = 100
	paceLeast = 20 * time.Millisecond
)

// pace counts n of them at a time in nanoseconds.
func (in *input) pace(n int, now int64) {
	in.due = max(in.due, now) + int64(n)*int64(paceEvery)
	if ahead := time.Duration(in.due-now) - paceBurst*paceEvery; ahead > 0 {
		in.rest = max(ahead, paceLeast)
	}
}
