package redisactor_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/redisactor"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// hub is as much of a hub as the redis actor sees: a supervisor, a gate, a registry that records, a listener that records.
type hub struct {
	t        testing.TB
	link     *actors.Link
	root     *actor.PID
	stopped  chan struct{}
	gate     *actors.Gate
	hold     chan struct{} // the registry takes nothing until it is closed; nil: it takes everything
	each     time.Duration // how long the registry takes for one
	timeouts atomic.Int64

	mu     sync.Mutex
	got    []string
	count  map[string]int
	log    []entered // with history: what the registry was told, in order
	events []any
}

// entered is what came to the registry of a hub with history: a message, or a Logged.
type entered struct {
	text   string
	at     actors.Placement
	logged *actors.Logged
}

type supervisor struct {
	actors.Supervisor
	spec  actors.Spec
	ready chan<- *actor.PID
}

func (s *supervisor) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		if err := s.Start(ctx, []actors.Spec{s.spec}); err != nil {
			panic(err)
		}
		s.ready <- ctx.Children()[0]
	case *actors.Resolve:
		s.Handle(ctx, m)
	}
}

type option func(*hub)

// stalled is a hub whose registry takes nothing until the channel is closed, and whose gate has one place.
func stalled(hold chan struct{}) option {
	return func(h *hub) {
		h.hold = hold
		h.link.Patience = 100 * time.Millisecond
	}
}

func newHub(t testing.TB, client *redis.Client, channel string, opts ...option) *hub {
	t.Helper()
	system := actors.System()
	h := &hub{t: t, stopped: make(chan struct{}), count: make(map[string]int)}
	h.link = &actors.Link{System: system, Patience: 5 * time.Second, Log: slog.New(slog.DiscardHandler)}
	h.link.OnTimeout = func(op string) {
		if op == "broadcast" {
			h.timeouts.Add(1)
		}
	}
	for _, o := range opts {
		o(h)
	}
	places := 64
	if h.hold != nil {
		places = 1
	}
	registry := system.Root.Spawn(actor.PropsFromFunc(h.register))
	h.link.Listener = system.Root.Spawn(actor.PropsFromFunc(h.listen))
	h.gate = actors.NewGate(1, 1, places, func(op actors.Operation) { system.Root.Send(registry, op) })
	h.gate.Open()
	h.link.Gate = h.gate
	ready := make(chan *actor.PID, 1)
	spec := redisactor.Spec(client, channel)(h.link)
	h.root = system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor {
		return &supervisor{spec: spec, ready: ready, Supervisor: actors.Supervisor{Log: h.link.Log}}
	}))
	h.link.Redis = <-ready
	t.Cleanup(func() {
		h.stop()
		system.Root.Stop(registry)
		system.Root.Stop(h.link.Listener)
	})
	return h
}

func (h *hub) register(ctx actor.Context) {
	if l, ok := ctx.Message().(*actors.Logged); ok {
		h.mu.Lock()
		h.log = append(h.log, entered{logged: l})
		h.mu.Unlock()
		h.gate.Leave(actors.OpBroadcast)
		return
	}
	m, ok := ctx.Message().(*actors.Broadcast)
	if !ok {
		return
	}
	if h.hold != nil {
		<-h.hold
	}
	for began := time.Now(); time.Since(began) < h.each; {
		continue // a fan-out is work, not a wait
	}
	text := string(m.Frame.Payload())
	if m.Topic != "" {
		text = inTopic(m.Topic, text)
	}
	if m.Except != nil {
		text = but(text, m.Except)
	}
	h.mu.Lock()
	h.got = append(h.got, text)
	if h.link.History != nil {
		h.log = append(h.log, entered{text: text, at: m.Frame.Placement()})
	}
	h.count[text]++
	h.mu.Unlock()
	h.gate.Leave(actors.OpBroadcast)
}

func (h *hub) listen(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Subscribed, *actors.Failed:
		h.mu.Lock()
		h.events = append(h.events, m)
		h.mu.Unlock()
	}
}

// stop stops the hub and waits for it.
func (h *hub) stop() {
	if h.root == nil {
		return
	}
	root := h.root
	h.root = nil
	h.link.System.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			ctx.Watch(root)
			ctx.Stop(root) // after the Watch: who is stopping already says at once that it has ended
		case *actor.Terminated:
			close(h.stopped)
			ctx.Stop(ctx.Self())
		}
	}))
	within(h.t, 5*time.Second, h.stopped, "the hub stops")
}

func (h *hub) send(message any) { h.link.System.Root.Send(h.link.Redis, message) }

// publish publishes, and returns where the answer comes.
func (h *hub) publish(payload string) <-chan error {
	reply := make(chan error, 1)
	h.send(&actors.Publish{Frame: actors.NewFrame([]byte(payload)), Reply: reply})
	return reply
}

// subscribe subscribes and waits for the confirmation.
func (h *hub) subscribe() {
	h.t.Helper()
	n := h.subscriptions()
	h.send(&actors.Subscribe{})
	h.resubscribed(n, 5*time.Second)
}

// resubscribed waits for one more confirmation than n.
func (h *hub) resubscribed(n int, d time.Duration) {
	h.t.Helper()
	if !redistest.Until(d, func() bool { return h.subscriptions() > n }) {
		h.t.Fatalf("not subscribed within %v; events: %v", d, h.trouble())
	}
}

func (h *hub) subscriptions() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if _, ok := e.(*actors.Subscribed); ok {
			n++
		}
	}
	return n
}

// trouble is every error that was reported, in order.
func (h *hub) trouble() (errs []error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if f, ok := e.(*actors.Failed); ok {
			errs = append(errs, f.Err)
		}
	}
	return errs
}

func (h *hub) received() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

func (h *hub) times(payload string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count[payload]
}

func (h *hub) total() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.got)
}

// gets waits until exactly these messages, in this order, were delivered.
func (h *hub) gets(d time.Duration, want ...string) {
	h.t.Helper()
	redistest.Until(d, func() bool { return h.total() >= len(want) })
	if got := h.received(); !slices.Equal(got, want) {
		h.t.Fatalf("after %v the hub has %d messages, %.1000q, not these %d: %.1000q", d, len(got), fmt.Sprint(got), len(want), fmt.Sprint(want))
	}
}

// getsOnce waits until each message was delivered, and checks that none was twice.
func (h *hub) getsOnce(d time.Duration, want []string) {
	h.t.Helper()
	all := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return !slices.ContainsFunc(want, func(s string) bool { return h.count[s] == 0 })
	}
	if !redistest.Until(d, all) {
		h.t.Errorf("missing after %v: %s", d, h.wrong(want, func(n int) bool { return n == 0 }))
	}
	if twice := h.wrong(want, func(n int) bool { return n > 1 }); twice != "" {
		h.t.Errorf("more than once: %s", twice)
	}
}

func (h *hub) wrong(want []string, is func(int) bool) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []string
	for _, s := range want {
		if is(h.count[s]) {
			list = append(list, fmt.Sprintf("%s (%d times)", s, h.count[s]))
		}
	}
	if len(list) > 20 {
		list = append(list[:20], fmt.Sprintf("and %d more", len(list)-20))
	}
	return strings.Join(list, ", ")
}

func within[T any](t testing.TB, d time.Duration, c <-chan T, what string) (v T) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case v = <-c:
	case <-timer.C:
		t.Fatalf("not within %v: %s", d, what)
	}
	return v
}

func numbered(prefix string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return list
}

var subscribe actors.Subscribe
