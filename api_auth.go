package wskit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/wskit/wskit/actors"
)

// DefaultHookTimeout is how long a hook may take for one request.
const DefaultHookTimeout = actors.DefaultHookTimeout

var (
	// ErrUnauthorized: WithAuthenticate's hook did not let the request in, which was answered 401; or, as its error, is not to.
	ErrUnauthorized = errors.New("wskit: unauthorized")
	// ErrForbidden: a hook did not let the request in, which was answered 403; as the error of WithAuthenticate's, it is to be so answered.
	ErrForbidden = errors.New("wskit: forbidden")
)

// Identity is who a request is from, as WithAuthenticate's hook finds out. The zero Identity is somebody who may come in, and is nobody
// in particular.
type Identity = actors.Identity

// WithAuthenticate sets what is asked who each request is from that Accept, ServeWS, AcceptSSE, ServeSSE and the handlers get, before
// anything is answered. With an error the request is answered 401, or 403 if the error wraps ErrForbidden, and what they return wraps
// that error and ErrUnauthorized or ErrForbidden. An Identity whose user or topics no name could be is the program's mistake: 500.
// (401 should come with WWW-Authenticate: set it on the ResponseWriter before.) NewClient and Register are not asked about.
//
// The hook runs on a goroutine of the hub's, several calls at a time. It may block, up to WithHookTimeout: its request's context ends then,
// and when the client leaves; the answer is 503 (to a request for a stream, what it is when the hub is full), the error wraps the
// context's, and what the hook returns later is ignored. A panic in it is reported to WithOnError ("Authenticate") and answered 500.
func WithAuthenticate(fn func(*http.Request) (Identity, error)) HubOption {
	return func(h *Hub) { h.cfg.Authenticate = fn }
}

// WithAuthorize sets what is asked whether a client may have a topic that it asks for by a query parameter, as in /ws?topic=a&topic=b: for
// each topic once, one after the other, before anything is answered. With an error the request is answered 403, and what Accept and the
// like return wraps that error and ErrForbidden. A name that is none is answered 400, and more topics than WithMaxTopics allows,
// those counted that the program or the Identity gives, 403: the hook is not asked then. Without a hook ?topic= is ignored.
//
// sub is the *Client or *SSEClient to be, and a Member: its Send returns false yet. It is not to be used from another goroutine before
// OnConnect. The hook runs as WithAuthenticate's does, with the timeout for all topics of a request; its op is "Authorize".
//
// It is asked too when a client that speaks Subprotocol is to join a topic, with the context that WithHandler's callback gets: with an error
// that client is told "forbidden". Without a hook it always is. What the client sends next waits for it.
func WithAuthorize(fn func(ctx context.Context, sub Subscriber, topic string) error) HubOption {
	return func(h *Hub) { h.cfg.Authorize = aboutTopic(fn) }
}

func aboutTopic(fn func(context.Context, Subscriber, string) error) func(context.Context, actors.Subscriber, string) error {
	if fn == nil {
		return nil
	}
	return func(ctx context.Context, s actors.Subscriber, topic string) error { return fn(ctx, s, topic) }
}

// WithHookTimeout bounds how long WithAuthenticate's hook may take for a request, and WithAuthorize's for all topics of one. Default 5 s;
// <= 0: the default.
func WithHookTimeout(d time.Duration) HubOption { return func(h *Hub) { h.cfg.HookTimeout = d } }

// refusal is the answer to a request that is not let in.
type refusal struct {
	status int
	error
}

func (r *refusal) Unwrap() error { return r.error }

// reserve finds out who the request is from, for the sub to be, and keeps a place. The error is ErrHubStopped, one of Roll.Reserve, or a
// *refusal.
func (h *Hub) reserve(r *http.Request, sub Subscriber, who *atomic.Pointer[identity], s *settings) (*place, error) {
	l := h.up()
	if l.Gate.Refuses() {
		return nil, ErrHubStopped
	}
	p := &place{hub: h}
	if err := h.introduce(p, r, sub, who, s); err != nil {
		return nil, err
	}
	if p.cursor = h.cursor(r, s); p.cursor.After != "" && l.Book.Resuming() >= actors.MaxResuming {
		return nil, ErrTooManyResumes
	}
	if err := l.Roll.Reserve(p.user); err != nil {
		return nil, err
	}
	return p, nil
}

