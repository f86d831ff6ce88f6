package hubactor

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// shutdown begins the end of all, or brings it forward.
func (t *tenants) shutdown(ctx actor.Context, m *actors.Shutdown) {
	if deadline := time.Now().Add(m.Timeout); m.Timeout > 0 && (t.deadline.IsZero() || deadline.Before(t.deadline)) {
		t.deadline = deadline
		for _, each := range t.by {
			if each.told && !each.over && each.link != nil {
				t.end(each, deadline)
			}
		}
	}
	if t.draining {
		return
	}
	actors.StopTimers(t.sweeps)
	t.dismiss()
	t.drain(ctx)
}

// dismiss takes no more requests, and counts the hubs that are to end.
func (t *tenants) dismiss() {
	if t.draining {
		return
	}
	t.draining, t.atOnce = true, drainAtOnce
	t.link.Leaving.Store(true)
	close(t.begun)
	for _, each := range t.by {
		each.reject(actors.ErrHubStopped)
		switch {
		case each.state == configuring, each.state == givenUp:
			each.stopped()
			t.forget(each)
		case each.state == running, each.state == retiring:
			t.queue = append(t.queue, each)
		case !each.over:
			t.stopping++
			each.told = true
		}
	}
}

// drain goes on with stopping the hubs, and ends when all are over.
func (t *tenants) drain(ctx actor.Context) {
	for len(t.queue) > 0 {
		last := len(t.queue) - 1
		each := t.queue[last]
		if t.stopping >= t.atOnce && each.link.DrainSpread == 0 { // a spread has little to do at its beginning
			break
		}
		t.queue = t.queue[:last]
		if !each.over {
			t.stopping++
			each.told = true
			t.end(each, t.deadline)
		}
	}
	switch {
	case len(t.queue) > 0 && t.steps == nil:
		t.steps = time.AfterFunc(drainStep, func() { t.root.Send(t.self, drainMore{}) })
	case len(t.queue) == 0 && t.stopping == 0:
		t.finish()
		ctx.Stop(ctx.Self())
	}
}

// finish says that all hubs have ended.
func (t *tenants) finish() {
	if !t.over {
		t.over = true
		close(t.done)
	}
}
