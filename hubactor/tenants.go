package hubactor

import (
	"log/slog"
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
	// ReadyDelay is how long Serve of the facade's Tenants waits between actors.Unready and what follows. <= 0: not at all.
	ReadyDelay time.Duration
	// Logger gets warnings and errors of the tenants' own, on a goroutine of its own. nil: slog.Default().
	Logger *slog.Logger
}

// DefaultTenantBackoff is TenantsConfig's.
var DefaultTenantBackoff = actors.Backoff{Min: time.Second, Max: time.Minute, Jitter: 0.5}

const (
	// maxPending is how many requests wait for one tenant.
	maxPending = 1 << 14
	// maxRetiring is how many hubs are asked at a time whether they are idle, and end if they are.
	maxRetiring = 256
	// A shutdown begins with so many hubs, and with as many more each time that has passed: those whose peers are slow hold nobody up.
	drainAtOnce = 256
	drainStep   = 50 * time.Millisecond
)

// Tenants makes the actor of hubs that have names, one for each tenant, to be spawned as the child of any actor, or as a root. It takes
// actors.Tenant, ToTenant, StopTenant, TenantNames, TenantStats and DescribeTenants, actors.Unready, and actors.Shutdown, after which it ends.
// Each hub is a child, whose name is the tenant's as url.PathEscape writes it, made by Configure at its first use and again when it is used after its end; those with a Redis receive what others publish from the first moment. There are
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
		t := &tenants{cfg: cfg, by: map[string]*tenant{}, goroutines: actors.NewRunner(8*runtime.GOMAXPROCS(0), false),
			begun: make(chan struct{}), done: make(chan struct{})}
		t.props = actor.PropsFromProducer(func() actor.Actor { return t.next }, actor.WithMailbox(actors.NewMailbox))
		return t
	})
}

// tenants supervises the hubs. It waits for nobody, and never fails: see recover.
type tenants struct {
	cfg        TenantsConfig
	link       *actors.TenantsLink
	self       *actor.PID
	root       *actor.RootContext
	props      *actor.Props       // of every hub
	next       *hub               // the one being spawned
	goroutines *actors.Runner     // of all hubs
	by         map[string]*tenant // by key
	live       int                // those of them that are counted
	past       actors.Stats       // of hubs that are gone
	sweeps     *time.Timer        // nil: there is nothing to look after
	retiring   int
	more       bool // are idle than may retire at a time

	draining bool
	begun    chan struct{} // closed then
	deadline time.Time     // of that; zero: each hub's own
	queue    []*tenant     // to be stopped
	stopping int           // those that are told to, and are not over
	atOnce   int           // how many may be so
	steps    *time.Timer
	over     bool
	done     chan struct{} // closed then
}

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
		t.link = &actors.TenantsLink{PID: t.self, System: ctx.ActorSystem(), Log: t.cfg.Logger, ReadyDelay: t.cfg.ReadyDelay, Ending: t.begun, Done: t.done}
	case *actors.Tenant:
		t.want(m.Name, m, !m.Running)
	case *actors.ToTenant:
		t.want(m.Name, m, true)
	case *actors.StopTenant:
		t.stop(m)
	case *actors.TenantNames:
		answer(m.Reply, t.names())
	case *actors.TenantStats:
		answer(m.Reply, t.stats())
	case *actors.DescribeTenants:
		answer(m.Reply, t.link)
	case *actors.Unready:
		t.link.Leaving.Store(true)
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
	if each != nil && each.state == running && each.link.Gate.Refuses() {
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
	case each != nil && each.state != givenUp && len(each.waiting) == maxPending:
		refuse(m, actors.ErrTimeout)
	case each != nil && each.counted:
		each.waiting = append(each.waiting, m)
	case t.cfg.MaxTenants > 0 && t.live >= t.cfg.MaxTenants:
		refuse(m, actors.ErrTooManyTenants)
	case each != nil && each.state == ending: // another follows when its actor has gone
		each.waiting = append(each.waiting, m)
		t.count(each, true)
	default:
		if each == nil {
			each = &tenant{name: name, key: key}
			t.by[key] = each
		}
		each.waiting = append(each.waiting, m)
		t.configure(each)
	}
}

// count has a tenant be one of those that MaxTenants bounds, or not.
func (t *tenants) count(each *tenant, counted bool) {
	switch {
	case counted && !each.counted:
		t.live++
	case !counted && each.counted:
		t.live--
	}
	each.counted = counted
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

// stats is the sum over all hubs, those that are gone too.
func (t *tenants) stats() actors.Stats {
	sum := t.past
	for _, each := range t.by {
		if each.link != nil {
			sum = sum.Plus(each.link.Stats())
		}
	}
	return sum
}
