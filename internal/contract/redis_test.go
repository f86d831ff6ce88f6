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
)

const channel = "contract"

// node is one instance: a hub on the channel, with one subscriber.
type node struct {
	*runner
	client *redis.Client
	got    *probe
	errs   chan error // what OnError was told
}

func redisNode(t *testing.T, addr string) *node {
	t.Helper()
	clean(t)
	n := &node{client: redistest.Client(t, addr), got: &probe{}, errs: make(chan error, 999)}
	n.runner = run(t, wskit.WithRedis(n.client, channel), wskit.WithOnError(func(op string, err error) { n.errs <- err }))
	n.Register(n.got)
	return n
}

// listen runs SubscribeToRedis and waits until Redis has so many connections that listen.
func (n *node) listen(t *testing.T, srv *redistest.Server, total int) (stop func(), done <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done = begin(func() { n.SubscribeToRedis(ctx) })
	t.Cleanup(func() { cancel(); receive(t, "SubscribeToRedis returns", done) })
	eventually(t, "the subscription", func() bool { return srv.Subscribers(t, channel) == total })
	return cancel, done
}

// "WithRedis: nil client or "" channel: Redis off".
func TestANilClientOrAnEmptyChannelMeansRedisOff(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		clean(t)
		for _, opt := range []wskit.HubOption{wskit.WithRedis(nil, channel), wskit.WithRedis(srv.Client(t), ""), wskit.WithRedis(nil, "")} {
			hub := run(t, opt)
			p := &probe{}
			hub.Register(p)
			if err := hub.BroadcastEvent(t.Context(), 1); err != nil {
				t.Error(err)
			}
			p.expect(t, "1")
			quickly(t, "SubscribeToRedis", time.Second, func() { hub.SubscribeToRedis(context.Background()) })
			for _, name := range tree(t, hub.Hub) {
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
		n.got.expect(t, string(want))
		for _, text := range []string{"not-JSON", "", "\x00\xff", strings.Repeat("x", 1<<18)} {
			if err := own.Publish(t.Context(), channel, text).Err(); err != nil {
				t.Error(err)
			}
		}
		n.got.expect(t, string(want), "not-JSON", "", "\x00\xff", strings.Repeat("x", 1<<18))
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
			n.got.expect(t, "ready")
		}
		const each = 100
		var publishing []<-chan struct{}
		for i, n := range nodes {
			publishing = append(publishing, begin(func() {
				for k := range each {
					if err := n.BroadcastEvent(context.Background(), fmt.Sprintf("%d/%d", i, k)); err != nil {
						t.Error(err)
					}
					_ = n.BroadcastEvent(context.Background(), "the same of all")
				}
			}))
		}
		for _, p := range publishing {
			receive(t, "the publishers end", p)
		}
		eventually(t, "all have arrived", func() bool {
			return !slices.ContainsFunc(nodes, func(n *node) bool { return n.got.len() < 2*each*len(nodes)+1 })
		})
		for _, n := range nodes {
			n.Broadcast([]byte("mine alone"))
			eventually(t, "the local broadcast", func() bool { return strings.HasSuffix(n.got.all(), "mine alone") })
			if n.got.len() != 2*each*len(nodes)+2 || n.got.all() != nodes[0].got.all() {
				t.Error("not the same for all, or more than once:", n.got.len())
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
			n.got.expect(t, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
		})
		t.Run("silent", func(t *testing.T) {
			proxy := redistest.Proxy(t, srv.Addr())
			n := redisNode(t, proxy.Addr())
			n.listen(t, srv, 1)
			proxy.Mute(redistest.Everything)
			quickly(t, "BroadcastEvent", 3500*time.Millisecond, func() {
				if err := n.BroadcastEvent(context.Background(), "silent"); err != nil {
					t.Error(err)
				}
			})
			n.got.expect(t, `"silent"`)
		})
		t.Run("dead", func(t *testing.T) {
			n := redisNode(t, srv.Addr())
			n.listen(t, srv, 1)
			srv.Kill()
			defer srv.Restart()
			quickly(t, "BroadcastEvent", 3500*time.Millisecond, func() {
				for i := range 3 {
					if err := n.BroadcastEvent(context.Background(), i); err != nil {
						t.Error(err)
					}
				}
				if err := n.BroadcastEvent(context.Background(), func() {}); err == nil {
					t.Error("no error of marshalling")
				}
			})
			n.got.expect(t, "0", "1", "2")
		})
		t.Run("context ended", func(t *testing.T) {
			n := redisNode(t, srv.Addr())
			n.listen(t, srv, 1)
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := n.BroadcastEvent(ctx, 1); err != nil {
				t.Error(err)
			}
			n.got.expect(t, "1")
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
		n.got.expect(t, "before")
		silent(t, "SubscribeToRedis returned", done)
		srv.Kill()
		if err := n.BroadcastEvent(t.Context(), 1); err != nil {
			t.Error(err)
		}
		n.got.expect(t, "before", "1")
		silent(t, "SubscribeToRedis returned", done)
		srv.Restart()
		eventually(t, "it reconnects", func() bool { return srv.Subscribers(t, channel) == 1 })
		if err := srv.Client(t).Publish(t.Context(), channel, "after").Err(); err != nil {
			t.Fatal(err)
		}
		n.got.expect(t, "before", "1", "after")
		for gap := false; !gap; {
			gap = errors.Is(receive(t, "the gap is reported", n.errs), wskit.ErrRedisGap)
		}
		stop()
		receive(t, "SubscribeToRedis returns", done)
		eventually(t, "nobody listens any more", func() bool { return srv.Subscribers(t, channel) == 0 })
		if err := n.BroadcastEvent(t.Context(), 2); err != nil {
			t.Error(err)
		}
		n.got.expect(t, "before", "1", "after", "2")
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
		n.halt(t)
		n.got.expect(t, "1", closed)
		receive(t, "SubscribeToRedis returns", done)
		quickly(t, "SubscribeToRedis on a stopped hub", time.Second, func() { n.SubscribeToRedis(context.Background()) })
		quickly(t, "BroadcastEvent on a stopped hub", time.Second, func() { _ = n.BroadcastEvent(context.Background(), 1) })
		if err := n.client.Ping(t.Context()).Err(); err != nil {
			t.Error(err)
		}
		eventually(t, "nobody listens any more", func() bool { return srv.Subscribers(t, channel) == 0 })
	})
}

// Before Run: what was published before the subscribers were let in is theirs in order, and nothing hangs.
func TestBroadcastEventBeforeRunIsDeliveredByRun(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		clean(t)
		hub := idle(t, wskit.WithRedis(srv.Client(t), channel))
		p := &probe{}
		hub.Register(p)
		quickly(t, "BroadcastEvent", 3500*time.Millisecond, func() {
			for i := range 3 {
				if err := hub.BroadcastEvent(context.Background(), i); err != nil {
					t.Error(err)
				}
			}
		})
		p.expect(t)
		hub.start(t)
		p.expect(t, "0", "1", "2")
	})
}