// introduce has who and p say what options, hooks and the request do.
func (h *Hub) introduce(p *place, r *http.Request, sub Subscriber, who *atomic.Pointer[identity], s *settings) error {
	g, hooks := s.as, &h.up().Hooks
	if hooks.Authenticate != nil {
		id, err := h.authenticate(r)
		if err != nil {
			return err
		}
		if g.user == "" {
			g.user = id.User
		}
		g.topics = slices.Concat(g.topics, id.Topics)
		if len(id.Values) > 0 {
			values := maps.Clone(id.Values)
			maps.Copy(values, g.values)
			g.values = values
		}
		p.expires = id.Expires
	}
	if err := g.check(h.up()); err != nil {
		return &refusal{http.StatusInternalServerError, err}
	}
	who.Store(&identity{facts: newFacts(r), rare: g.person()})
	if hooks.Authorize != nil {
		asked, err := h.authorize(r, sub, g.topics)
		if err != nil {
			return err
		}
		g.topics = append(g.topics, asked...)
	}
	p.user, p.topics = g.user, g.topics
	return nil
}

func (h *Hub) authenticate(r *http.Request) (Identity, error) {
	id, err := hook(h, "Authenticate", r.Context(), func(ctx context.Context) (Identity, error) { return h.up().Hooks.Authenticate(r.WithContext(ctx)) })
	if err == nil && !id.Expires.IsZero() && !time.Now().Before(id.Expires) {
		err = fmt.Errorf("%w: the identity has expired", ErrUnauthorized)
	}
	switch {
	case err == nil || errors.As(err, new(*refusal)):
		return id, err
	case errors.Is(err, ErrForbidden):
		return id, &refusal{http.StatusForbidden, err}
	case !errors.Is(err, ErrUnauthorized):
		err = fmt.Errorf("%w: %w", ErrUnauthorized, err)
	}
	return id, &refusal{http.StatusUnauthorized, err}
}

// authorize returns the topics that the request asks for and may have, beside those that are had.
func (h *Hub) authorize(r *http.Request, sub Subscriber, had []string) ([]string, error) {
	if r.URL == nil || r.URL.RawQuery == "" {
		return nil, nil
	}
	asked, more := slices.Clone(r.URL.Query()["topic"]), 0
	slices.Sort(asked)
	asked = slices.Compact(asked)
	for _, name := range asked {
		if err := actors.CheckTopic(name); err != nil {
			return nil, &refusal{http.StatusBadRequest, fmt.Errorf("%w: topic %.80q", err, name)}
		}
		if !slices.Contains(had, name) {
			more++
		}
	}
	switch {
	case len(asked) == 0:
		return nil, nil
	case len(had)+more > h.up().TopicLimit():
		return nil, &refusal{http.StatusForbidden, ErrTooManyTopics}
	}
	_, err := hook(h, "Authorize", r.Context(), func(ctx context.Context) (struct{}, error) {
		for _, name := range asked {
			if err := h.up().Hooks.Authorize(ctx, sub, name); err != nil {
				return struct{}{}, fmt.Errorf("%w: topic %.80q: %w", ErrForbidden, name, err)
			}
		}
		return struct{}{}, nil
	})
	if err != nil && !errors.As(err, new(*refusal)) {
		err = &refusal{http.StatusForbidden, err}
	}
	return asked, err
}

// hook runs user code for a request, or a client, whose context that is, on a kept goroutine, and waits for it as long as it may take. The
// error is its own, or a *refusal.
func hook[T any](h *Hub, op string, of context.Context, fn func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(of, orDefault(h.up().Hooks.HookTimeout, DefaultHookTimeout))
	defer cancel()
	l, done := h.up(), make(chan result, 1)
	var got result
	l.Goroutines.Start(op, func() { got.value, got.err = fn(ctx) }, func(failed error) {
		if failed != nil {
			h.report(op, failed)
			got.err = &refusal{http.StatusInternalServerError, failed}
		}
		done <- got
	})
	var none T
	select {
	case got := <-done:
		if ctx.Err() == nil || !errors.Is(got.err, ctx.Err()) {
			return got.value, got.err
		} // else it has noticed that its time is over
	case <-ctx.Done():
	case <-l.Done:
		return none, &refusal{http.StatusServiceUnavailable, ErrHubStopped}
	}
	return none, &refusal{http.StatusServiceUnavailable, fmt.Errorf("wskit: %s: %w", op, ctx.Err())}
}

// settle tells a connection's outbox, which nobody else has yet, whose it is, and has it end in time.
func (p *place) settle(box *actors.Outbox) {
	box.SetUser(p.user)
	if p.expires.IsZero() {
		return
	}
	spread := rand.N(time.Second)
	timer := time.AfterFunc(time.Until(p.expires.Add(spread)), func() { box.Close(&actors.Close{Reason: actors.ReasonExpired}) })
	box.OnEnd(func() { timer.Stop() })
}
