package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// session is a server process and its connections. Several scenarios may be measured in one session, unless one fails.
type session struct {
	sys    *system
	conns  int // connections in all
	child  *child
	load   *load
	base   int64  // resident bytes of the server without connections, if asked for
	number uint32 // of the next message
}

// openSession starts a server and connects to it. With base, the server's own memory is measured first.
func openSession(ctx context.Context, sys *system, conns, stalled int, base bool) (*session, error) {
	c, err := startChild(ctx, sys)
	if err != nil {
		return nil, err
	}
	s := &session{sys: sys, conns: conns, child: c, load: newLoad(sys, c.clients), number: 1}
	if base {
		err = s.measureBase(ctx)
	}
	if err == nil {
		err = s.load.connect(ctx, conns-stalled, stalled)
	}
	if err == nil {
		err = s.reachAll(ctx)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) close() {
	s.load.disconnect()
	s.child.close()
}

// measureBase lets some connections come and go first, so that what a system allocates once is not counted against them.
func (s *session) measureBase(ctx context.Context) error {
	if err := s.load.connect(ctx, 32, 0); err != nil {
		return err
	}
	if err := s.reachAll(ctx); err != nil {
		return err
	}
	s.load.disconnect()
	if err := s.awaitCount(ctx, 0, true); err != nil {
		return err
	}
	time.Sleep(settle)
	st, err := s.child.stats(true)
	s.base = st.RSS
	return err
}

// settle is how long a server gets to end what it does in the background before its memory is looked at.
const settle = 300 * time.Millisecond

// awaitCount waits until the server has n connections. With poke it is made to write now and then: one that does not read
// finds out only so who has left.
func (s *session) awaitCount(ctx context.Context, n int, poke bool) error {
	var st stats
	for range 100 {
		var err error
		if st, err = s.child.stats(false); err != nil {
			return err
		}
		if st.Count == n {
			return nil
		}
		if poke {
			if err := s.cast(1, minMessage); err != nil {
				return err
			}
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("the server counts %d connections instead of %d", st.Count, n)
}

// reachAll broadcasts until a message has got to every connection that reads: the registration of the last ones may be
// under way still.
func (s *session) reachAll(ctx context.Context) error {
	readers := int64(len(s.load.peers))
	for range 40 {
		s.load.begin(s.number)
		s.load.want.Store(readers)
		if err := s.cast(1, 128); err != nil {
			return err
		}
		limit := time.After(500 * time.Millisecond)
		for s.load.got.Load() < readers {
			select {
			case <-s.load.reached:
				continue
			case <-ctx.Done():
				return ctx.Err()
			case <-limit:
			}
			break
		}
		if s.load.got.Load() == readers {
			return nil
		}
	}
	return errors.Join(errors.New("not every connection can be reached"), s.load.check())
}

// cast orders n broadcasts at once, stamped with the present time.
func (s *session) cast(n, size int) error { return s.castAt(n, size, s.load.now()) }

func (s *session) castAt(n, size int, stamp int64) error {
	err := s.child.broadcast(s.number, n, size, stamp)
	s.number += uint32(n)
	return err
}

// rounds casts batches of n, each when the one before has arrived everywhere, until the time or the count is reached.
func (s *session) rounds(ctx context.Context, n, size int, d time.Duration, atLeast int) error {
	const atMost = 20_000
	s.load.begin(s.number)
	start := time.Now()
	for i := 0; i < atMost && (i < atLeast || time.Since(start) < d); i++ {
		s.load.want.Add(int64(n * len(s.load.peers)))
		if err := s.cast(n, size); err != nil {
			return err
		}
		if err := s.load.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ticks casts at a fixed rate, whether or not anything has arrived. Messages carry the instant at which they were due, so
// that a server which falls behind cannot hide it.
func (s *session) ticks(ctx context.Context, perSecond, size int, d time.Duration) error {
	s.load.begin(s.number)
	count := int(math.Ceil(d.Seconds() * float64(perSecond)))
	s.load.want.Store(int64(count * len(s.load.peers)))
	start := s.load.now()
	for i := range count {
		due := start + int64(i)*int64(time.Second)/int64(perSecond)
		time.Sleep(time.Duration(due - s.load.now()))
		if err := s.castAt(1, size, due); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return s.load.await(ctx)
}
