package actors

import (
	"cmp"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Socket is the writing half of a connection that was taken over from net/http. Its actor writes batches through it, and
// whoever speaks the protocol small units of control bytes in between; neither ever waits. What the kernel does not take at
// once, a goroutine writes, which gives up when no byte has moved for the write wait.
//
// After a last unit nothing is written any more. Methods may be called from any goroutine.
type Socket struct {
	net.Conn
	tcp     syscall.RawConn // what is underneath; nil if it cannot be found
	direct  bool            // that is Conn itself, and can be written to without waiting: not so with TLS
	tryFn   func(fd uintptr) bool
	wait    time.Duration // the write wait
	written func(error)   // called when a batch that had to wait is out, or writing failed

	mu     sync.Mutex
	busy   bool          // a goroutine owns the socket
	closed bool          // the last unit was written or is queued, or writing failed
	given  bool          // up: nothing has moved for the write wait
	on     *Elastic      // where those goroutines run
	tempo  Tempo         // of them
	idle   chan struct{} // to be closed when the socket is free; nil while nobody waits
	late   []byte        // control bytes to be written once the socket is free
	newest []byte        // an answer that late had no room for, and that none newer has replaced
	batch  Gathered      // a batch that waits for the same; nothing when Bytes is nil
	trying []byte
	tried  int
	tryErr error
}

// maxLate bounds the control bytes that wait: a peer that pings without reading gets no more pongs than this, and the newest.
const maxLate = 1024

// Attach sets what the socket writes to and how long a write may wait for the peer, and whom to tell when one that had to
// wait is done. It is called once, before the socket is used.
func (s *Socket) Attach(conn net.Conn, wait time.Duration, on *Elastic, written func(error)) {
	s.Conn, s.wait, s.on, s.written = conn, wait, on, written
	if s.tcp, s.tryFn = rawConn(conn), s.tryOnce; s.tcp != nil {
		s.direct = true
	} else {
		s.tcp = underlying(conn)
	}
	limitUnacknowledged(s.tcp, max(wait, UserTimeout))
}

// Raw is the way to the descriptor; nil if there is none for reading and writing without waiting, as with TLS.
func (s *Socket) Raw() syscall.RawConn {
	if !s.direct {
		return nil
	}
	return s.tcp
}

// Wait is how long a write may wait for the peer.
func (s *Socket) Wait() time.Duration { return s.wait }

// Vitals is what the kernel knows about the peer now.
func (s *Socket) Vitals() Vitals { return vitals(s.tcp) }

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
	s.start(g, true)
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
		if last {
			s.late = append(s.late, s.newest...)
			s.newest = nil
		}
		if len(s.late)+len(p) <= maxLate || last {
			s.late = append(s.late, p...)
		}
		return nil
	}
	return s.control(p)
}

// Answer is Control for one answer or more, the newest of which begins at newest: that one gets its place whatever waits
// already, unless one that is newer still takes it.
func (s *Socket) Answer(p []byte, newest int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || len(p) == 0:
		return nil
	case !s.busy:
		return s.control(p)
	case len(s.late)+len(p) <= maxLate:
		s.late = append(s.late, p...)
		s.newest = nil // it comes behind
	default:
		s.newest = append(s.newest[:0], p[newest:]...)
	}
	return nil
}

// control writes p; the lock is held, and the socket free.
func (s *Socket) control(p []byte) error {
	n, err := s.try(p)
	if err != nil {
		s.closed = true
		return err
	}
	if n < len(p) {
		s.start(Gathered{Bytes: append([]byte(nil), p[n:]...)}, false)
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

// start has a goroutine own the socket, which writes g first. The lock is held.
func (s *Socket) start(g Gathered, isBatch bool) {
	s.busy = true
	s.tempo.Schedule(s.on, func() { s.finish(g, isBatch) }, s.direct)
}

// finish writes what the kernel did not take, and whatever came meanwhile.
func (s *Socket) finish(g Gathered, isBatch bool) {
	began := time.Now()
	stall := NewStall(s.wait, s.movement(), s.giveUp)
	var err error
	over := false
	defer func() {
		stall.Stop()
		if !over { // the net.Conn has ended this goroutine
			_, _, err = s.next(NewGoexitError("net.Conn"), time.Since(began))
		}
		if isBatch || err != nil {
			s.written(err)
		}
	}()
	for g.Bytes != nil && err == nil {
		err = s.writeAll(g.Bytes, stall)
		g.Release()
		var batch bool
		g, batch, err = s.next(err, s.tookForPeer(began))
		isBatch = isBatch || batch
	}
	over = true
}

// next is for when a goroutine has written what it had, or failed to, for which the peer took so long. It returns what is to be
// written now, a batch or control bytes; if nothing, the socket is free.
func (s *Socket) next(err error, took time.Duration) (g Gathered, isBatch bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.given {
		err = os.ErrDeadlineExceeded
	}
	switch {
	case err != nil:
		s.closed, s.late, s.newest = true, nil, nil
		s.batch.Release()
		s.batch = Gathered{}
	case s.batch.Bytes != nil && (s.closed || s.late == nil && s.newest == nil): // before any last unit, behind any other
		g, s.batch = s.batch, Gathered{}
		return g, true, nil
	case s.late != nil || s.newest != nil:
		g, s.late, s.newest = Gathered{Bytes: append(s.late, s.newest...)}, nil, nil
		return g, false, nil
	}
	s.busy = false
	s.tempo.Wrote(took)
	if s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
	return Gathered{}, false, err
}

// piece is how many bytes are written at a time, so that those that get through are seen: one record of TLS.
const piece = 16 << 10

// writeAll writes p. What goes wrong with a net.Conn of a listener of the user's is an error.
func (s *Socket) writeAll(p []byte, stall *Stall) (err error) {
	crash := Fence("net.Conn", func() {
		for len(p) > 0 && err == nil {
			var n int
			n, err = s.Write(p[:min(len(p), piece)])
			p = p[n:]
			stall.Moved()
		}
	})
	return cmp.Or(crash, err)
}

// movement is for a Stall: whether what the kernel has of ours moves. The first call has nothing to compare with.
func (s *Socket) movement() func() bool {
	var before Vitals
	return func() bool {
		now := s.Vitals()
		moved := before.known && now.acked > before.acked
		before = now
		return moved
	}
}

// giveUp fails the write under way.
func (s *Socket) giveUp() {
	s.mu.Lock()
	s.given = true
	s.mu.Unlock()
	_ = Fence("net.Conn", func() { // of a listener of the user's, perhaps
		if s.SetWriteDeadline(time.Unix(1, 0)) != nil {
			_ = s.Close()
		}
	})
}

// tookForPeer is how long writing has taken since then, if that was for the peer's sake and not for want of a processor.
func (s *Socket) tookForPeer(began time.Time) time.Duration {
	took := time.Since(began)
	if took >= slowWrite {
		if v := s.Vitals(); v.known && v.unsent == 0 {
			return 0
		}
	}
	return took
}
