package wskit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

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
// nothing left to do. With settings whoever asks is asked who that is, for an answer that is no stream.
func (h *Hub) checkSSE(w http.ResponseWriter, r *http.Request, set *settings) (over bool, err error) {
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodHead, "":
	default: // no client that reads a stream sends these
		w.Header().Set("Allow", "GET, HEAD, POST")
		return true, reject(w, http.StatusMethodNotAllowed, fmt.Errorf("wskit: accept SSE: %w: %s", ErrMethodNotAllowed, r.Method))
	}
	select {
	case <-h.up().Done:
		return true, h.refuse(w, ErrHubStopped)
	default:
	}
	if !sseactor.CanFlush(w) {
		return true, reject(w, http.StatusInternalServerError, ErrFlusherNotSupported)
	}
	if r.Method == http.MethodHead { // the end of what is written as its answer would never be seen, nor would the client's leaving
		if c := (&SSEClient{hub: h}); set != nil {
			if err := h.introduce(new(place), r, c, &c.who, set); err != nil {
				return true, h.putOff(w, err)
			}
		}
		sseactor.Head(w)
		return true, nil
	}
	return false, nil
}

// refuse answers a request that is not let in for err, which it returns: 503 if err does not say otherwise.
func (h *Hub) refuse(w http.ResponseWriter, err error) error {
	status, known := statusOf(err)
	if !known {
		status = http.StatusServiceUnavailable
	}
	if status == http.StatusTooManyRequests || errors.Is(err, ErrTooManySubscribers) || errors.Is(err, ErrTooManyResumes) {
		w.Header().Set("Retry-After", "5") // seconds
	}
	return reject(w, status, fmt.Errorf("wskit: accept: %w", err))
}

// rejected is the error of a request that is not let in, with the status of its answer, until refused has it.
type rejected struct {
	status int
	error
	upgrade bool // the WebSocket library has refused it
}

// reject answers a request that is not let in, for err.
func reject(w http.ResponseWriter, status int, err error) error {
	answer(w, status)
	return &rejected{status: status, error: err}
}

// refused comes when a request has been served, and nothing is kept for it any more: if it was not let in, OnRefuse is told. It returns the
// error that is for the caller.
func (h *Hub) refused(r *http.Request, err error) error {
	not, ok := err.(*rejected)
	if !ok {
		return err
	}
	l := h.up()
	l.Counters.Refusals[not.kind()].Add(1)
	if l.OnRefuse != nil {
		if failed := l.Goroutines.Isolate("OnRefuse", func() { l.OnRefuse(r, not.status, not.error) }); failed != nil {
			h.report("OnRefuse", failed)
		}
	}
	return not.error
}

// statusOf is the answer that err calls for, wherever it came up.
func statusOf(err error) (status int, known bool) {
	if r := (*refusal)(nil); errors.As(err, &r) {
		return r.status, true
	}
	switch {
	case errors.Is(err, ErrTooManyConnections):
		return http.StatusTooManyRequests, true
	case errors.Is(err, ErrLockedOut):
		return http.StatusForbidden, true
	}
	return 0, false
}

// putOff answers a request for a stream that there will be room for at another time, for err, which it returns. One that is not to come
// back is told so.
func (h *Hub) putOff(w http.ResponseWriter, err error) error {
	select {
	case <-h.up().Done: // since it was checked
		return h.refuse(w, err)
	default:
	}
	if errors.Is(err, ErrHubStopped) {
		w.Header().Set("Connection", "close") // to come back over the same one, of HTTP/2, would lead here again
	}
	status, known := statusOf(err)
	later := !known || status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	if h.up().SSERefusalStatus || !later {
		return h.refuse(w, err)
	}
	sseactor.ComeBack(w)
	return &rejected{status: http.StatusOK, error: fmt.Errorf("wskit: accept SSE: %w", err)}
}

// answer is a status with its text.
func answer(w http.ResponseWriter, status int) { http.Error(w, http.StatusText(status), status) }

// place is one that the hub keeps for a connection that is about to be registered, and who that is for.
type place struct {
	hub     *Hub
	user    string
	topics  []string
	cursor  actors.Cursor
	expires time.Time
	taken   bool
}

// take registers a connection, with which the place goes to the registry.
func (p *place) take(sub Subscriber) error {
	err := p.hub.enter(&actors.Register{Subscriber: sub, Topics: p.topics, Cursor: p.cursor, Reserved: true})
	p.taken = err == nil
	return err
}

// giveBack is deferred: whatever went wrong, by a panic of the caller's code too, a place that was not taken is free again.
func (p *place) giveBack() {
	if !p.taken {
		p.hub.up().Roll.Unreserve(p.user)
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
