package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// load is the clients of one server: it holds the connections and counts what arrives on them.
type load struct {
	addr  string
	sys   *system
	epoch time.Time // of the clock in messages

	target  func(i int) string // what connection i asks for; nil: /
	peers   []*peer            // those that read
	stalled []*peer            // those that never do
	readers sync.WaitGroup

	first    atomic.Uint32 // number of the first message that counts
	got      atomic.Int64  // messages that arrived
	want     atomic.Int64  // messages after which reached is signalled
	reached  chan struct{}
	latency  atomic.Pointer[histogram]
	some     atomic.Bool  // messages are not for everybody
	disorder atomic.Int64 // messages that were not the next one due
	closing  atomic.Bool
	gone     atomic.Int64 // connections that ended, or brought what they should not
	why      atomic.Pointer[error]
}

// patience is how long no message may arrive while some are due; turn is the longest wait for one batch.
const (
	patience = 5 * time.Second
	turn     = 60 * time.Second
)

// stalledBuf is the receive buffer of a connection that stalls: small, so that the server soon notices.
const stalledBuf = 4 << 10

func newLoad(sys *system, addr string) *load {
	l := &load{sys: sys, addr: addr, epoch: time.Now(), reached: make(chan struct{}, 1)}
	l.latency.Store(&histogram{})
	return l
}

func (l *load) now() int64 { return int64(time.Since(l.epoch)) }

// connect makes n connections that read and stalled ones that do not, a few at a time.
func (l *load) connect(ctx context.Context, n, stalled int) error {
	const atOnce = 16
	var (
		mu    sync.Mutex
		errs  error
		wg    sync.WaitGroup
		taken atomic.Int64
	)
	for range atOnce {
		wg.Go(func() {
			for i := int(taken.Add(1)); i <= n+stalled; i = int(taken.Add(1)) {
				receiveBuf := 0
				if i > n {
					receiveBuf = stalledBuf
				}
				target := "/"
				if l.target != nil {
					target = l.target(i)
				}
				p, err := dial(ctx, l, target, receiveBuf)
				mu.Lock()
				switch {
				case err != nil:
					errs = err // one of them says enough
					taken.Store(int64(n + stalled))
				case i > n:
					l.stalled = append(l.stalled, p)
				default:
					p.timed = i%timedEach == 0
					l.peers = append(l.peers, p)
					l.readers.Go(p.read)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if errs != nil {
		return fmt.Errorf("connecting: %w", errs)
	}
	return nil
}

// One connection in so many is timed. While latency is measured the others are read when a heap has come together: the load
// generator has the server's cores, and reading each message of each connection takes as much of them as sending it.
const (
	timedEach        = 10
	minHeap, maxHeap = 8 << 10, 24 << 10 // bytes, not the same everywhere: that would have all be read at once
)

// readLazily begins or ends that.
func (l *load) readLazily(lazily bool) error {
	for i, p := range l.peers {
		heap := 1
		switch {
		case p.timed:
			continue
		case lazily:
			heap = minHeap + i*(maxHeap-minHeap)/len(l.peers)
		}
		if err := p.readFrom(heap); err != nil {
			return err
		}
	}
	return nil
}

// disconnect closes every connection and waits for the readers.
func (l *load) disconnect() {
	l.closing.Store(true)
	for _, p := range append(l.peers, l.stalled...) {
		p.conn.Close()
	}
	l.readers.Wait()
	l.peers, l.stalled = nil, nil
	l.closing.Store(false)
}

// begin starts a measurement: messages count from number first.
func (l *load) begin(first uint32) {
	l.first.Store(first)
	l.got.Store(0)
	l.want.Store(0)
	l.some.Store(false)
	l.disorder.Store(0)
	l.latency.Store(&histogram{})
}

func (l *load) delivered(n int64) {
	if l.got.Add(n) >= l.want.Load() {
		select {
		case l.reached <- struct{}{}:
		default:
		}
	}
}

func (l *load) lost(err error) {
	if !l.closing.Load() {
		l.why.CompareAndSwap(nil, &err)
		l.gone.Add(1)
	}
}

// await waits until the wanted number of messages has arrived. It gives up when nothing arrives any more.
func (l *load) await(ctx context.Context) error {
	end := time.Now().Add(turn)
	tick := time.NewTicker(patience / 10)
	defer tick.Stop()
	for got, idle := int64(-1), 0; l.got.Load() < l.want.Load(); {
		select {
		case <-l.reached:
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if now := l.got.Load(); now != got {
				got, idle = now, 0
			} else {
				idle++
			}
			if idle >= 10 || time.Now().After(end) || l.gone.Load() > 0 {
				return l.check()
			}
		}
	}
	return l.check()
}

// check is nil if exactly what was wanted has arrived, on every connection and in order.
func (l *load) check() error {
	got, want := l.got.Load(), l.want.Load()
	switch gone := l.gone.Load(); {
	case gone > 0:
		return fmt.Errorf("delivered %d of %d: %d connections failed (%w)", got, want, gone, *l.why.Load())
	case got != want:
		return fmt.Errorf("delivered %d of %d", got, want)
	case l.disorder.Load() > 0:
		return fmt.Errorf("%d messages lost, repeated or out of order", l.disorder.Load())
	}
	return nil
}

// churn connects and disconnects, a few connections at a time, until the time or the count is reached.
func (l *load) churn(ctx context.Context, d time.Duration, limit int) (cycles int, err error) {
	const atOnce = 8
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range atOnce {
		wg.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil && failed.Load() == nil && done.Add(1) <= int64(limit) {
				p, err := dial(ctx, l, "/", 0)
				if err != nil {
					failed.Store(&err)
					return
				}
				p.leave()
			}
		})
	}
	wg.Wait()
	if e := failed.Load(); e != nil {
		return 0, fmt.Errorf("connecting: %w", *e)
	}
	cycles = int(min(done.Load(), int64(limit)))
	if cycles == 0 {
		return 0, errors.New("no cycle in time")
	}
	return cycles, ctx.Err()
}
