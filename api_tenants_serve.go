package wskit

import (
	"context"
	"net/http"
	"time"

	"github.com/wskit/wskit/actors"
)

// WithTenantsReadyDelay is WithReadyDelay for Serve of the Tenants; what their hubs' options say of it does not count there. Default, and
// <= 0: none.
func WithTenantsReadyDelay(d time.Duration) TenantsOption {
	return func(t *Tenants) { t.cfg.ReadyDelay = d }
}

// Serve does for the tenants what the function Serve does for one hub: it listens on srv.Addr and serves until ctx ends, or the tenants begin
// to end. Then Ready says 503, after WithTenantsReadyDelay the port is closed, all hubs drain at the same time, each as its options say and
// within its own drain timeout, and srv is shut down. With WithDrainSpread each hub spreads its clients over its own window, so that those of
// many hubs with few clients each do not come back together either. Errors are those of the function. Once they have ended, tenants cannot be
// served again.
func (t *Tenants) Serve(ctx context.Context, srv *http.Server) error {
	if t == nil {
		return errNothing
	}
	return serve(ctx, srv, t, plain)
}

// ServeTLS is Serve for HTTPS; see the function ServeTLS.
func (t *Tenants) ServeTLS(ctx context.Context, srv *http.Server, certFile, keyFile string) error {
	if t == nil {
		return errNothing
	}
	return serve(ctx, srv, t, secure(certFile, keyFile))
}

// Ready is what a balancer or an orchestrator asks, as Ready of a Hub: 200 from the beginning, since hubs are made when they are wanted, and
// 503 from the moment the end of all begins (Shutdown, the end of Serve's context, or of the tenants' actor). What becomes of a single hub
// does not count.
func (t *Tenants) Ready() http.Handler {
	return readyHandler(func() bool { return t != nil && !t.up().Leaving.Load() })
}

func (t *Tenants) served() (*ending, func()) {
	l := t.up()
	return &ending{func() { t.tell(&actors.Unready{}) }, l.ReadyDelay, l.Ending}, func() {}
}
