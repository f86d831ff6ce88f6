package wskit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/redisactor"
	"github.com/wskit/wskit/sseactor"
)

// DefaultTenantTimeout is how long a call waits for a tenant's hub that is being made, or stopped before it is made anew.
const DefaultTenantTimeout = 10 * time.Second

var (
	// ErrInvalidTenant: the name of a tenant is not 1 to 255 bytes of UTF-8 without control characters.
	ErrInvalidTenant = actors.ErrInvalidTenant
	// ErrTooManyTenants: there are as many tenants' hubs as WithMaxTenants allows.
	ErrTooManyTenants = actors.ErrTooManyTenants
	// ErrTenantFailed: the tenant's hub has failed beyond its budget and was given up. The error is a *TenantFailedError, which says when it
	// is made anew at its next use, and wraps ErrHubStopped too.
	ErrTenantFailed = actors.ErrTenantFailed
)

// TenantFailedError is an ErrTenantFailed.
type TenantFailedError = actors.TenantFailedError

// Tenants are hubs that have names, one for each tenant, apart from each other: no message crosses, and one that fails is given up alone.
// A hub is made at its first use and runs at once; nobody has to call Run or SubscribeToRedis. Its methods may be called from any
// goroutine. There are never two hubs of a name in one Tenants.
type Tenants struct {
	cfg    hubactor.TenantsConfig
	redis  func(name string) HubOption // nil: there is none
	system *actor.ActorSystem

	start     sync.Once
	pid       *actor.PID
	done      chan struct{} // closed when all hubs have ended
	directory tenantDirectory
}

// TenantsOption configures Tenants. Options are for NewTenants alone.
type TenantsOption func(*Tenants)

// WithIdleTimeout has a hub stopped that had no subscriber, connection, call in progress nor callback for that long, or up to half of that
// more. Whoever keeps the *Hub need not care: its next use has it made anew. What it keeps by WithHistory without Redis goes with it.
// Default, and <= 0: it never is.
func WithIdleTimeout(d time.Duration) TenantsOption {
	return func(t *Tenants) { t.cfg.IdleTimeout = d }
}

// WithMaxTenants bounds how many hubs there are at a time. Default, and <= 0: no bound.
func WithMaxTenants(n int) TenantsOption { return func(t *Tenants) { t.cfg.MaxTenants = n } }

// WithTenantsRedis is WithRedis for each hub, which configure's options can replace. The channel of a tenant is prefix and its name, in
// which "%", ":", "{" and "}" are written as in URLs: %25, %3A, %7B, %7D. What else uses this Redis must not use channels that begin with
// prefix. nil: no Redis.
func WithTenantsRedis(client *redis.Client, prefix string) TenantsOption {
	return func(t *Tenants) {
		t.redis = nil
		if client != nil {
			t.redis = func(name string) HubOption { return WithRedis(client, redisactor.TenantChannel(prefix, name)) }
		}
	}
}

// WithTenantsLogger sets where the tenants log what is not a hub's; see WithLogger.
func WithTenantsLogger(log *slog.Logger) TenantsOption {
	return func(t *Tenants) {
		t.cfg.Logger = NewHub(WithLogger(log)).cfg.Logger
	}
}

// NewTenants makes Tenants, which cost nothing until they are used, and then end with Shutdown. configure returns the options of the hub of
// that name, each time that it is made; WithName and WithActorSystem do not count among them. It runs on a goroutine of the tenants', and
// may block, for which those wait who want that tenant; it must not wait for one itself. A panic in it is the error that they get. nil: no
// options.
func NewTenants(configure func(name string) []HubOption, opts ...TenantsOption) *Tenants {
	t := &Tenants{system: actors.System(), done: make(chan struct{})}
	for _, opt := range opts {
		if opt != nil {
			opt(t)
		}
	}
	t.cfg.Logger = actors.NewLog(t.cfg.Logger)
	t.cfg.Ended = func() { close(t.done) }
	t.cfg.Configure = func(name string) hubactor.Config {
		var opts []HubOption
		if t.redis != nil {
			opts = append(opts, t.redis(name))
		}
		if configure != nil {
			opts = append(opts, configure(name)...)
		}
		h := NewHub(opts...)
		h.tenant = t.tenant(name)
		h.start.Do(func() {}) // it has been
		h.running.Store(true)
		cfg := *h.cfg
		h.cfg, cfg.Tag = nil, h
		return cfg
	}
	return t
}

