package redisactor_test

import (
	"errors"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/redisactor"
)

// drain stops the gate, as a hub does first, and drains the redis actor.
func (h *hub) drain(timeout time.Duration) time.Duration {
	h.t.Helper()
	began := time.Now()
	h.gate.Stop()
	done := make(chan struct{}, 1)
	h.send(&actors.Drain{Deadline: began.Add(timeout), Done: done})
	within(h.t, timeout+time.Second, done, "the drain is done")
	return time.Since(began)
}

// already returns the answer that must be there by now.
func already(t *testing.T, reply <-chan error) error {
	t.Helper()
	select {
	case err := <-reply:
		return err
	default:
		t.Error("the drain was done before its callers were answered")
		return nil
	}
}

func TestAHubWithNothingInFlightDrainsAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		h := newHub(t, srv.Client(t), "drain")
		h.subscribe()
		if err := within(t, 2*time.Second, h.publish("m"), "an answer"); err != nil {
			t.Error(err)
		}
		h.gets(time.Second, "m")
		if d := h.drain(5 * time.Second); d > 50*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		if err := within(t, time.Second, h.publish("late"), "an answer"); !errors.Is(err, actors.ErrHubStopped) {
			t.Errorf("after the drain a publish is answered %v", err)
		}
		if d := h.drain(time.Second); d > 50*time.Millisecond {
			t.Errorf("a second drain took %v", d)
		}
		h.gets(0, "m")
	})
}

func TestADrainDeliversWhatWasPublishedBefore(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		h, other := newHub(t, srv.Client(t), "drain"), newHub(t, srv.Client(t), "drain")
		h.subscribe()
		other.subscribe()
		want := numbered("m", 200)
		var replies []<-chan error
		for _, p := range want {
			replies = append(replies, h.publish(p))
		}
		if d := h.drain(5 * time.Second); d > time.Second {
			t.Errorf("it took %v", d)
		}
		for _, r := range replies {
			if err := already(t, r); err != nil {
				t.Error(err)
			}
		}
		h.getsOnce(time.Second, want)
		other.getsOnce(time.Second, want)
	})
}

func TestADrainDeliversWhatWaitedForTheGateWhenItStopped(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		hold := make(chan struct{})
		h := newHub(t, srv.Client(t), "drain", stalled(hold), func(h *hub) { h.link.Patience = time.Minute })
		h.subscribe()
		want := numbered("m", 100)
		for _, p := range want {
			h.publish(p)
		}
		if !redistest.Until(2*time.Second, func() bool { return redisactor.Outstanding() == 99 }) { // all but the first wait
			t.Errorf("%d wait for the gate", redisactor.Outstanding())
		}
		h.drain(5 * time.Second)
		close(hold)
		h.gets(time.Second, want...)
	})
}

func TestADrainDeliversWhatTheGateTurnsAwayMeanwhile(t *testing.T) {
	srv := redistest.Start(t)
	proxy, hold := redistest.Proxy(t, srv.Addr()), make(chan struct{})
	h := newHub(t, redistest.Client(t, proxy.Addr()), "drain", stalled(hold))
	proxy.Mute(redistest.Everything)
	want := numbered("m", 10)
	for _, p := range want {
		h.publish(p)
	}
	done := make(chan struct{}, 1)
	h.send(&actors.Drain{Deadline: time.Now().Add(500 * time.Millisecond), Done: done})
	if err := within(t, time.Second, h.publish("late"), "an answer"); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("while it drains a publish is answered %v", err)
	}
	h.gate.Stop() // and those who wait there are told
	within(t, 2*time.Second, done, "the drain is done")
	close(hold)
	h.getsOnce(time.Second, want)
}

func TestADrainDoesNotWaitForASilentRedis(t *testing.T) {
	cases := map[string]struct {
		mute     redistest.Mute
		deadline time.Duration
		atMost   time.Duration
		err      error
	}{
		"echoes do not come":          {redistest.Subscribers, 10 * time.Second, time.Second, nil},
		"answers do not come":         {redistest.Everything, 10 * time.Second, 3 * time.Second, nil},
		"the deadline is before that": {redistest.Everything, 300 * time.Millisecond, time.Second, actors.ErrHubStopped},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
				t.Parallel()
				proxy := redistest.Proxy(t, srv.Addr())
				h := newHub(t, redistest.Client(t, proxy.Addr()), "silent")
				h.subscribe()
				if err := within(t, 2*time.Second, h.publish("first"), "an answer"); err != nil {
					t.Error(err)
				}
				h.gets(time.Second, "first")
				proxy.Mute(c.mute)
				reply := h.publish("a")
				h.publish("b")
				if d := h.drain(c.deadline); d > c.atMost {
					t.Errorf("it took %v", d)
				}
				h.gets(time.Second, "first", "a", "b")
				if err := already(t, reply); c.err != nil && !errors.Is(err, c.err) {
					t.Errorf("the caller was told %v", err)
				}
			})
		})
	}
}
