package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

var errHook = errors.New("hook says no")

// status asks for a WebSocket and for a stream, and returns how each was answered and what Accept and AcceptSSE returned.
func ask(t *testing.T, hub *wskit.Hub, query string, opts ...wskit.ClientOption) (ws, sse int, wsErr, sseErr error) {
	t.Helper()
	srv := wstest.Serve(t, hub, wstest.Serving{Client: opts})
	p := srv.Handshake(t, wstest.Handshake{Path: "/ws" + query})
	if ws = p.Answer.StatusCode; ws != http.StatusSwitchingProtocols {
		wsErr = wstest.Receive(t, "Accept returns", srv.Refused)
	} else {
		_ = wstest.Receive(t, "Accept returns", srv.Accepted)
	}
	s := srv.StreamAt(t, "/sse"+query)
	if sse = s.StatusCode; sse != http.StatusOK || s.Header.Get("Retry-After") != "" {
		sseErr = wstest.Receive(t, "AcceptSSE returns", srv.Streamed)
	}
	return ws, sse, wsErr, sseErr
}

func refused(t *testing.T, hub *wskit.Hub, query string, status int, want ...error) {
	t.Helper()
	ws, sse, wsErr, sseErr := ask(t, hub, query)
	if ws != status || sse != status {
		t.Errorf("answered %d and %d, want %d", ws, sse, status)
		return
	}
	is(t, wsErr, want...)
	is(t, sseErr, want...)
	if n := hub.SubscriberCount(); n != 0 {
		t.Error(n, "subscribers")
	}
}

// "With an error the request is answered 401, or 403 if the error wraps ErrForbidden", before any upgrade.
func TestWhoIsNotLetInIsAnswered401Or403(t *testing.T) {
	for name, c := range map[string]struct {
		id     wskit.Identity
		err    error
		status int
		want   []error
	}{
		"error":        {err: errHook, status: 401, want: []error{errHook, wskit.ErrUnauthorized}},
		"unauthorized": {err: fmt.Errorf("x: %w", wskit.ErrUnauthorized), status: 401, want: []error{wskit.ErrUnauthorized}},
		"forbidden":    {err: fmt.Errorf("%w: %w", wskit.ErrForbidden, errHook), status: 403, want: []error{errHook, wskit.ErrForbidden}},
		"expired":      {id: wskit.Identity{Expires: time.Now().Add(-time.Second)}, status: 401, want: []error{wskit.ErrUnauthorized}},
		"bad user":     {id: wskit.Identity{User: "\x00"}, status: 500, want: []error{wskit.ErrInvalidTopic}},
		"bad topic":    {id: wskit.Identity{Topics: []string{""}}, status: 500, want: []error{wskit.ErrInvalidTopic}},
		"topics":       {id: wskit.Identity{Topics: []string{"a", "b", "c"}}, status: 500, want: []error{wskit.ErrTooManyTopics}},
	} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithMaxTopics(2), wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }),
				wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return c.id, c.err }))
			refused(t, hub.Hub, "", c.status, c.want...)
			req := httptest.NewRequest("HEAD", "/", nil)
			w := httptest.NewRecorder()
			if err := wskit.AcceptSSE(w, req, hub.Hub); err == nil || w.Code != c.status {
				t.Error("HEAD:", err, w.Code)
			}
		})
	}
}

// An Identity says user, topics and values; options count before it, and what is not in both adds up.
func TestAnIdentityAndOptionsAddUp(t *testing.T) {
	values := map[any]any{key{"a"}: "identity's", key{"b"}: "identity's"}
	members := make(chan wskit.Subscriber, 2)
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { members <- s }), wskit.WithAuthenticate(func(r *http.Request) (wskit.Identity, error) {
		return wskit.Identity{User: r.URL.Query().Get("user"), Topics: []string{"x", "y"}, Values: values}, nil
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("bob"), wskit.WithTopics("y", "z"), wskit.WithValue(key{"a"}, "option's")}})
	srv.Handshake(t, wstest.Handshake{Path: "/ws?user=ann"}).Upgraded(t)
	s := look(wstest.Receive(t, "OnConnect", members))
	if s.user != "bob" || !slices.Equal(s.topics, []string{"x", "y", "z"}) || s.values[0] != "option's" || s.values[1] != "identity's" {
		t.Errorf("%+v", s)
	}
	es := srv.StreamAt(t, "/sse?user=ann")
	c := wstest.Receive(t, "OnConnect", members)
	if s := look(c); s.user != "ann" || !slices.Equal(s.topics, []string{"x", "y"}) || s.values[0] != "identity's" {
		t.Errorf("%+v", s)
	}
	values[key{"a"}] = "changed"
	if c.(wskit.Member).Value(key{"a"}) != "identity's" {
		t.Error("the map was not copied")
	}
	hub.User("ann").Broadcast([]byte("1"))
	hub.User("bob").Broadcast([]byte("2"))
	hub.Topic("x").Broadcast([]byte("3"))
	es.Expect(t, "1", "3")
}

