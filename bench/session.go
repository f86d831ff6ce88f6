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
	redis  *redisServer // nil: none
	base   int64        // resident bytes of the server without connections, if asked for
	number uint32       // of the next message
}

// setup is what a session needs beside connections.
type setup struct {
	stalled int  // connections that never read
	later   bool // the scenario makes the connections itself
	base    bool // the server's own memory is measured first
	redis   bool
}

// openSession starts a server and connects to it.
func openSession(ctx context.Context, sys *system, conns int, want setup) (s *session, err error) {
	s = &session{sys: sys, conns: conns, number: 1}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	addr := ""
	if want.redis {
		if s.redis, err = startRedis(ctx); err != nil {
			return s, err
		}
		addr = s.redis.addr
	}
	if s.child, err = startChild(ctx, sys, addr); err != nil {
		return s, err
	}
	s.load = newLoad(sys, s.child.clients)
	if want.base {
		if err = s.measureBase(ctx); err != nil {
			return s, err
		}
	}
	if want.later {
		return s, nil
	}
	if err = s.load.connect(ctx, conns-want.stalled, want.stalled); err != nil {
		return s, err
	}
	return s, s.reachAll(ctx)
}

func (s *session) close() {
	if s.load != nil {
		s.load.disconnect()
	}
	if s.child != nil {
		s.child.close()
	}
	if s.redis != nil {
		s.redis.close()
	}
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
			if err := s.cast(1, body{}); err != nil {
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
		if err := s.cast(1, body{size: 128}); err != nil {
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
func (s *session) cast(n int, b body) error { return s.castAt(n, b, s.load.now()) }

func (s *session) castAt(n int, b body, stamp int64) error {
	err := s.child.broadcast(order{first: s.number, n: uint32(n), body: b, stamp: stamp})
	s.number += uint32(n)
	return err
}

// rounds casts batches of n, each when the one before has arrived everywhere, until the time or the count is reached.
func (s *session) rounds(ctx context.Context, n int, b body, d time.Duration, atLeast int) error {
	const atMost = 20_000
	each := len(s.load.peers)
	if b.topics {
		each = topicMembers
	}
	s.load.begin(s.number)
	s.load.some.Store(b.topics)
	start := time.Now()
	for i := 0; i < atMost && (i < atLeast || time.Since(start) < d); i++ {
		s.load.want.Add(int64(n * each))
		if err := s.cast(n, b); err != nil {
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
func (s *session) ticks(ctx context.Context, perSecond int, b body, d time.Duration) error {
	s.load.begin(s.number)
	count := int(math.Ceil(d.Seconds() * float64(perSecond)))
	s.load.want.Store(int64(count * len(s.load.peers)))
	if err := s.load.readLazily(true); err != nil {
		return err
	}
	start := s.load.now()
	for i := range count {
		due := start + int64(i)*int64(time.Second)/int64(perSecond)
		time.Sleep(time.Duration(due - s.load.now()))
		if err := s.castAt(1, b, due); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := s.load.readLazily(false); err != nil {
		return err
	}
	return s.load.await(ctx)
}
