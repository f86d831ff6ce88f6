package contract_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// refusal is what OnRefuse is told.
type refusal struct {
	r      *http.Request
	status int
	err    error
}

// Whoever is not let in is told of, once the answer has been written: with its status, and the error that Accept and the like return.
func TestOnRefuseIsToldOfWhoeverIsNotLetIn(t *testing.T) {
	full := func(_ *testing.T, h *wstest.Hub) { h.Register(&wstest.Probe{}) }
	for name, c := range map[string]struct {
		opts    []wskit.HubOption
		client  []wskit.ClientOption
		before  func(*testing.T, *wstest.Hub)
		request func(*http.Request) // nil: it is sound
		wrap    func(http.ResponseWriter) http.ResponseWriter
		ws, sse int // the status; 0: it is not asked
		want    error
	}{
		"a full hub":          {opts: []wskit.HubOption{wskit.WithMaxSubscribers(1)}, before: full, ws: 503, sse: 200, want: wskit.ErrTooManySubscribers},
		"a full hub with 503": {opts: []wskit.HubOption{wskit.WithMaxSubscribers(1), wskit.WithSSERefusalStatus()}, before: full, ws: 503, sse: 503, want: wskit.ErrTooManySubscribers},
		"a user of too many": {opts: []wskit.HubOption{wskit.WithMaxPerUser(1, wskit.RefuseNewest), wskit.WithSSERefusalStatus()}, client: []wskit.ClientOption{wskit.WithUser("ann")},
			before: func(t *testing.T, h *wstest.Hub) {
				wstest.Serve(t, h.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("ann")}}).Peer(t)
			}, ws: 429, sse: 429, want: wskit.ErrTooManyConnections},
		"a user who is locked out": {client: []wskit.ClientOption{wskit.WithUser("ann")}, before: func(t *testing.T, h *wstest.Hub) {
			_, err := h.User("ann").Disconnect(t.Context(), 1000, "")
			no(t, err)
		}, ws: 403, sse: 403, want: wskit.ErrLockedOut},
		"unauthorized": {opts: []wskit.HubOption{wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{}, errHook })},
			ws: 401, sse: 401, want: wskit.ErrUnauthorized},
		"forbidden": {opts: []wskit.HubOption{wskit.WithAuthorize(func(context.Context, wskit.Subscriber, string) error { return errHook })},
			request: func(r *http.Request) { r.URL.RawQuery = "topic=a" }, ws: 403, sse: 403, want: wskit.ErrForbidden},
		"no topic": {opts: []wskit.HubOption{wskit.WithAuthorize(func(context.Context, wskit.Subscriber, string) error { return nil })},
			request: func(r *http.Request) { r.URL.RawQuery = "topic=" }, ws: 400, sse: 400, want: wskit.ErrInvalidTopic},
		"a hook that panics": {opts: []wskit.HubOption{wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { panic(errHook) })},
			ws: 500, sse: 500, want: errHook},
		"options that cannot be": {client: []wskit.ClientOption{wskit.WithTopics("")}, ws: 500, sse: 500, want: wskit.ErrInvalidTopic},
		"a hub that has stopped": {before: func(t *testing.T, h *wstest.Hub) { h.Halt(t) }, ws: 503, sse: 503, want: wskit.ErrHubStopped},
		"another method":         {request: func(r *http.Request) { r.Method = "PUT" }, sse: 405, want: wskit.ErrMethodNotAllowed},
		"HEAD": {opts: []wskit.HubOption{wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{}, errHook })},
			request: func(r *http.Request) { r.Method = "HEAD" }, sse: 401, want: wskit.ErrUnauthorized},
		"no flusher":           {wrap: func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }, sse: 500, want: wskit.ErrFlusherNotSupported},
		"no upgrade":           {request: func(r *http.Request) { r.Header.Del("Upgrade") }, ws: 426},
		"another origin":       {request: func(r *http.Request) { r.Header.Set("Origin", "https://elsewhere") }, ws: 403},
		"no hijacker":          {ws: 501},
		"a queue that is full": {opts: []wskit.HubOption{wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(time.Millisecond)}, before: func(*testing.T, *wstest.Hub) {}, sse: 200, want: wskit.ErrTimeout},
	} {
		for _, transport := range []string{"ws", "sse"} {
			status := map[string]int{"ws": c.ws, "sse": c.sse}[transport]
			if status == 0 {
				continue
			}
			t.Run(name+" "+transport, func(t *testing.T) {
				told, rec := make(chan refusal, 9), httptest.NewRecorder()
				hub := wstest.Idle(t, append(c.opts, wskit.WithOnRefuse(func(r *http.Request, status int, err error) {
					if rec.Code != status {
						t.Errorf("told of %d when %d was written", status, rec.Code)
					}
					told <- refusal{r, status, err}
				}))...)
				if c.want != wskit.ErrTimeout {
					hub.Start(t)
				} else {
					defer hub.Start(t)
				}
				if c.before != nil {
					c.before(t, hub)
				}
				r := httptest.NewRequest("GET", "/", nil)
				r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
				if c.request != nil {
					c.request(r)
				}
				var w http.ResponseWriter = rec
				if c.wrap != nil {
					w = c.wrap(w)
				}
				var err error
				if transport == "ws" {
					err = wskit.ServeWS(w, r, hub.Hub, nil, c.client...)
				} else {
					err = wskit.ServeSSE(w, r, hub.Hub, c.client...)
				}
				got := wstest.Receive(t, "OnRefuse", told)
				if got.r != r || got.status != status || got.status != rec.Code || got.err != err || err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("told %d %v, answered %d, returned %v", got.status, got.err, rec.Code, err)
				}
				if len(told) > 0 {
					t.Error("told twice")
				}
			})
		}
	}
}