// "Without a hook ?topic= is ignored."
func TestAClientMayAskForTopicsOnlyIfThereIsAHook(t *testing.T) {
	hub := wstest.Run(t)
	_, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	_ = c
	ws, sse, _, _ := ask(t, hub.Hub, "?topic=a&topic=%00")
	if ws != 101 || sse != 200 || len(hub.Topics()) != 0 {
		t.Error(ws, sse, hub.Topics())
	}
}

// WithAuthorize is asked "for each topic once", with the client to be, "a Member: its Send returns false yet".
func TestTheHookIsAskedForEachTopicThatAClientAsksFor(t *testing.T) {
	var asked wstest.Journal
	hub := wstest.Run(t, wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) {
		return wskit.Identity{User: "ann", Topics: []string{"given"}}, nil
	}),
		wskit.WithAuthorize(func(ctx context.Context, s wskit.Subscriber, topic string) error {
			m := s.(wskit.Member)
			if _, bounded := ctx.Deadline(); !bounded || m.User() != "ann" || m.Request().URL.Query().Get("topic") == "" || m.Send([]byte("x")) || m.Topics() != nil {
				t.Error("it is not the client to be")
			}
			asked.Note("%T %s", s, topic)
			return nil
		}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p := srv.Handshake(t, wstest.Handshake{Path: "/ws?topic=b&topic=a&topic=b&topic=given&other=c"})
	p.Upgraded(t)
	asked.Expect(t, "*wskit.Client a", "*wskit.Client b", "*wskit.Client given")
	if got := wstest.Receive(t, "Accept returns", srv.Accepted).Topics(); !slices.Equal(got, []string{"a", "b", "given"}) {
		t.Error(got)
	}
	es := srv.StreamAt(t, "/sse?topic=a")
	asked.Expect(t, "*wskit.Client a", "*wskit.Client b", "*wskit.Client given", "*wskit.SSEClient a")
	hub.Count(t, 2)
	hub.Topic("b").Broadcast([]byte("1"))
	hub.Topic("a").Broadcast([]byte("2"))
	p.Expect(t, "1", "2")
	es.Expect(t, "2")
}

// "answered 403", "A name that is none is answered 400, and more topics than WithMaxTopics allows 403: the hook is not asked then."
func TestTopicsThatAClientMayNotHave(t *testing.T) {
	hub := wstest.Run(t, wskit.WithMaxTopics(3), wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{Topics: []string{"a"}}, nil }),
		wskit.WithAuthorize(func(_ context.Context, _ wskit.Subscriber, topic string) error {
			if topic == "secret" {
				return errHook
			}
			return nil
		}))
	refused(t, hub.Hub, "?topic=b&topic=secret", 403, errHook, wskit.ErrForbidden)
	refused(t, hub.Hub, "?topic=", 400, wskit.ErrInvalidTopic)
	refused(t, hub.Hub, "?topic=a%0a", 400, wskit.ErrInvalidTopic)
	refused(t, hub.Hub, "?topic="+strings.Repeat("x", 256), 400, wskit.ErrInvalidTopic)
	refused(t, hub.Hub, "?topic=b&topic=c&topic=d", 403, wskit.ErrTooManyTopics)
	if ws, sse, _, _ := ask(t, hub.Hub, "?topic=b&topic=c&topic=a"); ws != 101 || sse != 200 {
		t.Error("at the limit:", ws, sse)
	}
}

