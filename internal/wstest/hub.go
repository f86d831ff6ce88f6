package wstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// Drain is the drain timeout of the hubs made here, unless the test gives one.
const Drain = 2 * time.Second

// Hub is a hub with its Run.
type Hub struct {
	*wskit.Hub
	Stop context.CancelFunc // ends Run, and does not wait for it
	Done <-chan struct{}    // Run has returned
}

// Run makes a hub and runs it until the test ends, or Stop or Halt is called.
func Run(t testing.TB, opts ...wskit.HubOption) *Hub {
	t.Helper()
	h := Idle(t, opts...)
	h.Start(t)
	return h
}

// Idle makes a hub that does not run yet.
func Idle(t testing.TB, opts ...wskit.HubOption) *Hub {
	t.Helper()
	Clean(t)
	return &Hub{Hub: wskit.NewHub(append([]wskit.HubOption{wskit.WithDrainTimeout(Drain)}, opts...)...)}
}

// Start runs an idle hub.
func (h *Hub) Start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h.Stop, h.Done = cancel, Begin(func() { h.Run(ctx) })
	t.Cleanup(func() { h.Halt(t) })
}

// Halt stops the hub and waits for Run to return.
func (h *Hub) Halt(t testing.TB) {
	t.Helper()
	h.Stop()
	Receive(t, "Run returns", h.Done)
}

// Count waits until the hub has n subscribers.
func (h *Hub) Count(t testing.TB, n int) {
	t.Helper()
	Eventually(t, fmt.Sprint(n, " subscribers"), func() bool { return h.SubscriberCount() == n })
}

// Settled waits until the registry has handled all that this goroutine asked of the hub.
func (h *Hub) Settled(t testing.TB) {
	t.Helper()
	p := &Probe{}
	h.Register(p)
	h.Unregister(p)
	p.Expect(t, Closed)
}

// Embed spawns a hub as an actor that embeds one does, and collects its events: *actors.Connected, *actors.Disconnected,
// *actors.Dropped, *actors.RedisChanged and *actors.Failed.
func Embed(t testing.TB, cfg hubactor.Config) (*Hub, *List[any]) {
	t.Helper()
	Clean(t)
	events, root := &List[any]{}, actors.System().Root
	ear := root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actors.Connected, *actors.Disconnected, *actors.Dropped, *actors.RedisChanged, *actors.Failed:
			events.Add(m)
		}
	}))
	cfg.Events = ear
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = Drain
	}
	pid := root.Spawn(hubactor.Props(cfg))
	h := &Hub{Hub: wskit.Attach(actors.System(), pid)}
	ctx, cancel := context.WithCancel(context.Background())
	h.Stop = func() { root.Send(pid, &actors.Shutdown{}) }
	h.Done = Begin(func() { h.Run(ctx) })
	t.Cleanup(func() {
		h.Halt(t)
		cancel()
		root.Stop(ear)
	})
	return h, events
}