// "A WebSocket that found no place in the hub's queue [was answered] 101"; who is let in, and a stream that ends, is not told of.
func TestOnRefuseIsToldOfAWebSocketThatFoundNoPlace(t *testing.T) {
	told := make(chan refusal, 9)
	refuse := wskit.WithOnRefuse(func(r *http.Request, status int, err error) { told <- refusal{r, status, err} })
	hub := wstest.Idle(t, wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(time.Millisecond), refuse)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	srv.Handshake(t, wstest.Handshake{}).Ends(t, 1013, "try again later")
	err := wstest.Receive(t, "Accept returns", srv.Refused)
	if got := wstest.Receive(t, "OnRefuse", told); got.status != http.StatusSwitchingProtocols || got.err != err || !errors.Is(err, wskit.ErrTimeout) {
		t.Errorf("told %d %v, returned %v", got.status, got.err, err)
	}
	hub.Start(t)
	p, _ := srv.Peer(t)
	s := srv.Stream(t)
	hub.Count(t, 2)
	_ = p.Close()
	s.End()
	wstest.Receive(t, "AcceptSSE returns", srv.Streamed)
	hub.Count(t, 0)
	wstest.Silent(t, "told of somebody who was let in", told)
}

// "blocking holds back that answer and nothing else": no place is kept meanwhile. "A panic costs the call and is reported."
func TestOnRefuseMayBlockAndPanic(t *testing.T) {
	release, called, errs := make(chan struct{}), make(chan struct{}, 9), &troubles{}
	hub := wstest.Run(t, wskit.WithMaxSubscribers(1), errs.option(), wskit.WithOnRefuse(func(*http.Request, int, error) {
		called <- struct{}{}
		<-release
		panic("OnRefuse")
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	answer := make(chan int, 1)
	blocked := wstest.Begin(func() {
		resp, err := srv.Client().Get(srv.URL + "/ws") // there is a place, and no upgrade
		if err == nil {
			answer <- resp.StatusCode
			_ = resp.Body.Close()
		}
	})
	wstest.Receive(t, "OnRefuse", called)
	in, _ := srv.Peer(t)
	hub.Broadcast([]byte("1"))
	in.Expect(t, "1")
	close(release)
	wstest.Receive(t, "an answer", blocked)
	if status := wstest.Receive(t, "an answer", answer); status != http.StatusUpgradeRequired {
		t.Error(status)
	}
	errs.Expect(t, "OnRefuse")
}

// A hub that others embed has it in its Config.
func TestAnEmbeddedHubHasOnRefuse(t *testing.T) {
	told := make(chan refusal, 9)
	hub, _ := wstest.Embed(t, hubactor.Config{MaxSubscribers: 1, OnRefuse: func(r *http.Request, status int, err error) { told <- refusal{r, status, err} }})
	hub.Register(&wstest.Probe{})
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	srv.Handshake(t, wstest.Handshake{})
	if got := wstest.Receive(t, "OnRefuse", told); got.status != 503 || !errors.Is(got.err, wskit.ErrTooManySubscribers) {
		t.Error(got)
	}
}