// up is the tenants' actor, which it spawns if need be.
func (t *Tenants) up() *actor.PID {
	t.start.Do(func() {
		t.pid = t.system.Root.SpawnPrefix(hubactor.Tenants(t.cfg), "tenants")
	})
	return t.pid
}

// Hub is the running hub of that name: 1 to 255 bytes of UTF-8 without control characters. It may be kept for as long as one likes, and is
// the hub of that name whatever becomes of the actors behind it: when they have idled, or were given up for a failure that is
// past, its next use makes it anew. Once its hub was stopped, by Stop or its own Shutdown, it is stopped too (ErrHubStopped) until somebody asks
// for Hub again, and after the Shutdown of all for good.
//
// It waits for up to DefaultTenantTimeout while the hub is made, or the one before it ends. The error wraps ErrInvalidTenant,
// ErrTooManyTenants, ErrTenantFailed, ErrTimeout, ErrHubStopped after Shutdown has begun, or is a *PanicError of configure.
func (t *Tenants) Hub(name string) (*Hub, error) { return t.hub(context.Background(), name) }

func (t *Tenants) hub(ctx context.Context, name string) (*Hub, error) {
	switch {
	case t == nil:
		return nil, fmt.Errorf("%w: nil tenants", ErrInvalidArgument)
	case actors.CheckTopic(name) != nil:
		return nil, ErrInvalidTenant
	}
	each := t.tenant(name)
	each.stopped.Store(false)
	h, err := t.ask(ctx, name, false)
	runtime.KeepAlive(each)
	return h, err
}

// ask returns the incarnation that runs, made anew if need be; or, if it is to run already, ErrHubStopped if it does not.
func (t *Tenants) ask(ctx context.Context, name string, running bool) (*Hub, error) {
	if t.ended() {
		return nil, ErrHubStopped
	}
	reply := make(chan actors.TenantHub, 1)
	t.system.Root.Send(t.up(), &actors.Tenant{Name: name, Running: running, Reply: reply})
	limit := time.NewTimer(DefaultTenantTimeout)
	defer limit.Stop()
	select {
	case got := <-reply:
		if got.Err != nil {
			return nil, got.Err
		}
		h := got.Link.Tag.(*Hub)
		h.link.CompareAndSwap(nil, got.Link)
		h.tenant.now.Store(h)
		return h, nil
	case <-t.done:
		return nil, ErrHubStopped
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	case <-limit.C:
		return nil, fmt.Errorf("%w: tenant %.80q", ErrTimeout, name)
	}
}

func (t *Tenants) ended() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

// Names are the names of those whose hub runs, in order.
func (t *Tenants) Names() []string {
	if t == nil || t.ended() {
		return nil
	}
	reply := make(chan []string, 1)
	t.system.Root.Send(t.up(), &actors.TenantNames{Reply: reply})
	select {
	case names := <-reply:
		slices.Sort(names)
		return names
	case <-t.done:
		return nil
	}
}

// Stats is the sum of what the hubs of all tenants are now and have counted, those that have ended too. It may be asked from any goroutine,
// and takes some tenths of a microsecond for each that runs. After Shutdown it is zero.
func (t *Tenants) Stats() Stats {
	if t == nil || t.ended() {
		return Stats{}
	}
	reply := make(chan Stats, 1)
	t.system.Root.Send(t.up(), &actors.TenantStats{Reply: reply})
	select {
	case s := <-reply:
		return s
	case <-t.done:
		return Stats{}
	}
}

