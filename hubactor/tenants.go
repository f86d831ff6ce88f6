package hubactor

import (
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// TenantsConfig is how Tenants are made.
type TenantsConfig struct {
	// Configure says how the hub of that name is made, each time it is started; its Shut does not count. It runs on a goroutine of the
	// tenants', and may block, for which those wait who want that tenant. A panic is the error that they get. nil: the zero Config.
	Configure func(name string) Config
	// IdleTimeout is for how long a hub has had no subscriber, connection, call in progress nor callback when it is stopped; up to half
	// of that more. <= 0: it never is.
	IdleTimeout time.Duration
	// MaxTenants is how many hubs there may be at a time. <= 0: any number.
	MaxTenants int
	// Backoff is how long one that was given up is not made anew; the attempts are those it had without running for Max in between. The
	// zero Backoff: DefaultTenantBackoff.
	Backoff actors.Backoff
	// Logger gets warnings and errors of the tenants' own, on a goroutine of its own. nil: slog.Default().
	Logger *slog.Logger
	// Ended is called once when all hubs have ended, after Shutdown or by another stop. It runs in the tenants' actor and must not block.
	Ended func()
}

// DefaultTenantBackoff is TenantsConfig's.
var DefaultTenantBackoff = actors.Backoff{Min: time.Second, Max: time.Minute, Jitter: 0.5}

const (
	// maxRetiring is how many hubs are asked at a time whether they are idle, and end if they are.
	maxRetiring = 256
	// A shutdown begins with so many hubs, and with as many more each time that has passed: those whose peers are slow hold nobody up.
	drainAtOnce = 256
	drainStep   = 50 * time.Millisecond
)

// Tenants makes the actor of hubs that have names, one for each tenant, to be spawned as the child of any actor, or as a root. It takes
// actors.Tenant, ToTenant, StopTenant and TenantNames, and actors.Shutdown, after which it ends. Each hub is a child, made by Config at
// its first use and again when it is used after its end; those with a Redis receive what others publish from the first moment. There are
// never two of a name. One that fails beyond its budget is given up alone, and refused for a while.
func Tenants(cfg TenantsConfig) *actor.Props {
	if cfg.Configure == nil {
		cfg.Configure = func(string) Config { return Config{} }
	}
	if cfg.Backoff == (actors.Backoff{}) {
		cfg.Backoff = DefaultTenantBackoff
	}
	cfg.Logger = actors.NewLog(cfg.Logger)
	return actor.PropsFromProducer(func() actor.Actor {
		t := &tenants{cfg: cfg, by: map[string]*tenant{}, goroutines: actors.NewRunner(8*runtime.GOMAXPROCS(0), false)}
		t.props = actor.PropsFromProducer(func() actor.Actor { return t.next })
		return t
	})
}

// tenants supervises the hubs. It waits for nobody, and never fails: see recover.
type tenants struct {
	cfg        TenantsConfig
	self       *actor.PID
	root       *actor.RootContext
	props      *actor.Props       // of every hub
	next       *hub               // the one being spawned
	goroutines *actors.Runner     // of all hubs
	by         map[string]*tenant // by key
	live       int                // those of them that have not failed
	sweeps     *time.Timer        // nil: there is nothing to look after
	retiring   int
	more       bool // hubs are idle than may retire at a time

	draining bool
	deadline time.Time // of that; zero: each hub's own
	queue    []*tenant // to be stopped
	stopping int       // those that are told to, and are not over
	atOnce   int       // how many may be so
	steps    *time.Timer
	over     bool
}

// tenant is one of them.
type tenant struct {
	name     string
	key      string // the last part of the name of its hub's actor
	state    tenantState
	hub      *tenancy     // nil: there is none
	link     *actors.Link // nil: it was not up yet
	over     bool         // it has ended, though user code may keep its actor
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

type (
	// configured, from the goroutine that did it.
	configured struct {
		*tenant
		cfg Config
		err error
	}
	// sweepTenants and drainMore are from timers.
	sweepTenants struct{}
	drainMore    struct{}
	// forgotten, to the actors of a hub, which have ended. A PID remembers its process until it is used when that has gone, and there is
	// who keeps it: protoactor, in spare capacity, and the *Hub of whoever has one.
	forgotten struct{}
)

// IgnoreDeadLetterLogging is for what comes after the tenants' end.
func (*configured) IgnoreDeadLetterLogging()  {}
func (sweepTenants) IgnoreDeadLetterLogging() {}
func (drainMore) IgnoreDeadLetterLogging()    {}
func (forgotten) IgnoreDeadLetterLogging()    {}

func (t *tenants) Receive(ctx actor.Context) {
	defer t.recover(ctx)
	switch m := ctx.Message().(type) {
	case *actor.Started:
		t.self, t.root = actor.NewPID(ctx.Self().Address, ctx.Self().Id), ctx.ActorSystem().Root
	case *actors.Tenant:
		t.want(m.Name, m, !m.Running)
	case *actors.ToTenant:
		t.want(m.Name, m, true)
	case *actors.StopTenant:
		t.stop(m)
	case *actors.TenantNames:
		answer(m.Reply, t.names())
	case *configured:
		t.spawn(ctx, m)
	case *tenantUp:
		t.up(m)
	case *tenantBusy:
		if m.of.hub == m.tenancy {
			t.busy(m.of)
		}
	case *tenantOver:
		if m.of.hub == m.tenancy {
			t.ended(ctx, m.of)
		}
	case *actor.Terminated:
		if each := t.by[strings.TrimPrefix(m.Who.Id, ctx.Self().Id+"/")]; each != nil {
			t.gone(ctx, each)
		}
	case sweepTenants:
		t.sweeps = nil
		t.sweep(time.Now())
	case *actors.Shutdown:
		t.shutdown(ctx, m)
	case drainMore:
		t.atOnce += drainAtOnce
		t.steps = nil
		t.drain(ctx)
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Stopping:
		actors.StopTimers(t.sweeps, t.steps)
		t.dismiss()
	case *actor.Stopped:
		t.finish()
		t.goroutines.Close()
	}
}

// recover has the tenants go on after a panic: restarted they would lose their hubs.
func (t *tenants) recover(ctx actor.Context) {
	if v := recover(); v != nil {
		actors.NewFailed(ctx.Self(), v, actors.Decision{Action: actors.ActResume, Attempt: 1}).Log(t.cfg.Logger)
	}
}

// HandleFailure implements actor.SupervisorStrategy. A hub catches its own panics, but for those before it is one.
func (t *tenants) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, who *actor.PID, _ *actor.RestartStatistics, reason, _ any) {
	actors.NewFailed(who, reason, actors.Decision{Action: actors.ActStop, Attempt: 1}).Log(t.cfg.Logger)
	sup.StopChildren(who)
}

// want gives m, a request, the hub of that name as soon as it is up, or says why there is none. With start there is one made if need be.
func (t *tenants) want(name string, m any, start bool) {
	if actors.CheckTopic(name) != nil {
		refuse(m, actors.ErrInvalidTenant)
		return
	}
	key := url.PathEscape(name)
	each := t.by[key]
	if each != nil && each.state == running && each.link.Gate.Stopped() {
		each.state = ending // by itself, or since somebody has told it to
	}
	switch {
	case t.draining:
		refuse(m, actors.ErrHubStopped)
	case each == nil && !start:
		refuse(m, actors.ErrHubStopped)
	case each != nil && each.state == running:
		each.serve(m)
	case each != nil && each.state == ending && !start && !slices.ContainsFunc(each.waiting, starts):
		refuse(m, actors.ErrHubStopped)
	case each != nil && each.state == givenUp && time.Now().Before(each.failed.Until):
		refuse(m, each.failed)
	case each != nil && each.state != givenUp:
		each.waiting = append(each.waiting, m)
	case t.cfg.MaxTenants > 0 && t.live >= t.cfg.MaxTenants:
		refuse(m, actors.ErrTooManyTenants)
	default:
		if each == nil {
			each = &tenant{name: name, key: key}
			t.by[key] = each
		}
		t.live++
		each.waiting = append(each.waiting, m)
		t.configure(each)
	}
}

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
	t.live--
	each.state = givenUp
	each.failed = &actors.TenantFailedError{Name: each.name, Until: now.Add(t.cfg.Backoff.Delay(each.failures, rand.Float64())), Err: cause}
	t.cfg.Logger.Error("wskit: tenant failed", "tenant", each.name, "error", cause, "until", each.failed.Until)
	each.reject(each.failed)
	t.armSweep()
}

func (t *tenants) forget(each *tenant) {
	if each.state != givenUp {
		t.live--
	}
	if delete(t.by, each.key); len(t.by) == 0 {
		t.by = map[string]*tenant{} // maps keep the room of their busiest hour
	}
}

func (t *tenants) names() []string {
	names := make([]string, 0, len(t.by))
	for _, each := range t.by {
		if each.state == running || each.state == retiring {
			names = append(names, each.name)
		}
	}
	return names
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

func (t *tenants) shutdown(ctx actor.Context, m *actors.Shutdown) {
	if t.draining {
		return
	}
	if m.Timeout > 0 {
		t.deadline = time.Now().Add(m.Timeout)
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
	for len(t.queue) > 0 && t.stopping < t.atOnce {
		last := len(t.queue) - 1
		each := t.queue[last]
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
		if err := actors.Fence("Ended", t.cfg.Ended); err != nil {
			actors.UserFailed("Ended", err).Log(t.cfg.Logger)
		}
	}
}
