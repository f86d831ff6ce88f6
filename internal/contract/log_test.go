package contract_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// Without WithLogger a hub logs to slog.Default(), at Warn and above; with nil it is silent.
func TestTheDefaultLoggerIsSlogs(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	for name, c := range map[string]struct {
		opts []wskit.HubOption
		want bool
	}{"by default": {nil, true}, "nil": {[]wskit.HubOption{wskit.WithLogger(nil)}, false}} {
		t.Run(name, func(t *testing.T) {
			var rec wstest.LogRecorder
			slog.SetDefault(rec.Logger())
			hub := wstest.Run(t, append(c.opts, wskit.WithOnConnect(func(wskit.Subscriber) { panic("in OnConnect") }))...)
			hub.Register(&wstest.Probe{})
			hub.Halt(t)
			found := false
			for _, r := range rec.Crashes("OnConnect") {
				found = found || r.Level == slog.LevelError && strings.Contains(fmt.Sprint(r.Attrs["stack"]), "log_test.go")
			}
			if found != c.want {
				t.Errorf("the panic was logged: %v, want %v", found, c.want)
			}
			for _, r := range rec.All() {
				if r.Level < slog.LevelWarn {
					t.Errorf("%v: %s", r.Level, r.Text)
				}
			}
		})
	}
}

// rude is a slog.Handler that does what handlers should not.
type rude struct {
	handle func()
	calls  atomic.Int32
}

func (*rude) Enabled(context.Context, slog.Level) bool { return true }
func (r *rude) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r *rude) WithGroup(string) slog.Handler          { return r }
func (r *rude) Handle(context.Context, slog.Record) error {
	r.calls.Add(1)
	r.handle()
	return nil
}

// The logger is user code: it may panic, end its goroutine, block and call the hub, and costs nobody a message.
func TestALoggerMayDoAnything(t *testing.T) {
	var hub atomic.Pointer[wskit.Hub]
	for name, handle := range map[string]func(<-chan struct{}){
		"panics":        func(<-chan struct{}) { panic("in the logger") },
		"Goexit":        func(<-chan struct{}) { runtime.Goexit() },
		"blocks":        func(release <-chan struct{}) { <-release },
		"calls the hub": func(<-chan struct{}) { h := hub.Load(); h.SubscriberCount(); h.Broadcast([]byte("log")) },
	} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			r := &rude{handle: func() { handle(release) }}
			h := wstest.Run(t, wskit.WithLogger(slog.New(r)), wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(time.Second),
				wskit.WithOnConnect(func(wskit.Subscriber) { panic("to be logged") }))
			hub.Store(h.Hub)
			t.Cleanup(func() { close(release) })
			p := &wstest.Probe{}
			h.Register(p)
			wstest.Eventually(t, "the logger is called", func() bool { return r.calls.Load() > 0 })
			wstest.Quickly(t, "the hub answers", atOnce, func() {
				h.Register(nil) // is logged
				h.Broadcast([]byte("1"))
				h.SubscriberCount()
			})
			wstest.Eventually(t, "its subscriber hears of it", func() bool { return strings.Contains(p.Text(), "1") })
		})
	}
}

// A hub that is used and not run says so once; one that runs does not.
func TestAHubThatIsUsedAndNotRunSaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	var rec, fine wstest.LogRecorder
	idle, runs := wstest.Idle(t, wskit.WithLogger(rec.Logger())), wstest.Run(t, wskit.WithLogger(fine.Logger()))
	idle.Broadcast([]byte("1"))
	runs.Broadcast([]byte("1"))
	found := func(r *wstest.LogRecorder) (n int) {
		for _, r := range r.All() {
			if strings.Contains(r.Text, "does not run") && r.Level == slog.LevelWarn {
				n++
			}
		}
		return n
	}
	wstest.Eventually(t, "a warning", func() bool { return found(&rec) > 0 })
	idle.Start(t)
	if n, m := found(&rec), found(&fine); n != 1 || m != 0 {
		t.Errorf("%d warnings of the idle one, %d of the one that runs", n, m)
	}
}

// A hub that was never run, and that nobody can reach, leaves nothing behind.
func TestAHubThatWasNeverRunIsForgotten(t *testing.T) {
	wstest.Clean(t)
	before := len(wstest.Processes(actors.System()))
	var delivered atomic.Int32
	for range 100 {
		hub := wskit.NewHub(wskit.WithOnConnect(func(wskit.Subscriber) { delivered.Add(1) }))
		hub.Register(&wstest.Probe{OnSend: func(string) bool { delivered.Add(1); return true }})
		hub.Broadcast(bytes.Repeat([]byte("x"), 1000))
	}
	wstest.Eventually(t, "their actors are gone", func() bool {
		runtime.GC()
		return len(wstest.Processes(actors.System())) <= before
	})
	if n := delivered.Load(); n != 0 {
		t.Errorf("%d callbacks and deliveries of hubs that never ran", n)
	}
}

// "Run returns after the drain timeout at the latest": whatever blocks.
func TestRunKeepsItsDrainTimeoutWhateverBlocks(t *testing.T) {
	const drain, margin = 200 * time.Millisecond, 100 * time.Millisecond
	release := make(chan struct{})
	defer close(release)
	for name, hub := range map[string]*wstest.Hub{
		"OnConnect":    wstest.Run(t, wskit.WithDrainTimeout(drain), wskit.WithOnConnect(func(wskit.Subscriber) { <-release })),
		"OnDisconnect": wstest.Run(t, wskit.WithDrainTimeout(drain), wskit.WithOnDisconnect(func(wskit.Subscriber) { <-release })),
		"Send":         wstest.Run(t, wskit.WithDrainTimeout(drain)),
		"a logger": wstest.Run(t, wskit.WithDrainTimeout(drain), wskit.WithOnConnect(func(wskit.Subscriber) { panic(1) }),
			wskit.WithLogger(slog.New(&rude{handle: func() { <-release }}))),
	} {
		t.Run(name, func(t *testing.T) {
			p := &wstest.Probe{}
			if name == "Send" {
				p.OnSend = func(string) bool { <-release; return true }
			}
			hub.Register(p)
			hub.Broadcast([]byte("x"))
			wstest.Poll(wstest.Hush, func() bool { return false })
			if took := wstest.Took(t, "Run", func() { hub.Halt(t) }); took > drain+margin {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// A client that was accepted and that nobody serves is closed after 10 s, and the log says what to do, once; one pump is enough.
func TestAClientThatNobodyServesIsClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	var rec wstest.LogRecorder
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithLogger(rec.Logger()), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	forgotten := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(*wskit.Client) {}})
	reads := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) { go c.ReadPump() }})
	writes := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) { go c.WritePump() }})
	a, _ := forgotten.Browser(t)
	b, _ := forgotten.Browser(t)
	reads.Browser(t)
	writes.Browser(t)
	a.Ends(t, websocket.StatusInternalError)
	b.Ends(t, websocket.StatusInternalError)
	wstest.Receive(t, "OnDisconnect", gone)
	wstest.Receive(t, "OnDisconnect", gone)
	wstest.Silent(t, "another leaves", gone)
	n := 0
	for _, r := range rec.All() {
		if strings.Contains(r.Text, "not served") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d warnings, want 1: %v", n, rec.All())
	}
}
