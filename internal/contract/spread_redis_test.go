package contract_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// Clients of an instance that ends go on at another while both publish, and miss nothing.
func TestClientsOfASpreadDrainMissNothing(t *testing.T) {
	const n = 24
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr(), wskit.WithDrainSpread(500*time.Millisecond), wskit.WithDrainTimeout(20*time.Second),
		wskit.WithHistory(wskit.History{Messages: 10_000}))
	two, there := linked(t, redis.Addr(), wskit.WithHistory(wskit.History{Messages: 10_000}))

	heard := make([][]string, n)
	var moved wstest.List[time.Time]
	ended := make([]<-chan struct{}, n)
	for i := range n {
		follow := followSocket
		if i%2 == 1 {
			follow = followStream
		}
		at := follow(t, here, "")
		ended[i] = wstest.Begin(func() {
			var cursor string
			if heard[i], cursor = at(); len(heard[i]) > 0 && heard[i][len(heard[i])-1] == "end" {
				t.Error("it was not told to move")
				return
			}
			moved.Add(time.Now())
			rest, _ := follow(t, there, cursor)()
			heard[i] = append(heard[i], rest...)
		})
	}
	one.Count(t, n)

	var published []string
	publish := func(hub *wskit.Hub, text string) error {
		err := hub.Everyone().BroadcastEventContext(t.Context(), text)
		if err == nil {
			published = append(published, text)
		}
		return err
	}
	number := 0
	goOn := func() {
		number++
		no(t, publish(two.Hub, strconv.Itoa(number)))
		number++
		_ = publish(one.Hub, strconv.Itoa(number)) // until it has ended
	}
	for range 10 {
		goOn()
	}
	one.Stop()
	wstest.Eventually(t, "all have moved", func() bool { goOn(); return moved.Len() == n })
	two.Count(t, n)
	goOn()
	no(t, publish(two.Hub, "end"))
	for i := range n {
		wstest.Receive(t, "a client is through", ended[i])
		if !slices.Equal(heard[i], published) {
			t.Errorf("client %d heard %d of %d messages: %.300q", i, len(heard[i]), len(published), heard[i])
		}
	}
	wstest.Receive(t, "Run returns", one.Done)
	t.Logf("%d messages", len(published))
}

// followStream comes with a cursor, and listens until the end or until it is sent off: what it has heard, and where that is.
func followStream(t *testing.T, srv *wstest.Server, cursor string) func() ([]string, string) {
	resp, err := srv.Client().Get(srv.URL + "/sse?" + url.Values{"last_event_id": {cursor}}.Encode())
	if err != nil {
		t.Error(err)
		return func() ([]string, string) { return nil, "" }
	}
	return func() (heard []string, at string) {
		defer resp.Body.Close()
		_ = wstest.ReadEvents(resp.Body, func(event string) {
			head, data, _ := strings.Cut(strings.TrimSuffix(event, "]"), "] ")
			if id, is := strings.CutPrefix(head, "[id:"); is {
				at = id
			} else if !strings.HasPrefix(event, "[retry:") {
				heard = append(heard, event) // a reset
			}
			if data != "" {
				heard = append(heard, strings.Trim(data, `"`))
			}
			if data == `"end"` {
				_ = resp.Body.Close()
			}
		}, nil)
		return heard, at
	}
}

// followSocket is the same of a client that speaks the subprotocol.
func followSocket(t *testing.T, srv *wstest.Server, cursor string) func() ([]string, string) {
	b, err := srv.TryOpen("/ws?"+url.Values{"last_event_id": {cursor}}.Encode(), func(o *websocket.DialOptions) {
		o.Subprotocols = []string{wskit.Subprotocol}
	})
	if err != nil {
		t.Error(err)
		return func() ([]string, string) { return nil, "" }
	}
	return func() (heard []string, at string) {
		defer b.CloseNow()
		for {
			text, err := b.Next()
			if err != nil {
				return heard, at
			}
			if id, is := strings.CutPrefix(text, `{"id":"`); is {
				at, _, _ = strings.Cut(id, `"`)
			} else {
				heard = append(heard, text)
			}
			if _, data, is := strings.Cut(text, `"data":"`); is {
				data = strings.TrimSuffix(data, `"}`)
				heard = append(heard, data)
				if data == "end" {
					return heard, at
				}
			}
		}
	}
}

// SubscribeToRedis: "those who are still there go on to receive", though its context was that of Run.
func TestTheSubscriptionLastsAsLongAsTheSpread(t *testing.T) {
	redis := redistest.Start(t)
	var hubs [2]*wstest.Hub
	ctx, stop := context.WithCancel(t.Context())
	for i := range hubs {
		hubs[i] = wstest.Run(t, wskit.WithRedis(redis.Client(t), "spread"), wskit.WithDrainSpread(time.Hour), wskit.WithDrainTimeout(0))
		done := wstest.Begin(func() { hubs[i].SubscribeToRedis(ctx) })
		t.Cleanup(func() { stop(); <-done })
	}
	wstest.Eventually(t, "both are subscribed", func() bool { return redis.Subscribers(t, "spread") == 2 })
	one, two := hubs[0], hubs[1]
	srv := wstest.Serve(t, one.Hub, wstest.Serving{})
	b, c := srv.Browser(t)
	other, its := srv.Browser(t)
	one.Count(t, 2)
	stop()
	one.Stop()
	one.Count(t, 1)
	if !c.Send([]byte("first")) {
		b, other = other, b
		its.Send([]byte("first"))
	}
	other.Ends(t, websocket.StatusServiceRestart)
	b.Expect(t, "first")
	for i, began := 0, time.Now(); time.Since(began) < 1500*time.Millisecond; i++ { // beyond the second
		no(t, two.BroadcastEventContext(t.Context(), i))
		b.Expect(t, fmt.Sprint(i))
	}
	_ = b.CloseNow()
	wstest.Receive(t, "Run returns", one.Done)
}