// Stop does for the hub of that name what Shutdown of a Hub does, and waits for it, as long as ctx lets it. nil: it has stopped, or did not
// run. What becomes of a *Hub that is kept, Hub says.
func (t *Tenants) Stop(ctx context.Context, name string) error {
	if t == nil || ctx == nil {
		return fmt.Errorf("%w: nil tenants or context", ErrInvalidArgument)
	}
	if t.ended() || actors.CheckTopic(name) != nil {
		return nil
	}
	t.tenant(name).stopped.Store(true)
	reply := make(chan error, 1)
	t.system.Root.Send(t.up(), &actors.StopTenant{Name: name, Timeout: untilEnd(ctx), Reply: reply})
	select {
	case err := <-reply:
		return err
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown drains all hubs, many at a time, each within its drain timeout and all as long as ctx lets them, and stops them for good. nil: all
// have ended; else it is ctx's error, and they end all the same. In a server it comes where Shutdown of a Hub does.
func (t *Tenants) Shutdown(ctx context.Context) error {
	if t == nil || ctx == nil {
		return fmt.Errorf("%w: nil tenants or context", ErrInvalidArgument)
	}
	if !t.ended() {
		t.system.Root.Send(t.up(), &actors.Shutdown{Timeout: untilEnd(ctx)})
	}
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// untilEnd is how long ctx lasts yet; 0: for ever.
func untilEnd(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), 1)
	}
	return 0
}

// Handler serves each request as ServeWS does, or, if it asks for no WebSocket, ServeSSE, at the hub of the tenant that name says, which runs
// on the request's goroutine. It decides which tenants there are: for any other name it is to return an error.
//
// That is answered 401 or 403 if it wraps ErrUnauthorized or ErrForbidden, and else 404, as is a name that is none. While there is no hub to
// be had the answer is 503 with Retry-After, or to a request for a stream 200 with one that has its EventSource come back in 2 to 5 s. A
// panic in name or configure is logged and answered 500.
func (t *Tenants) Handler(name func(*http.Request) (string, error), opts ...ClientOption) http.Handler {
	set := configure(opts)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var of string
		var err error
		failed := actors.Fence("Handler", func() { of, err = name(r) })
		if failed == nil && err == nil {
			var hub *Hub
			if hub, err = t.hub(r.Context(), of); err == nil {
				if hasToken(r.Header["Upgrade"], "websocket") || r.Header.Get("Sec-Websocket-Key") != "" {
					_ = ServeWS(w, r, hub, nil, opts...)
				} else {
					_ = set.serveSSE("ServeSSE", w, r, hub)
				}
				return
			}
		}
		err = errors.Join(failed, err)
		if pe := (*PanicError)(nil); errors.As(err, &pe) {
			actors.UserFailed("Handler", pe).Log(t.cfg.Logger)
		}
		turnAway(w, r, err)
	})
}

// turnAway answers a request for which there is no hub.
func turnAway(w http.ResponseWriter, r *http.Request, err error) {
	later := (*TenantFailedError)(nil)
	switch {
	case errors.As(err, new(*PanicError)), errors.Is(err, ErrInvalidArgument):
		answer(w, http.StatusInternalServerError)
	case errors.Is(err, ErrUnauthorized):
		answer(w, http.StatusUnauthorized)
	case errors.Is(err, ErrForbidden):
		answer(w, http.StatusForbidden)
	case !errors.Is(err, ErrTooManyTenants) && !errors.Is(err, ErrHubStopped) && !errors.Is(err, ErrTimeout):
		answer(w, http.StatusNotFound)
	case r.Method == http.MethodGet && !hasToken(r.Header["Upgrade"], "websocket"):
		sseactor.ComeBack(w)
	default:
		wait := 5 * time.Second
		if errors.As(err, &later) {
			wait = max(time.Until(later.Until), time.Second)
		}
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds()+1)))
		answer(w, http.StatusServiceUnavailable)
	}
}
