package contract_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

const channel = "contract"

// node is one instance: a hub on the channel, with one subscriber.
type node struct {
	*wstest.Hub
	client *redis.Client
	got    *wstest.Probe
	errs   chan error // what OnError was told
}

func redisNode(t *testing.T, addr string, opts ...wskit.HubOption) *node {
	t.Helper()
	wstest.Clean(t)
	n := &node{client: redistest.Client(t, addr), got: &wstest.Probe{}, errs: make(chan error, 999)}
	n.Hub = wstest.Run(t, append(opts, wskit.WithRedis(n.client, channel), wskit.WithOnError(func(op string, err error) { n.errs <- err }))...)
	n.Register(n.got)
	return n
}

// listen runs SubscribeToRedis and waits until Redis has so many connections that listen.
func (n *node) listen(t *testing.T, srv *redistest.Server, total int) (stop func(), done <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done = wstest.Begin(func() { n.SubscribeToRedis(ctx) })
	t.Cleanup(func() { cancel(); wstest.Receive(t, "SubscribeToRedis returns", done) })
	wstest.Eventually(t, "the subscription", func() bool { return srv.Subscribers(t, channel) == total })
	return cancel, done
}

// "WithRedis: nil client or "" channel: Redis off".
func TestANilClientOrAnEmptyChannelMeansRedisOff(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		wstest.Clean(t)
		for _, opt := range []wskit.HubOption{wskit.WithRedis(nil, channel), wskit.WithRedis(srv.Client(t), ""), wskit.WithRedis(nil, "")} {
			hub := wstest.Run(t, opt)
			p := &wstest.Probe{}
			hub.Register(p)
			if err := hub.BroadcastEvent(t.Context(), 1); err != nil {
				t.Error(err)
			}
			p.Expect(t, "1")
			wstest.Quickly(t, "SubscribeToRedis", time.Second, func() { hub.SubscribeToRedis(context.Background()) })
			for _, name := range wstest.Tree(t, hub.Hub) {
				if strings.HasSuffix(name, "/redis") {
					t.Error(name)
				}
			}
		}
	})
}

// "What is published is the event's JSON itself, nothing around it, so any Redis client can publish to or read the channel."
func TestAnyRedisClientCanPublishToAndReadTheChannel(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		n := redisNode(t, srv.Addr())
		n.listen(t, srv, 1)
		own := srv.Client(t)
		sub := own.Subscribe(t.Context(), channel)
		defer sub.Close()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		event := map[string]any{"text": "<&>\n", "n": 1}
		if err := n.BroadcastEvent(t.Context(), event); err != nil {
			t.Error(err)
		}
		want, _ := json.Marshal(event)
		msg, err := sub.ReceiveMessage(t.Context())
		if err != nil || msg.Payload != string(want) {
			t.Errorf("%+v, %v", msg, err)
		}
		n.got.Expect(t, string(want))
		for _, text := range []string{"not-JSON", "", "\x00\xff", strings.Repeat("x", 1<<18)} {
			if err := own.Publish(t.Context(), channel, text).Err(); err != nil {
				t.Error(err)
			}
		}
		n.got.Expect(t, string(want), "not-JSON", "", "\x00\xff", strings.Repeat("x", 1<<18))
		if err := n.BroadcastJSON(t.Context(), "kind", 7); err != nil {
			t.Error(err)
		}
		var e wskit.Event
		for e.Type == "" { // the texts come first
			msg, err := sub.ReceiveMessage(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = json.Unmarshal([]byte(msg.Payload), &e)
		}
		if e.Type != "kind" || e.Payload != 7.0 {
			t.Errorf("%+v", e)
		}
	})
}

// Broadcast is for this hub's own subscribers; BroadcastEvent for everybody's, who get it once each, and in one order.
func TestBroadcastEventReachesEverySubscriberOfEveryHubOnceAndInOneOrder(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		var nodes []*node
		for i := range 3 {
			n := redisNode(t, srv.Addr())
			n.listen(t, srv, i+1)
			nodes = append(nodes, n)
		}
		// When a message of somebody else has arrived, a hub has seen that it is subscribed; till then it delivers its own at once.
		if err := srv.Client(t).Publish(t.Context(), channel, "ready").Err(); err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			n.got.Expect(t, "ready")
		}
		const each = 100
		var publishing []<-chan struct{}
		for i, n := range nodes {
			publishing = append(publishing, wstest.Begin(func() {
				for k := range each {
					if err := n.BroadcastEvent(context.Background(), fmt.Sprintf("%d/%d", i, k)); err != nil {
						t.Error(err)
					}
					_ = n.BroadcastEvent(context.Background(), "the same of all")
				}
			}))
		}
		for _, p := range publishing {
			wstest.Receive(t, "the publishers end", p)
		}
		wstest.Eventually(t, "all have arrived", func() bool {
			return !slices.ContainsFunc(nodes, func(n *node) bool { return n.got.Len() < 2*each*len(nodes)+1 })
		})
		for _, n := range nodes {
			n.Broadcast([]byte("mine alone"))
			wstest.Eventually(t, "the local broadcast", func() bool { return strings.HasSuffix(n.got.Text(), "mine alone") })
			if n.got.Len() != 2*each*len(nodes)+2 || n.got.Text() != nodes[0].got.Text() {
				t.Error("not the same for all, or more than once:", n.got.Len())
			}
		}
	})
}

