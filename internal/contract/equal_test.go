package contract_test

import (
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// A stream takes topics, user and values as a WebSocket does, by ServeSSE and by the hub's handler, whose options serve many requests.
func TestAStreamTakesTopicsUserAndValues(t *testing.T) {
	wstest.EachStream(t, func(t *testing.T, kind wstest.Kind) {
		members := make(chan wskit.Subscriber, 9)
		for _, extra := range [][]wskit.HubOption{nil, {wskit.WithSSEHijack()}} {
			hub := wstest.Run(t, append(extra, wskit.WithOnConnect(func(s wskit.Subscriber) { members <- s }))...)
			opts := []wskit.ClientOption{wskit.WithUser("ann"), wskit.WithTopics("b", "a", "b"), wskit.WithValue(key{"a"}, 1)}
			handler := hub.SSEHandler(opts...)
			for name, h := range map[string]http.Handler{
				"ServeSSE":   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = wskit.ServeSSE(w, r, hub.Hub, opts...) }),
				"SSEHandler": handler,
			} {
				srv := wstest.Listen(t, kind, h)
				one, two := srv.StreamAt(t, "/x?q"), srv.StreamAt(t, "/x?q")
				for range 2 {
					s := wstest.Receive(t, "OnConnect", members)
					if got := look(s); got.user != "ann" || !slices.Equal(got.topics, []string{"a", "b"}) || got.values[0] != 1 || got.request.URL.Path != "/x" || got.id == "" {
						t.Errorf("%s: %+v", name, got)
					}
				}
				hub.Topic("b").Broadcast([]byte("1"))
				hub.User("ann").Broadcast([]byte("2"))
				for _, es := range []*wstest.Stream{one, two} {
					es.Expect(t, "1", "2")
					es.End()
				}
				hub.Count(t, 0)
			}
		}
	})
}

// What a stream's options cannot be is answered 500, by HEAD too.
func TestAStreamsOptionsThatCannotBeAreAnswered500(t *testing.T) {
	hub := wstest.Run(t)
	for _, method := range []string{"GET", "HEAD"} {
		errs := make(chan error, 1)
		srv := wstest.Listen(t, wstest.TCP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			errs <- wskit.ServeSSE(w, r, hub.Hub, wskit.WithTopics(""))
		}))
		if p := srv.Ask(t, method, "/"); p.Answer.StatusCode != 500 {
			t.Error(method, p.Answer.Status)
		}
		is(t, wstest.Receive(t, "ServeSSE returns", errs), wskit.ErrInvalidTopic)
	}
	hub.Count(t, 0)
}

// ServeWS returns nil for what this side has ended with a code of its own.
func TestServeWSReturnsNilForAnEndOfThisSide(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithMaxPerUser(1, wskit.CloseOldest))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Block: true})
	b, err := srv.TryOpen("/ws?user=ann")
	no(t, err)
	hub.Count(t, 1) // it was there first
	b2, err := srv.TryOpen("/ws?user=ann")
	no(t, err)
	b.Ends(t, 4002)
	hub.Count(t, 1)
	if _, err := hub.User("ann").Disconnect(t.Context(), 4000, "bye"); err != nil {
		t.Error(err)
	}
	b2.Ends(t, 4000)
	for range 2 {
		if err := wstest.Receive(t, "ServeWS returns", srv.Served); err != nil {
			t.Error(err)
		}
	}
	var closing websocket.CloseError
	if errors.As(err, &closing) {
		t.Error(closing)
	}
}

// WithMessageRate: who sends more is closed with 1008.
func TestAClientThatSendsTooMuchIsClosedWith1008(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(func(*wskit.Client, []byte) {}))
	p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithMessageRate(1, 2)}}).Peer(t)
	for range 10 {
		p.Say(t, "x")
	}
	p.Ends(t, 1008, "too many messages")
}
