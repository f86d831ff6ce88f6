package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wskit/wskit"
)

const (
	maxText   = 4 << 10 // bytes of one message
	burstSize = 1000
)

// action is something that a page can ask for by a POST. Each tenant may have it so many times at once, and then one every so often.
type action struct {
	every  time.Duration
	atOnce int
	do     func(d *dashboard, r *room, hub *wskit.Hub, req *http.Request) (any, error)
}

// actions are all of them. Of crashes there are at most ten within 10 s: as many of one actor are forgiven, and one more would end the hub.
var actions = map[string]action{
	"send":  {100 * time.Millisecond, 20, (*dashboard).send},
	"beat":  {2 * time.Millisecond, 500, (*dashboard).beat},
	"burst": {3 * time.Second, 2, (*dashboard).burst},
	"crash": {2 * time.Second, 5, (*dashboard).crash},
	"slow":  {time.Second, 8, (*dashboard).slow},
	"cut":   {5 * time.Second, 1, (*dashboard).cut},
}

// refusal is an error that is answered with a status of its own.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

// act takes an action and answers with what came of it.
func (d *dashboard) act(w http.ResponseWriter, req *http.Request) {
	tenant, err := tenantOf(req)
	a, known := actions[req.PathValue("action")]
	if err != nil || !known {
		http.NotFound(w, req)
		return
	}
	r := d.room(tenant)
	if !r.allow(req.PathValue("action"), a.every, a.atOnce) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "That was a little too often. Wait a moment.", http.StatusTooManyRequests)
		return
	}
	req.Body = http.MaxBytesReader(w, req.Body, maxText)
	hub, err := d.tenants.Hub(tenant)
	var said any
	if err == nil {
		said, err = a.do(d, r, hub, req)
	}
	switch no := (*refusal)(nil); {
	case errors.As(err, &no):
		http.Error(w, no.text, no.status)
	case err != nil:
		http.Error(w, "The hub did not take it: "+err.Error(), http.StatusServiceUnavailable)
	case said == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(said)
	}
}

// delivered is nil for what this instance's subscribers got, too: while Redis is away that is all there is.
func delivered(err error) error {
	if errors.Is(err, wskit.ErrLocalOnly) {
		return nil
	}
	return err
}

// send passes the request's body on to everyone, at every instance.
func (d *dashboard) send(_ *room, hub *wskit.Hub, req *http.Request) (any, error) {
	body, err := io.ReadAll(req.Body)
	text := strings.TrimSpace(string(body))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("A message is at most %d bytes long.", maxText)}
	case err != nil:
		return nil, &refusal{http.StatusBadRequest, "The message did not arrive whole."}
	case text == "" || !utf8.ValidString(text):
		return nil, &refusal{http.StatusBadRequest, "A message is text, and not empty."}
	}
	return nil, delivered(hub.BroadcastJSONContext(req.Context(), "message", map[string]any{
		"text": text, "from": d.name, "at": time.Now().UTC(),
	}))
}

// beat is a page's own: it gets the number back over both its connections, and sees how long that took, and that none is missing.
func (d *dashboard) beat(_ *room, hub *wskit.Hub, req *http.Request) (any, error) {
	page, n := req.URL.Query().Get("page"), req.URL.Query().Get("n")
	if !pageNames.MatchString(page) || len(n) > 16 {
		return nil, &refusal{http.StatusBadRequest, "A beat is of a page, and has a number."}
	}
	return nil, delivered(hub.User(page).BroadcastJSONContext(req.Context(), "beat", n))
}

// burst sends messages to everyone as fast as the hub takes them, whether or not the page waits for it.
func (d *dashboard) burst(_ *room, hub *wskit.Hub, req *http.Request) (any, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(req.Context()), 20*time.Second)
	defer cancel()
	start := time.Now()
	id := fmt.Sprintf("%s/%d", d.name, start.UnixNano())
	for n := range burstSize {
		if err := delivered(hub.BroadcastJSONContext(ctx, "burst", map[string]any{"id": id, "n": n + 1, "of": burstSize})); err != nil {
			return nil, fmt.Errorf("after %d: %w", n, err)
		}
	}
	return map[string]any{"id": id, "sent": burstSize, "ms": time.Since(start).Milliseconds()}, nil
}

// crash crashes the actor that the request names.
func (d *dashboard) crash(_ *room, hub *wskit.Hub, req *http.Request) (any, error) {
	if name := req.URL.Query().Get("actor"); !crash(hub, name) {
		return nil, &refusal{http.StatusNotFound, "There is no such actor any more."}
	}
	return nil, nil
}

// slow starts the client that is slow on purpose, with a policy, or stops it, with none.
func (d *dashboard) slow(r *room, hub *wskit.Hub, req *http.Request) (any, error) {
	name, page := req.URL.Query().Get("policy"), req.URL.Query().Get("page")
	if name == "" {
		r.stopSlow()
		return nil, nil
	}
	for _, policy := range []wskit.Overflow{wskit.DropNewest, wskit.DropOldest, wskit.Disconnect} {
		if policy.String() == name && pageNames.MatchString(page) {
			return nil, r.startSlow(req.Context(), hub, page, policy)
		}
	}
	return nil, &refusal{http.StatusBadRequest, "There is no such policy."}
}

// cut breaks all connections to Redis, which concerns every tenant of this instance.
func (d *dashboard) cut(r *room, _ *wskit.Hub, _ *http.Request) (any, error) {
	if d.redis == nil {
		return nil, &refusal{http.StatusNotFound, "There is no Redis."}
	}
	r.note("", "%d connections to Redis were cut", d.wires.cut())
	return nil, nil
}
