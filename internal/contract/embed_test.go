package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// What options have the facade do for a hub, Config has it do for one that somebody else's actor spawns.
func TestAnEmbeddedHubHasItsHooks(t *testing.T) {
	var seen wstest.Journal
	allow := func(ctx context.Context, s actors.Subscriber, topic string) error { return may(ctx, s, topic) }
	hub, _ := wstest.Embed(t, hubactor.Config{Hooks: actors.Hooks{
		Authenticate: func(r *http.Request) (actors.Identity, error) {
			if r.FormValue("user") == "" {
				return actors.Identity{}, errors.New("nobody")
			}
			return actors.Identity{User: r.FormValue("user"), Topics: []string{"short"}}, nil
		},
		Authorize:        allow,
		AuthorizePublish: allow,
		OnMessage: func(s actors.Subscriber, data []byte) {
			seen.Note("%s says %s", s.(*wskit.Client).User(), data)
		},
		Handler: func(_ context.Context, m actors.Received) error {
			seen.Note("%v %s", m.Binary, m.Data)
			return wskit.CloseError(4100, "over")
		},
		TopicHistory: func(topic string) actors.History { return actors.History{Messages: len(topic)} },
	}})
	refused(t, hub.Hub, "", http.StatusUnauthorized, wskit.ErrUnauthorized)
	refused(t, hub.Hub, "?user=ann&topic=-", http.StatusForbidden, wskit.ErrForbidden)

	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p := srv.Handshake(t, wstest.Handshake{Path: "/ws?user=ann&topic=room", Header: map[string]string{"Sec-WebSocket-Protocol": wskit.Subprotocol}})
	p.Upgraded(t)
	c := wstest.Receive(t, "Accept returns", srv.Accepted)
	if got := slices.Sorted(slices.Values(c.Topics())); c.User() != "ann" || !slices.Equal(got, []string{"room", "short"}) {
		t.Error(c.User(), got)
	}
	says(t, p, `{"op":"publish","topic":"-","text":"x","ref":1}`, `{"ref":1,"error":"forbidden"`)
	p.Say(t, `{"op":"send","text":"hello"}`)
	wstest.Eventually(t, "it is closed", func() bool { return hub.SubscriberCount() == 0 })
	seen.Expect(t, "ann says hello", "false hello")

	for i := range 9 {
		hub.Topic("short").Broadcast(fmt.Append(nil, i))
		hub.Everyone().Broadcast(fmt.Append(nil, i))
	}
	for _, of := range []struct {
		audience wskit.Audience
		want     int
	}{{hub.Topic("short").Audience, 5}, {hub.Everyone(), 9}} {
		if got, err := of.audience.History(t.Context(), 100); err != nil || len(got) != of.want {
			t.Errorf("%d are kept, want %d: %v", len(got), of.want, err)
		}
	}
}

func TestAnEmbeddedHubsHooksHaveTheirTimeout(t *testing.T) {
	hub, _ := wstest.Embed(t, hubactor.Config{SSERefusalStatus: true, Hooks: actors.Hooks{HookTimeout: 10 * time.Millisecond,
		Authenticate: func(r *http.Request) (actors.Identity, error) {
			<-r.Context().Done()
			return actors.Identity{}, r.Context().Err()
		}}})
	refused(t, hub.Hub, "", http.StatusServiceUnavailable, context.DeadlineExceeded) // a stream too
}

// Config.Events: "Their sender is the hub's PID", and when nobody is there to have them the hub goes on.
func TestTheSenderOfAnEventIsTheHub(t *testing.T) {
	senders := make(chan *actor.PID, 9)
	root := actors.System().Root
	ear := root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actors.Connected); ok {
			senders <- ctx.Sender()
		}
	}))
	var log wstest.LogRecorder
	hub, _ := adopt(t, hubactor.Config{Events: ear, Logger: log.Logger()})
	hub.Register(&wstest.Probe{})
	if got := wstest.Receive(t, "the event", senders); !got.Equal(hub.PID()) {
		t.Error(got)
	}
	no(t, root.StopFuture(ear).Wait())
	p := &wstest.Probe{}
	hub.Register(p)
	hub.Unregister(p)
	p.Expect(t, wstest.Closed)
	hub.Register(&wstest.Probe{})
	wstest.Eventually(t, "it is in", func() bool { return hub.SubscriberCount() == 2 })
	for _, r := range log.All() {
		t.Error(r)
	}
}
