package hubactor

import "time"

// busy is for a hub that was asked whether it is idle, and is not.
func (t *tenants) busy(each *tenant) {
	if each.state != retiring {
		return
	}
	each.state = running
	each.goOn()
	t.retired(each)
}

// retired is for when it is known whether a hub is idle.
func (t *tenants) retired(each *tenant) {
	each.since = time.Time{}
	if t.retiring--; t.retiring == 0 && t.more {
		t.sweep(time.Now())
	}
}

// armSweep has the tenants looked after in a while, if there are any.
func (t *tenants) armSweep() {
	if t.sweeps != nil || t.draining || len(t.by) == 0 {
		return
	}
	every := t.cfg.Backoff.Max
	if t.cfg.IdleTimeout > 0 {
		every = min(max(t.cfg.IdleTimeout/4, time.Millisecond), time.Minute)
	}
	t.sweeps = time.AfterFunc(max(every, time.Millisecond), func() { t.root.Send(t.self, sweepTenants{}) })
}

// sweep asks hubs that were not used for long enough whether they are idle, and lets go of those whose failure is long past.
func (t *tenants) sweep(now time.Time) {
	if t.more = false; t.draining {
		return
	}
	for _, each := range t.by {
		switch each.state {
		case givenUp:
			if now.Sub(each.failed.Until) > t.cfg.Backoff.Max {
				t.forget(each)
			}
		case running:
			t.look(each, now)
		}
	}
	t.armSweep()
}

func (t *tenants) look(each *tenant, now time.Time) {
	if t.cfg.IdleTimeout <= 0 {
		return
	}
	uses, inUse := each.link.Gate.Uses()
	switch {
	case inUse:
		each.since = time.Time{}
	case uses != each.uses || each.since.IsZero():
		each.since = now
	case now.Sub(each.since) < t.cfg.IdleTimeout:
	case t.retiring == maxRetiring:
		t.more = true
	default:
		t.retiring++
		each.state = retiring
		t.root.Send(each.link.Hub, &retire{uses})
	}
	each.uses = uses
}
