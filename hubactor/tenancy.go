package hubactor

import (
	"runtime"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// tenancy is what makes a hub one of Tenants'. It is one incarnation's, and does not change.
type tenancy struct {
	of         *tenant // theirs, not the hub's
	tenants    *actor.PID
	goroutines *actors.Runner // of all of them
}

// What tenants and their hubs tell each other.
type (
	// tenantUp, tenantBusy and tenantOver, to tenants: the hub runs; it is not idle, or not any more; it has ended.
	tenantUp struct {
		*tenancy
		link *actors.Link
	}
	tenantBusy struct{ *tenancy }
	tenantOver struct{ *tenancy }
	// retire, to a hub that was not used for a while, and on through connections, registry and listener, behind whatever is under way
	// there: end, if there is nothing. The gate's Uses were that many.
	retire struct{ uses uint64 }
	// retirement, to the hub, is what that came to.
	retirement struct {
		*retire
		idle bool
	}
)

// IgnoreDeadLetterLogging is for a hub that ends after its tenants, or before it is idle.
func (*tenantUp) IgnoreDeadLetterLogging()   {}
func (*tenantBusy) IgnoreDeadLetterLogging() {}
func (*tenantOver) IgnoreDeadLetterLogging() {}
func (*retire) IgnoreDeadLetterLogging()     {}
func (*retirement) IgnoreDeadLetterLogging() {}

// tell tells the tenants, if the hub is one of theirs.
func (t *tenancy) tell(root *actor.RootContext, message any) {
	if t != nil {
		root.Send(t.tenants, message)
	}
}

// goroutines are the hub's, or those that tenants share.
func (h *hub) goroutines() *actors.Runner {
	if t := h.cfg.tenancy; t != nil {
		return t.goroutines
	}
	return actors.NewRunner(8*runtime.GOMAXPROCS(0), false)
}

// retire ends the hub if nothing was under way, and the gate knows of nobody who came meanwhile.
func (h *hub) retire(ctx actor.Context, m *retirement) {
	if m.idle && h.link.Gate.StopIfIdle(m.uses) {
		ctx.Stop(ctx.Self())
		return
	}
	h.cfg.tenancy.tell(h.link.System.Root, &tenantBusy{h.cfg.tenancy})
}

func (c *connections) retire(ctx actor.Context, m *retire) {
	if len(c.entries)+len(c.parked) > 0 || c.orders.retry != nil {
		ctx.Send(c.link.Hub, &retirement{m, false})
		return
	}
	ctx.Send(c.link.Registry, m)
}

// quiet reports whether no callback runs or waits, and none is owed.
func (c *callbacks) quiet() bool {
	return c.owed == 0 && c.members.idle() && c.drops.idle() && c.others.idle()
}
