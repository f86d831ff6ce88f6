package wskit

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
)

// rethrow panics where net/http recovers it with what a goroutine of the hub's has caught for the handler.
func rethrow(failed error) {
	if errors.Is(failed, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler) // which is told by its identity
	}
	if pe := (*PanicError)(nil); errors.As(failed, &pe) {
		failed = fmt.Errorf("%w\n%s", failed, pe.Stack) // net/http prints only its own
	}
	panic(failed)
}

// checkRequest answers a request that cannot be accepted.
func checkRequest(w http.ResponseWriter, r *http.Request, hub *Hub) error {
	switch {
	case w == nil || r == nil:
		return fmt.Errorf("%w: nil ResponseWriter or Request", ErrInvalidArgument)
	case hub == nil:
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return fmt.Errorf("%w: nil hub", ErrInvalidArgument)
	case hub.up().Gate.Stopped():
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return fmt.Errorf("wskit: accept: %w", ErrHubStopped)
	}
	return nil
}

// place is one that the hub keeps for a connection that is about to be registered.
type place struct {
	hub   *Hub
	taken bool
}

// reserve keeps a place, or answers that there is none.
func (h *Hub) reserve(w http.ResponseWriter) (*place, error) {
	if h.up().Roll.Reserve() {
		return &place{hub: h}, nil
	}
	w.Header().Set("Retry-After", "5") // seconds
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
	return nil, fmt.Errorf("wskit: accept: %w", ErrTooManySubscribers)
}

// take registers a connection, with which the place goes to the registry.
func (p *place) take(sub Subscriber) error {
	err := p.hub.enter(&actors.Register{Subscriber: sub, Reserved: true})
	p.taken = err == nil
	return err
}

// giveBack is deferred: whatever went wrong, by a panic of the caller's code too, a place that was not taken is free again.
func (p *place) giveBack() {
	if !p.taken {
		p.hub.up().Roll.Unreserve()
	}
}

// watch has ctx end the connection, but for the end of the request's own context, which is the handler's.
func watch(conn *clientactor.Conn, ctx context.Context, r *http.Request) {
	switch {
	case ctx.Done() == r.Context().Done(): // the request's own, or one with further values
	case ctx.Value(http.ServerContextKey) == nil: // not made of any request's
		conn.Watch(ctx)
	default:
		conn.WatchDerived(ctx, r.Context())
	}
}