// "A panic in it is reported to WithOnError and answered 500"; so is the end of its goroutine.
func TestAHookThatPanicsIsAnswered500AndReported(t *testing.T) {
	errs := make(chan error, 9)
	for _, fail := range []func(){func() { panic("test") }, func() { panic(http.ErrAbortHandler) }, runtime.Goexit} {
		for op, opt := range map[string]wskit.HubOption{
			"Authenticate": wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { fail(); return wskit.Identity{}, nil }),
			"Authorize":    wskit.WithAuthorize(func(context.Context, wskit.Subscriber, string) error { fail(); return nil }),
		} {
			hub := wstest.Run(t, opt, wskit.WithOnError(func(op string, err error) { errs <- fmt.Errorf("%s: %w", op, err) }))
			refused(t, hub.Hub, "?topic=a", 500)
			for range 2 {
				err := wstest.Receive(t, "OnError", errs)
				var pe *wskit.PanicError
				if !errors.As(err, &pe) || pe.Op != op || !strings.HasPrefix(err.Error(), op+": ") {
					t.Error(op, err)
				}
			}
		}
	}
}

// "up to WithHookTimeout: its request's context ends then": 503, and a stream is put off.
func TestAHookThatBlocksIsAnsweredInTime(t *testing.T) {
	for name, opt := range map[string]func(free <-chan struct{}) wskit.HubOption{
		"for good": func(free <-chan struct{}) wskit.HubOption {
			return wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { <-free; return wskit.Identity{}, nil })
		},
		"until its context ends": func(<-chan struct{}) wskit.HubOption {
			return wskit.WithAuthenticate(func(r *http.Request) (wskit.Identity, error) {
				<-r.Context().Done()
				return wskit.Identity{}, r.Context().Err()
			})
		},
		"a topic": func(free <-chan struct{}) wskit.HubOption {
			return wskit.WithAuthorize(func(context.Context, wskit.Subscriber, string) error { <-free; return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			free := make(chan struct{})
			hub := wstest.Run(t, opt(free), wskit.WithHookTimeout(20*time.Millisecond), wskit.WithSSERefusalStatus())
			refused(t, hub.Hub, "?topic=a", 503, context.DeadlineExceeded)
			other := wstest.Run(t, opt(free), wskit.WithHookTimeout(20*time.Millisecond))
			srv := wstest.Serve(t, other.Hub, wstest.Serving{})
			if es := srv.StreamAt(t, "/sse?topic=a"); es.StatusCode != 200 {
				t.Error(es.StatusCode)
			}
			is(t, wstest.Receive(t, "AcceptSSE returns", srv.Streamed), context.DeadlineExceeded)
			hub.Count(t, 0)
			close(free)
		})
	}
}

// The hub goes on while a hook blocks.
func TestAHookThatBlocksDelaysNobodyElse(t *testing.T) {
	free, began := make(chan struct{}), make(chan struct{}, 1)
	hub := wstest.Run(t, wskit.WithAuthenticate(func(r *http.Request) (wskit.Identity, error) {
		if r.URL.RawQuery == "slow" {
			began <- struct{}{}
			<-free
		}
		return wskit.Identity{}, nil
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	done := wstest.Begin(func() { _, _ = srv.TryOpen("/ws?slow") })
	wstest.Receive(t, "the hook", began)
	b, _ := srv.Browser(t)
	hub.Broadcast([]byte("1"))
	b.Expect(t, "1")
	close(free)
	wstest.Receive(t, "the slow one", done)
	hub.Count(t, 2)
}

// A hook is not asked by a hub that has stopped or is full of it.
func TestAHookIsNotAskedByAStoppedHub(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { t.Error("it was"); return wskit.Identity{}, nil }))
	hub.Halt(t)
	refused(t, hub.Hub, "", 503, wskit.ErrHubStopped)
}

// "Expires is when the connection is ended, within a second after it": 4001 "expired"; SSE: end of stream.
func TestAConnectionEndsWhenItsIdentityExpires(t *testing.T) {
	var expires time.Time
	hub := wstest.Run(t, wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{Expires: expires}, nil }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	expires = time.Now().AddDate(400, 0, 0) // longer than a Duration
	b, _ := srv.Browser(t)
	expires = time.Now().Add(300 * time.Millisecond)
	p, _ := srv.Peer(t)
	es := srv.Stream(t)
	hub.Count(t, 3)
	p.Ends(t, 4001, "expired")
	es.Ends(t)
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
		t.Error(err)
	}
	if early := time.Until(expires); early > 0 {
		t.Error("too early, by", early)
	}
	hub.Count(t, 1)
	hub.Broadcast([]byte("1"))
	b.Expect(t, "1")
}
