package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
	"github.com/wskit/wskit/redisactor"
)

// broadcast has the gate admit a message of the hub's own process, as Broadcast does.
func (h *hub) broadcast(payload string) {
	h.t.Helper()
	if err := h.gate.Enter(&actors.Broadcast{Frame: actors.NewFrame([]byte(payload))}, 5*time.Second); err != nil {
		h.t.Error(err)
	}
}

func TestAPublishIsAnsweredWhenItHasItsPlaceInTheHubsOrder(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		proxy := redistest.Proxy(t, srv.Addr())
		h := newHub(t, redistest.Client(t, proxy.Addr()), "place")
		var want []string
		both := func(n int) {
			for range n {
				i := len(want)
				want = append(want, fmt.Sprint("event ", i), fmt.Sprint("broadcast ", i))
				within(t, 3*time.Second, h.publish(want[i]), "an answer")
				h.broadcast(want[i+1])
			}
		}
		both(100) // delivered at once
		h.subscribe()
		both(500) // by the echo
		proxy.Mute(redistest.Subscribers)
		both(1) // when it is given up on
		proxy.Mute(redistest.Everything)
		both(2) // likewise
		h.gets(time.Second, want...)
	})
}

func TestAnOwnMessageWaitsForItsPlaceHoweverLongItTakes(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		hold := make(chan struct{})
		h := newHub(t, srv.Client(t), "wait", stalled(hold)) // whose patience is 100 ms
		h.subscribe()
		want := numbered("m", 10)
		var replies []<-chan error
		for _, p := range want {
			replies = append(replies, h.publish(p))
		}
		if err := within(t, 2*time.Second, replies[0], "the answer to the one that found a place"); err != nil {
			t.Error(err)
		}
		patience := time.NewTimer(500 * time.Millisecond)
		defer patience.Stop()
		select {
		case <-replies[1]:
			t.Error("one without a place was answered")
		case <-patience.C:
		}
		close(hold)
		for _, r := range replies[1:] {
			if err := within(t, 2*time.Second, r, "an answer"); err != nil {
				t.Error(err)
			}
		}
		h.gets(time.Second, want...)
		if h.timeouts.Load() > 0 || len(h.trouble()) > 0 {
			t.Errorf("%d timed out, trouble %v", h.timeouts.Load(), h.trouble())
		}
	})
}

func TestAHubBehindWhichTooMuchWaitsTakesNoMore(t *testing.T) {
	srv := redistest.Start(t)
	hold := make(chan struct{})
	h := newHub(t, srv.Client(t), "behind", stalled(hold))
	other := newHub(t, srv.Client(t), "behind")
	other.subscribe()
	const room = 1 + redisactor.Window + redisactor.MaxBehind // the registry has one
	want := numbered("m", room)
	for _, p := range want {
		h.publish(p)
	}
	for range 100 {
		if err := within(t, 20*time.Second, h.publish("too many"), "an answer"); !errors.Is(err, actors.ErrTimeout) {
			t.Fatalf("one too many was answered %v", err)
		}
	}
	if !redistest.Until(2*time.Second, func() bool { return h.timeouts.Load() == 100 }) {
		t.Errorf("OnTimeout was called %d times, not 100", h.timeouts.Load())
	}
	close(hold)
	h.gets(20*time.Second, want...)
	other.getsOnce(20*time.Second, want)
	if h.times("too many")+other.times("too many") > 0 {
		t.Error("an operation that timed out happened")
	}
}

// asking is a log handler that asks the hub something, as one does that shows the log on a page of it.
type asking struct {
	slog.Handler
	gate *atomic.Pointer[actors.Gate]
}

func (asking) Enabled(context.Context, slog.Level) bool { return true }
func (a asking) Handle(context.Context, slog.Record) error {
	if g := a.gate.Load(); g != nil {
		g.Stopped() // takes its lock
	}
	return nil
}

func TestNothingIsLoggedWhereTheGateMayBeLocked(t *testing.T) {
	srv := redistest.Start(t)
	hold := make(chan struct{})
	var gate atomic.Pointer[actors.Gate]
	h := newHub(t, srv.Client(t), "asking", stalled(hold), func(h *hub) { h.link.Log = slog.New(asking{slog.DiscardHandler, &gate}) })
	gate.Store(h.gate)
	h.subscribe()
	flood(t, srv, "asking", "m-", 20, 0)
	if !redistest.Until(5*time.Second, func() bool { return h.timeouts.Load() == 19 }) {
		t.Errorf("OnTimeout was called %d times, not 19", h.timeouts.Load())
	}
	answer := make(chan bool, 1)
	go func() { answer <- h.gate.Stopped() }()
	within(t, 2*time.Second, answer, "the gate answers")
	close(hold)
}

func TestRedisLostAndRedisBackAreEachLoggedOnceAnEpisode(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		log := &wstest.LogRecorder{}
		h := newHub(t, srv.Client(t), "log", func(h *hub) { h.link.Log = log.Logger() })
		h.subscribe()
		for round := range 2 {
			n := h.subscriptions()
			srv.Kill()
			if !redistest.Until(2*time.Second, func() bool { return len(h.trouble()) > round }) {
				t.Fatal("the loss was not noticed")
			}
			var replies []<-chan error
			for i := range 20 {
				replies = append(replies, h.publish(fmt.Sprint(round, i)))
			}
			for _, r := range replies {
				within(t, 3*time.Second, r, "an answer")
			}
			srv.Restart()
			h.resubscribed(n, 35*time.Second)
		}
		const lost = "wskit: redis lost: what is published here reaches this hub's own subscribers only, and nothing comes from others"
		if !redistest.Until(time.Second, func() bool { return log.Len() == 4 }) {
			t.Fatalf("two episodes are logged as %v", log.All())
		}
		for i, r := range log.All() {
			want := []string{lost, "wskit: redis is back"}[i%2]
			if r.Text != want || r.Level != slog.LevelWarn || r.Attrs["channel"] != "log" {
				t.Errorf("record %d is %v", i, r)
			}
			if i%2 == 0 && (r.Attrs["error"] == nil || r.Attrs["advice"] == nil || r.Attrs["reason"] != "lost") {
				t.Errorf("it says neither why nor what to do: %v", r)
			}
		}
	})
}
