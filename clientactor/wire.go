package clientactor

import (
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/wskit/wskit/actors"
)

// wire is the writing half of a connection whose net.Conn is ours. The connection's actor writes ready-made frames through
// it, and so does the WebSocket library for its pongs and close frames; both are whole frames, and neither ever waits.
// What the socket does not take at once, a goroutine writes under the write deadline.
//
// After a close frame nothing is written any more (RFC 6455, section 5.5.1), whoever sent it.
type wire struct {
	net.Conn
	raw     syscall.RawConn // nil: no non-blocking write, as with TLS
	tryFn   func(fd uintptr) bool
	wait    time.Duration // the write wait
	written func(error)   // called when a batch that had to wait is out, or writing failed

	mu     sync.Mutex
	busy   bool   // a goroutine owns the socket
	closed bool   // a close frame was written or is queued, or writing failed
	late   []byte // control frames to be written once the socket is free
	batch  *[]byte
	trying []byte
	tried  int
	tryErr error
}

// maxLate bounds the control frames that wait: a peer that pings without reading gets no more pongs than this.
const maxLate = 1024

// maxKept is the largest buffer that goes back to the pool.
const maxKept = 128 << 10

var buffers = sync.Pool{New: func() any { return new([]byte) }}

func newWire(conn net.Conn) *wire {
	w := &wire{Conn: conn}
	switch c := conn.(type) { // not whatever has a SyscallConn: a type around these may do more in its Write
	case *net.TCPConn:
		w.raw, _ = c.SyscallConn()
	case *net.UnixConn:
		w.raw, _ = c.SyscallConn()
	}
	w.tryFn = w.tryOnce
	return w
}

// write hands over a batch; pending means that written will be called.
func (w *wire) write(b *actors.Batch) (pending bool, err error) {
	if len(b.Frames) == 1 {
		return w.send(b.Frames[0].WebSocket(), nil)
	}
	buf := buffers.Get().(*[]byte)
	for _, f := range b.Frames {
		*buf = append(*buf, f.WebSocket()...)
	}
	return w.send(*buf, buf)
}

// send writes p; pooled is p's buffer, if it has to go back to the pool.
func (w *wire) send(p []byte, pooled *[]byte) (pending bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		putBuffer(pooled)
		return false, nil
	}
	n := 0
	if !w.busy {
		n, err = w.try(p)
	}
	if err != nil || n == len(p) {
		putBuffer(pooled)
		return false, err
	}
	rest := p[n:]
	if w.busy { // with a control frame; the batch is next
		w.batch = &rest
		return true, nil
	}
	w.busy = true
	go w.finish(rest, pooled, true)
	return true, nil
}

// Write is the library's way to the socket. It always gives it one whole control frame.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(p) == 0 {
		return len(p), nil
	}
	if p[0]&0x0f == opClose {
		w.closed = true
	}
	if w.busy {
		if len(w.late)+len(p) <= maxLate || w.closed {
			w.late = append(w.late, p...)
		}
		return len(p), nil
	}
	n, err := w.try(p)
	if err != nil {
		w.closed = true
		return 0, err
	}
	if n < len(p) {
		w.busy = true
		go w.finish(append([]byte(nil), p[n:]...), nil, false)
	}
	return len(p), nil
}

// finish writes what the socket did not take, and whatever came meanwhile.
func (w *wire) finish(p []byte, pooled *[]byte, isBatch bool) {
	for {
		_ = w.SetWriteDeadline(time.Now().Add(w.wait))
		_, err := w.Conn.Write(p)
		_ = w.SetWriteDeadline(time.Time{}) // a deadline in the past would fail the next try
		putBuffer(pooled)
		pooled = nil

		w.mu.Lock()
		more := err == nil && (w.late != nil || w.batch != nil)
		switch {
		case err != nil:
			w.closed, w.busy, w.late = true, false, nil
			isBatch = isBatch || w.batch != nil
			w.batch = nil
		case w.batch != nil: // before any close frame
			p, w.batch, isBatch = *w.batch, nil, true
		case w.late != nil:
			p, w.late = w.late, nil
		default:
			w.busy = false
		}
		w.mu.Unlock()
		if !more {
			if isBatch || err != nil {
				w.written(err)
			}
			return
		}
	}
}

func (w *wire) ping() {
	_, _ = w.Write(pingFrame)
}

func (w *wire) goodbye(r actors.Reason) {
	_, _ = w.Write(actors.CloseFrame(r))
}

const (
	opClose = 0x8
	opPing  = 0x9
)

var pingFrame = actors.ControlFrame(opPing, nil)

func putBuffer(b *[]byte) {
	if b != nil && cap(*b) <= maxKept {
		*b = (*b)[:0]
		buffers.Put(b)
	}
}