// "With Redis it publishes first; if that fails (2 s limit) it broadcasts locally. The error is non-nil only when marshalling fails."
func TestWithoutAnswerOfRedisBroadcastEventBroadcastsLocally(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		t.Run("nobody subscribed", func(t *testing.T) { // and Redis is well
			n := redisNode(t, srv.Addr())
			for i := range 10 {
				if err := n.BroadcastEvent(t.Context(), i); err != nil {
					t.Error(err)
				}
			}
			n.got.Expect(t, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
		})
		t.Run("silent", func(t *testing.T) {
			proxy := redistest.Proxy(t, srv.Addr())
			n := redisNode(t, proxy.Addr())
			n.listen(t, srv, 1)
			proxy.Mute(redistest.Everything)
			wstest.Quickly(t, "BroadcastEvent", 3500*time.Millisecond, func() {
				if err := n.BroadcastEvent(context.Background(), "silent"); err != nil {
					t.Error(err)
				}
			})
			n.got.Expect(t, `"silent"`)
		})
		t.Run("dead", func(t *testing.T) {
			n := redisNode(t, srv.Addr())
			n.listen(t, srv, 1)
			srv.Kill()
			defer srv.Restart()
			wstest.Quickly(t, "BroadcastEvent", 3500*time.Millisecond, func() {
				for i := range 3 {
					if err := n.BroadcastEvent(context.Background(), i); err != nil {
						t.Error(err)
					}
				}
				if err := n.BroadcastEvent(context.Background(), func() {}); err == nil {
					t.Error("no error of marshalling")
				}
			})
			n.got.Expect(t, "0", "1", "2")
		})
		t.Run("context ended", func(t *testing.T) {
			n := redisNode(t, srv.Addr())
			n.listen(t, srv, 1)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := n.BroadcastEvent(ctx, 1); err != nil {
				t.Error(err)
			}
			n.got.Expect(t, "1")
		})
	})
}

// "SubscribeToRedis blocks until ctx ends, reconnecting with exponential backoff". The gap is reported; local delivery goes on,
// and each message arrives once.
func TestSubscribeToRedisBlocksUntilItsContextEndsAndReconnects(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		n := redisNode(t, srv.Addr())
		stop, done := n.listen(t, srv, 1)
		if err := srv.Client(t).Publish(t.Context(), channel, "before").Err(); err != nil {
			t.Fatal(err)
		}
		n.got.Expect(t, "before")
		wstest.Silent(t, "SubscribeToRedis returned", done)
		srv.Kill()
		if err := n.BroadcastEvent(t.Context(), 1); err != nil {
			t.Error(err)
		}
		n.got.Expect(t, "before", "1")
		wstest.Silent(t, "SubscribeToRedis returned", done)
		srv.Restart()
		wstest.Eventually(t, "it reconnects", func() bool { return srv.Subscribers(t, channel) == 1 })
		if err := srv.Client(t).Publish(t.Context(), channel, "after").Err(); err != nil {
			t.Fatal(err)
		}
		n.got.Expect(t, "before", "1", "after")
		for gap := false; !gap; {
			gap = errors.Is(wstest.Receive(t, "the gap is reported", n.errs), wskit.ErrRedisGap)
		}
		stop()
		wstest.Receive(t, "SubscribeToRedis returns", done)
		wstest.Eventually(t, "nobody listens any more", func() bool { return srv.Subscribers(t, channel) == 0 })
		if err := n.BroadcastEvent(t.Context(), 2); err != nil {
			t.Error(err)
		}
		n.got.Expect(t, "before", "1", "after", "2")
	})
}

// It returns when the hub stops; on a stopped hub at once. The client is the caller's, and still works.
func TestSubscribeToRedisReturnsWhenTheHubStops(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		n := redisNode(t, srv.Addr())
		_, done := n.listen(t, srv, 1)
		if err := n.BroadcastEvent(t.Context(), 1); err != nil {
			t.Error(err)
		}
		n.Halt(t)
		n.got.Expect(t, "1", wstest.Closed)
		wstest.Receive(t, "SubscribeToRedis returns", done)
		wstest.Quickly(t, "SubscribeToRedis on a stopped hub", time.Second, func() { n.SubscribeToRedis(context.Background()) })
		wstest.Quickly(t, "BroadcastEvent on a stopped hub", time.Second, func() { _ = n.BroadcastEvent(context.Background(), 1) })
		if err := n.client.Ping(t.Context()).Err(); err != nil {
			t.Error(err)
		}
		wstest.Eventually(t, "nobody listens any more", func() bool { return srv.Subscribers(t, channel) == 0 })
	})
}

// Before Run: what was published before the subscribers were let in is theirs in order, and nothing hangs.
func TestBroadcastEventBeforeRunIsDeliveredByRun(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		wstest.Clean(t)
		hub := wstest.Idle(t, wskit.WithRedis(srv.Client(t), channel))
		p := &wstest.Probe{}
		hub.Register(p)
		wstest.Quickly(t, "BroadcastEvent", 3500*time.Millisecond, func() {
			for i := range 3 {
				if err := hub.BroadcastEvent(context.Background(), i); err != nil {
					t.Error(err)
				}
			}
		})
		p.Expect(t)
		hub.Start(t)
		p.Expect(t, "0", "1", "2")
	})
}
