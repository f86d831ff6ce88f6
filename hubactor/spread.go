package hubactor

import (
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// afterSpread is how much of the drain timeout, a quarter of it at most, is kept for what comes after the last has been told.
const afterSpread = time.Second

// farewell is what subscribers are told when the hub ends.
func farewell(link *actors.Link) actors.Reason {
	if link.DrainSpread > 0 {
		return actors.ReasonRestart
	}
	return actors.ReasonShutdown
}

// shutdown begins the end, or brings it forward. Where the drain is spread all goes on meanwhile, but that nobody new comes in.
func (h *hub) shutdown(ctx actor.Context, m *actors.Shutdown) {
	if m.Timeout > 0 {
		h.cfg.DrainTimeout = min(m.Timeout, h.cfg.DrainTimeout)
	}
	if limit := time.Now().Add(h.cfg.DrainTimeout); h.limit.IsZero() || limit.Before(h.limit) {
		h.limit = limit
	}
	h.link.Leaving.Store(true)
	until := h.limit.Add(-min(afterSpread, h.cfg.DrainTimeout/4))
	if all := time.Now().Add(h.cfg.DrainSpread); all.Before(until) {
		until = all
	}
	switch {
	case h.spread != nil && !until.Before(h.until):
		return
	case !until.After(time.Now()):
		ctx.Stop(ctx.Self())
		return
	case !h.opened:
		h.open(ctx) // what was queued before is accepted too
	}
	h.link.Gate.Retire()
	actors.StopTimers(h.spread)
	h.until, h.spread = until, remind(ctx, time.Until(until), spreadOver{})
	phase := 0.0
	if h.cfg.tenancy != nil { // of many hubs with a client each these are told one after the other, too
		phase = rand.Float64()
	}
	ctx.Send(h.link.Registry, &spread{until, phase})
}
