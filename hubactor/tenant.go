package hubactor

import (
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// tenant is a name in tenants, from its first use to the end of its hub, or of its failure.
type tenant struct {
	name     string
	key      string // the last part of the name of its hub's actor
	state    tenantState
	hub      *tenancy     // nil: there is none
	link     *actors.Link // nil: it was not up yet
	over     bool         // it has ended, though user code may keep its actor
	counted  bool         // it is one of those that MaxTenants bounds: it has a hub that is not over, or will have one
	told     bool         // it counts as stopping
	waiting  []any        // *actors.Tenant and *actors.ToTenant, for a hub that is up
	stops    []chan<- error
	begun    time.Time // when the hub was spawned
	uses     uint64    // of its gate, at the last look
	since    time.Time // it is idle; zero: it is not
	failures int       // in a row
	failed   *actors.TenantFailedError
}

type tenantState uint8

const (
	configuring tenantState = iota // there is no hub yet
	starting                       // there is, and it has not said so
	running
	retiring // it was asked whether it is idle
	ending   // it will end, or is over
	givenUp  // there is none, and will be none for a while
)

// starts reports whether a request has a hub started.
func starts(m any) bool {
	want, ok := m.(*actors.Tenant)
	return !ok || !want.Running
}

// refuse answers a request that gets no hub.
func refuse(m any, err error) {
	switch m := m.(type) {
	case *actors.Tenant:
		answer(m.Reply, actors.TenantHub{Err: err})
	case *actors.ToTenant:
		answer(m.Reply, err)
	}
}

// serve answers one that gets it.
func (each *tenant) serve(m any) {
	each.since = time.Time{}
	switch m := m.(type) {
	case *actors.Tenant:
		answer(m.Reply, actors.TenantHub{Link: each.link})
	case *actors.ToTenant:
		if m.Message != nil {
			each.link.System.Root.Send(each.link.Hub, m.Message)
		}
		answer(m.Reply, nil)
	}
}

// reject refuses all who wait.
func (each *tenant) reject(err error) {
	for _, m := range each.waiting {
		refuse(m, err)
	}
	each.waiting = nil
}

func (t *tenants) configure(each *tenant) {
	t.count(each, true)
	each.state, each.over, each.failed = configuring, false, nil
	var cfg Config
	t.goroutines.Start("Configure", func() { cfg = t.cfg.Configure(each.name) }, func(err error) { t.root.Send(t.self, &configured{each, cfg, err}) })
}

func (t *tenants) spawn(ctx actor.Context, m *configured) {
	each := m.tenant
	if t.draining {
		return
	}
	each.hub = &tenancy{each, t.self, t.goroutines}
	if m.err == nil {
		m.cfg.Shut, m.cfg.tenancy = false, each.hub
		t.next = &hub{cfg: m.cfg.withDefaults()}
		_, m.err = ctx.SpawnNamed(t.props, each.key)
		t.next = nil
	}
	if m.err != nil {
		each.hub = nil
		each.reject(m.err)
		each.stopped()
		t.forget(each)
		return
	}
	each.state, each.begun = starting, time.Now()
}

func (t *tenants) up(m *tenantUp) {
	each := m.of
	if each.hub != m.tenancy || each.state != starting {
		return
	}
	each.state, each.link, each.uses, each.since = running, m.link, 0, time.Time{}
	if m.link.Redis != nil {
		t.root.Send(m.link.Redis, &actors.Subscribe{})
	}
	each.goOn()
	if len(each.stops) > 0 || t.draining {
		t.end(each, t.deadline)
	}
	t.armSweep()
}

// goOn serves those who have waited for a hub that is up.
func (each *tenant) goOn() {
	for _, m := range each.waiting {
		each.serve(m)
	}
	each.waiting = nil
}

// end has a hub that is up drain and stop.
func (t *tenants) end(each *tenant, deadline time.Time) {
	if each.state == retiring {
		t.retired(each)
	}
	each.state = ending
	m := &actors.Shutdown{}
	if !deadline.IsZero() {
		m.Timeout = max(time.Until(deadline), 1)
	}
	t.root.Send(each.link.Hub, m)
}

func (t *tenants) stop(m *actors.StopTenant) {
	each := t.by[url.PathEscape(m.Name)]
	if each == nil || each.over || each.state == givenUp {
		answer(m.Reply, nil)
		return
	}
	each.stops = append(each.stops, m.Reply)
	if each.state == running || each.state == retiring {
		var deadline time.Time
		if m.Timeout > 0 {
			deadline = time.Now().Add(m.Timeout)
		}
		t.end(each, deadline)
	}
}

// ended is for a hub that is over.
func (t *tenants) ended(ctx actor.Context, each *tenant) {
	if each.over {
		return
	}
	if each.state == retiring {
		t.retired(each)
	}
	each.state, each.over = ending, true
	t.count(each, slices.ContainsFunc(each.waiting, starts))
	each.stopped()
	if each.told {
		t.stopping--
	}
	if t.draining {
		t.drain(ctx)
	}
}

// stopped tells those who have it stopped.
func (each *tenant) stopped() {
	for _, reply := range each.stops {
		answer(reply, nil)
	}
	each.stops = nil
}

// gone is for a hub whose actor has ended too: the name is free.
func (t *tenants) gone(ctx actor.Context, each *tenant) {
	t.ended(ctx, each)
	link := each.link
	each.hub, each.link = nil, nil
	if link != nil {
		t.past = t.past.Plus(link.Stats())
		for _, pid := range []*actor.PID{link.Hub, link.Listener, link.Connections, link.Registry, link.Redis} {
			if pid != nil {
				t.root.Send(pid, forgotten{})
			}
		}
	}
	var cause error
	if link == nil {
		cause = errors.New("wskit: the hub did not start")
	} else {
		cause = link.Err()
	}
	switch {
	case t.draining:
		t.forget(each)
	case cause != nil:
		t.fail(each, cause)
	case slices.ContainsFunc(each.waiting, starts):
		t.configure(each)
	default:
		each.reject(actors.ErrHubStopped)
		t.forget(each)
	}
}

func (t *tenants) fail(each *tenant, cause error) {
	now := time.Now()
	if now.Sub(each.begun) > t.cfg.Backoff.Max {
		each.failures = 0
	}
	each.failures++
	t.count(each, false)
	each.state = givenUp
	each.failed = &actors.TenantFailedError{Name: each.name, Until: now.Add(t.cfg.Backoff.Delay(each.failures, rand.Float64())), Err: cause}
	t.cfg.Logger.Error("wskit: tenant failed", "tenant", each.name, "error", cause, "until", each.failed.Until)
	each.reject(each.failed)
	t.armSweep()
}

func (t *tenants) forget(each *tenant) {
	t.count(each, false)
	if delete(t.by, each.key); len(t.by) == 0 {
		t.by = map[string]*tenant{} // maps keep the room of their busiest hour
	}
}
