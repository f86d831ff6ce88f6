package wskit

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"github.com/wskit/wskit/sseactor"
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
		answer(w, http.StatusInternalServerError)
		return fmt.Errorf("%w: nil hub", ErrInvalidArgument)
	}
	return nil
}

// checkSSE answers a request that does not become a stream whether or not there is room for one; over means that there is
// nothing left to do.
func (h *Hub) checkSSE(w http.ResponseWriter, r *http.Request) (over bool, err error) {
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodHead, "":
	default: // no client that reads a stream sends these
		w.Header().Set("Allow", "GET, HEAD, POST")
		answer(w, http.StatusMethodNotAllowed)
		return true, fmt.Errorf("wskit: accept SSE: %w: %s", ErrMethodNotAllowed, r.Method)
	}
	select {
	case <-h.up().Done:
		return true, h.refuse(w, ErrHubStopped)
	default:
	}
	if !sseactor.CanFlush(w) {
		answer(w, http.StatusInternalServerError)
		return true, ErrFlusherNotSupported
	}
	if r.Method == http.MethodHead { // the end of what is written as its answer would never be seen, nor would the client's leaving
		sseactor.Head(w)
		return true, nil
	}
	return false, nil
}

// refuse answers 503 for err, which it returns.
func (h *Hub) refuse(w http.ResponseWriter, err error) error {
	if errors.Is(err, ErrTooManySubscribers) {
		w.Header().Set("Retry-After", "5") // seconds
	}
	answer(w, http.StatusServiceUnavailable)
	return fmt.Errorf("wskit: accept: %w", err)
}

// putOff answers a request for a stream that there will be room for at another time, for err, which it returns.
func (h *Hub) putOff(w http.ResponseWriter, err error) error {
	select {
	case <-h.up().Done: // since it was checked
		return h.refuse(w, err)
	default:
	}
	if h.refuse503 {
		return h.refuse(w, err)
	}
	sseactor.ComeBack(w)
	return fmt.Errorf("wskit: accept SSE: %w", err)
}

// answer is a status with its text.
func answer(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// place is one that the hub keeps for a connection that is about to be registered.
type place struct {
	hub   *Hub
	taken bool
}

// reserve keeps a place; the error is ErrHubStopped or ErrTooManySubscribers.
func (h *Hub) reserve() (*place, error) {
	l := h.up()
	if l.Gate.Stopped() {
		return nil, ErrHubStopped
	}
	if err := l.Roll.Reserve(""); err != nil {
		return nil, err
	}
	return &place{hub: h}, nil
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
		p.hub.up().Roll.Unreserve("")
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
