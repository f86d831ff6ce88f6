package attack_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// call is one of the three operations in its explicit form.
type call func(ctx context.Context, h *wskit.Hub, sub wskit.Subscriber) error

var calls = map[string]call{
	"register": func(ctx context.Context, h *wskit.Hub, sub wskit.Subscriber) error {
		return h.RegisterContext(ctx, sub)
	},
	"unregister": func(ctx context.Context, h *wskit.Hub, sub wskit.Subscriber) error {
		return h.UnregisterContext(ctx, sub)
	},
	"broadcast": func(ctx context.Context, h *wskit.Hub, _ wskit.Subscriber) error {
		return h.BroadcastContext(ctx, []byte("x"))
	},
}

// The error says what happened: nothing, a stopped hub, a context that ended before or while it waited, or an argument that
// makes no sense. OnTimeout is for those who get no error.
func TestTheExplicitCallsSayWhatHappened(t *testing.T) {
	for name, op := range calls {
		t.Run(name, func(t *testing.T) {
			wstest.Clean(t)
			ended, cancel := context.WithCancel(context.Background())
			cancel()
			full := wskit.NewHub(wskit.WithRegisterBuf(0), wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(time.Millisecond),
				wskit.WithOnTimeout(func(op string) { t.Error("OnTimeout was called for", op) }))
			defer full.Shutdown(context.Background())
			p := &wstest.Probe{}
			if err := op(ended, full, p); !errors.Is(err, context.Canceled) || errors.Is(err, wskit.ErrHubStopped) {
				t.Error("a context that has ended:", err)
			}
			start := time.Now() // before the deadline is set: this goroutine may stand still in between
			soon, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			defer cancel()
			err := op(soon, full, p)
			if !errors.Is(err, wskit.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, wskit.ErrHubStopped) {
				t.Error("a context that ends:", err)
			}
			if d := time.Since(start); d > 20*time.Millisecond+margin || d < 20*time.Millisecond {
				t.Error("it waited", d)
			}
			waiting, cancel := context.WithCancel(context.Background())
			result := make(chan error, 1)
			go func() { result <- op(waiting, full, p) }()
			select {
			case err := <-result:
				t.Error("it does not wait:", err)
			case <-time.After(30 * time.Millisecond): // beyond the channel timeout
			}
			cancel()
			if err := wstest.Receive(t, "the call returns", result); !errors.Is(err, wskit.ErrTimeout) || !errors.Is(err, context.Canceled) {
				t.Error("a context that is cancelled:", err)
			}
			go func() { result <- op(context.Background(), full, p) }()
			_ = full.Shutdown(context.Background()) // applies what waits to be applied, as far as there is room
			if err := wstest.Receive(t, "the call returns", result); err != nil && (!errors.Is(err, wskit.ErrHubStopped) || errors.Is(err, wskit.ErrTimeout)) {
				t.Error("a hub that stops meanwhile:", err)
			}
			if err := op(context.Background(), full, p); !errors.Is(err, wskit.ErrHubStopped) {
				t.Error("a stopped hub:", err)
			}
			if err := op(nil, full, p); !errors.Is(err, wskit.ErrInvalidArgument) { //nolint:staticcheck // that is the point
				t.Error("a nil context:", err)
			}
			if err := op(context.Background(), nil, p); !errors.Is(err, wskit.ErrInvalidArgument) {
				t.Error("a nil hub:", err)
			}
			if name != "broadcast" {
				if err := op(context.Background(), full, nil); !errors.Is(err, wskit.ErrInvalidArgument) {
					t.Error("a nil subscriber:", err)
				}
				if err := op(context.Background(), full, &wskit.Client{}); !errors.Is(err, wskit.ErrInvalidArgument) {
					t.Error("a client that was never open:", err)
				}
			}
			want := map[string]int{"register": 2}[name] // closed each time the hub was found stopped
			wstest.Eventually(t, "the subscriber is closed", func() bool { return p.Len() >= want })
			if p.Len() != want {
				t.Errorf("the subscriber saw %q", p.All())
			}
			live := wstest.Run(t)
			if err := op(context.Background(), live.Hub, p); err != nil {
				t.Error("a hub that runs:", err)
			}
			live.Settled(t)
		})
	}
}

// An operation that failed never happens, however soon after its end there is room; one that returned nil does. The context
// ends while the hub that has just opened lets the calls in: from round to round one more of them has returned by then.
func TestAnExplicitCallHappensIfAndOnlyIfItReturnsNil(t *testing.T) {
	succeeded, failed := 0, 0
	for round := range 80 {
		h := wskit.NewHub(wskit.WithRegisterBuf(1), wskit.WithBroadcastBuf(1))
		p := &wstest.Probe{}
		if err := h.RegisterContext(context.Background(), p); err != nil {
			t.Fatal(err)
		}
		type outcome struct {
			text  string
			guest *wstest.Probe
			err   error
		}
		outcomes := make(chan outcome, 100)
		ctx, cancel := context.WithCancel(context.Background())
		for i := range 20 {
			go func() {
				text := fmt.Sprint(i)
				outcomes <- outcome{text, nil, h.BroadcastContext(ctx, []byte(text))}
				guest := &wstest.Probe{}
				outcomes <- outcome{"", guest, h.RegisterContext(ctx, guest)}
			}()
		}
		running, stop := context.WithCancel(context.Background())
		done := wstest.Begin(func() { h.Run(running) })
		var want []string
		var all []outcome
		for n := range 40 {
			if n == round%40 {
				cancel()
			}
			o := wstest.Receive(t, "a call returns", outcomes)
			all = append(all, o)
			switch {
			case o.err == nil:
				succeeded++
				if o.guest == nil {
					want = append(want, o.text)
				}
			case errors.Is(o.err, context.Canceled):
				failed++
			default:
				t.Error(o.err)
			}
		}
		cancel()
		if err := h.BroadcastContext(context.Background(), []byte("last")); err != nil {
			t.Fatal(err)
		}
		members := 1
		wstest.Eventually(t, "the last arrives", func() bool { return slices.Contains(p.All(), "last") })
		for _, o := range all {
			if o.guest != nil && o.err == nil {
				members++
			}
		}
		if n := h.SubscriberCount(); n != members {
			t.Errorf("%d subscribers, want %d", n, members)
		}
		got := p.All()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, append(want, "last")) {
			t.Fatalf("it got %q, want %q", got, want)
		}
		stop()
		wstest.Receive(t, "Run returns", done)
		for _, o := range all {
			if o.guest != nil && o.err != nil && o.guest.Len() > 0 {
				t.Fatalf("a subscriber whose registration failed saw %q", o.guest.All())
			}
		}
	}
	if succeeded == 0 || failed == 0 {
		t.Errorf("%d succeeded, %d failed: nothing was compared", succeeded, failed)
	}
}
