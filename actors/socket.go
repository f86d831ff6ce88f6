package actors

import (
	"cmp"
	"net"
	"sync"
	"syscall"
	"time"
)

// Socket is the writing half of a connection that was taken over from net/http. Its actor writes batches through it, and
// whoever speaks the protocol small units of control bytes in between; neither ever waits. What the kernel does not take at
// once, a goroutine writes under the write deadline.
//
// After a last unit nothing is written any more. Methods may be called from any goroutine.
type Socket struct {
	net.Conn
	raw     syscall.RawConn // nil: no non-blocking write, as with TLS
	tryFn   func(fd uintptr) bool
	wait    time.Duration // the write wait
	written func(error)   // called when a batch that had to wait is out, or writing failed

	mu     sync.Mutex
	busy   bool          // a goroutine owns the socket
	closed bool          // the last unit was written or is queued, or writing failed
	idle   chan struct{} // to be closed when the socket is free; nil while nobody waits
	late   []byte        // control bytes to be written once the socket is free
	batch  Gathered      // a batch that waits for the same; nothing when Bytes is nil
	trying []byte
	tried  int
	tryErr error
}

// maxLate bounds the control bytes that wait: a peer that pings without reading gets no more pongs than this.
const maxLate = 1024

// Attach sets what the socket writes to and how long a write may wait for the peer, and whom to tell when one that had to
// wait is done. It is called once, before the socket is used.
func (s *Socket) Attach(conn net.Conn, wait time.Duration, written func(error)) {
	s.Conn, s.wait, s.written = conn, wait, written
	s.raw, s.tryFn = rawConn(conn), s.tryOnce
}

// Raw is the way to the descriptor; nil if there is none for reading and writing without waiting, as with TLS.
func (s *Socket) Raw() syscall.RawConn { return s.raw }

// Send hands over a batch; pending means that written will be called, and that there must be no other Send before that.
func (s *Socket) Send(g Gathered) (pending bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		g.Release()
		return false, nil
	}
	n := 0
	if !s.busy {
		n, err = s.try(g.Bytes)
	}
	if err != nil || n == len(g.Bytes) {
		g.Release()
		return false, err
	}
	g.Bytes = g.Bytes[n:]
	if s.busy { // with control bytes; the batch is next
		s.batch = g
		return true, nil
	}
	s.busy = true
	go s.finish(g, true)
	return true, nil
}

// Control writes p, which stays the caller's, at once or right after what is being written. With last it is the last unit.
func (s *Socket) Control(p []byte, last bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(p) == 0 {
		return nil
	}
	s.closed = last
	if s.busy {
		if len(s.late)+len(p) <= maxLate || last {
			s.late = append(s.late, p...)
		}
		return nil
	}
	n, err := s.try(p)
	if err != nil {
		s.closed = true
		return err
	}
	if n < len(p) {
		s.busy = true
		go s.finish(Gathered{Bytes: append([]byte(nil), p[n:]...)}, false)
	}
	return nil
}

// Idle is closed when nothing is being written any more; nil if that is so now.
func (s *Socket) Idle() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy && s.idle == nil {
		s.idle = make(chan struct{})
	}
	return s.idle
}

// finish writes what the kernel did not take, and whatever came meanwhile.
func (s *Socket) finish(g Gathered, isBatch bool) {
	for {
		var err error
		crash := Fence("net.Conn", func() { // of a listener of the user's, perhaps
			_ = s.SetWriteDeadline(time.Now().Add(s.wait))
			_, err = s.Write(g.Bytes)
			_ = s.SetWriteDeadline(time.Time{}) // a deadline in the past would fail the next try
		})
		err = cmp.Or(err, crash)
		g.Release()

		s.mu.Lock()
		more := err == nil && (s.late != nil || s.batch.Bytes != nil)
		switch {
		case err != nil:
			s.closed, s.busy, s.late = true, false, nil
			isBatch = isBatch || s.batch.Bytes != nil
			s.batch.Release()
			s.batch = Gathered{}
		case s.batch.Bytes != nil: // before any last unit
			g, s.batch, isBatch = s.batch, Gathered{}, true
		case s.late != nil:
			g, s.late = Gathered{Bytes: s.late}, nil
		default:
			s.busy = false
		}
		if !s.busy && s.idle != nil {
			close(s.idle)
			s.idle = nil
		}
		s.mu.Unlock()
		if !more {
			if isBatch || err != nil {
				s.written(err)
			}
			return
		}
	}
}
