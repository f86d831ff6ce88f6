package contract_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// "Operations of one goroutine are applied in the order it made them", BroadcastEvent among them, with Redis and without.
func TestBroadcastEventHasItsPlaceAmongTheOperationsOfItsGoroutine(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		for name, listening := range map[string]bool{"subscribed": true, "not subscribed": false} {
			t.Run(name, func(t *testing.T) {
				n := redisNode(t, srv.Addr())
				if listening {
					n.listen(t, srv, 1)
				}
				var want []string
				for i := range 500 {
					if err := n.BroadcastEvent(t.Context(), i); err != nil {
						t.Fatal(err)
					}
					n.Broadcast([]byte(fmt.Sprint("after ", i)))
					want = append(want, fmt.Sprint(i), fmt.Sprint("after ", i))
				}
				n.got.Expect(t, want...)
				for range 200 {
					p := &wstest.Probe{}
					n.Register(p)
					if err := n.BroadcastEvent(t.Context(), "for you"); err != nil {
						t.Fatal(err)
					}
					n.Unregister(p)
					p.Expect(t, `"for you"`, wstest.Closed)
				}
			})
		}
	})
}

// With all of a hub's goroutines in Broadcast, what BroadcastEvent has accepted still gets its places: it is not lost, and does
// not wait for the others to end.
func TestBroadcastEventGetsItsPlaceBesideAnyNumberOfBroadcasts(t *testing.T) {
	srv := redistest.Start(t)
	n := redisNode(t, srv.Addr())
	n.listen(t, srv, 1)
	ctx, stop := context.WithCancel(t.Context())
	var done []<-chan struct{}
	for range 300 { // more than there are places
		done = append(done, wstest.Begin(func() {
			for ctx.Err() == nil {
				n.Broadcast([]byte("flood"))
			}
		}))
	}
	for i := range 20 {
		began := time.Now()
		if err := n.BroadcastEventContext(t.Context(), i); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 1900*time.Millisecond {
			t.Errorf("event %d took %v", i, d)
		}
	}
	stop()
	for _, d := range done {
		wstest.Receive(t, "Broadcast returns", d)
	}
}

func TestBroadcastEventContextSaysWhetherRedisTookIt(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		n := redisNode(t, proxy.Addr())
		n.listen(t, srv, 1)
		if err := n.BroadcastEventContext(t.Context(), 1); err != nil {
			t.Errorf("Redis took it: %v", err)
		}
		if err := n.BroadcastEventContext(t.Context(), func() {}); err == nil || errors.Is(err, wskit.ErrLocalOnly) {
			t.Errorf("what cannot be marshalled: %v", err)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := n.BroadcastEventContext(ended, 2); !errors.Is(err, context.Canceled) {
			t.Errorf("a context that has ended: %v", err)
		}
		proxy.Mute(redistest.Everything)
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := n.BroadcastEventContext(short, 3); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, wskit.ErrLocalOnly) {
			t.Errorf("a context that ends meanwhile: %v", err)
		}
		wstest.Quickly(t, "BroadcastEventContext", 2500*time.Millisecond, func() {
			if err := n.BroadcastEventContext(t.Context(), 4); !errors.Is(err, wskit.ErrLocalOnly) {
				t.Errorf("Redis does not answer: %v", err)
			}
		})
		n.got.Expect(t, "1", "3", "4")
		n.Halt(t)
		if err := n.BroadcastEventContext(t.Context(), 5); !errors.Is(err, wskit.ErrHubStopped) {
			t.Errorf("a stopped hub: %v", err)
		}
		if err := (*wskit.Hub)(nil).BroadcastEventContext(t.Context(), 6); !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Errorf("no hub: %v", err)
		}
	})
}

func TestBroadcastEventContextWrapsTheCause(t *testing.T) {
	srv := redistest.StartReal(t)
	n := redisNode(t, srv.Addr())
	if err := n.client.Do(t.Context(), "ACL", "SETUSER", "default", "-publish").Err(); err != nil {
		t.Fatal(err)
	}
	var refusal redis.Error
	if err := n.BroadcastEventContext(t.Context(), 1); !errors.Is(err, wskit.ErrLocalOnly) || !errors.As(err, &refusal) {
		t.Errorf("Redis refused it: %v", err)
	}
	n.got.Expect(t, "1")
}

// "Without Redis it is that of BroadcastContext."
func TestBroadcastEventContextWithoutRedisIsBroadcastContext(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithBroadcastBuf(1))
	p := &wstest.Probe{}
	hub.Register(p)
	if err := hub.BroadcastEventContext(t.Context(), 1); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := hub.BroadcastEventContext(short, 2); !errors.Is(err, wskit.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a place: %v", err)
	}
	hub.Start(t)
	p.Expect(t, "1")
	hub.Halt(t)
	if err := hub.BroadcastEventContext(t.Context(), 3); !errors.Is(err, wskit.ErrHubStopped) {
		t.Errorf("a stopped hub: %v", err)
	}
	if got := p.All(); !slices.Equal(got, []string{"1", wstest.Closed}) {
		t.Errorf("the subscriber got %q", got)
	}
}
