package contract_test

import (
	"context"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
	"github.com/wskit/wskit/redisactor"
)

// "true when it is for the first time, false when it is lost, true when it is back; each change once, in order"; the event says the same.
func TestOnRedisIsToldOfEachChangeOnceAndInOrder(t *testing.T) {
	for name, history := range map[string]*actors.History{"plain": nil, "with history": {}} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
				changes, client := make(chan bool, 99), srv.Client(t)
				hub, events := wstest.Embed(t, hubactor.Config{
					Redis: redisactor.Spec(client, channel), History: history, OnRedis: func(up bool) { changes <- up },
				})
				expect := func(want bool) {
					t.Helper()
					if up := wstest.Receive(t, "OnRedis", changes); up != want {
						t.Fatalf("told %v, want %v", up, want)
					}
				}
				srv.Kill()
				ctx, cancel := context.WithCancel(context.Background())
				done := wstest.Begin(func() { hub.SubscribeToRedis(ctx) })
				defer func() { cancel(); <-done }()
				for range 3 {
					if hub.BroadcastEventContext(t.Context(), 1) == nil {
						t.Error("published to nobody")
					}
				}
				wstest.Silent(t, "told before it was ever up", changes)
				for range 2 {
					srv.Restart()
					expect(true)
					wstest.Eventually(t, "it is published", func() bool { return hub.BroadcastEventContext(t.Context(), 1) == nil })
					wstest.Silent(t, "told twice", changes)
					srv.Kill()
					expect(false)
					for range 3 {
						_ = hub.BroadcastEventContext(t.Context(), 1)
					}
					wstest.Silent(t, "told twice", changes)
				}
				hub.Halt(t)
				wstest.Silent(t, "the hub's end is no change", changes)
				var told []bool
				for _, e := range events.All() {
					if e, is := e.(*actors.RedisChanged); is {
						told = append(told, e.Up)
					}
				}
				if len(told) != 4 || !told[0] || told[1] || !told[2] || told[3] {
					t.Errorf("the events say %v", told)
				}
			})
		})
	}
}

// "one that does not [subscribe is up] when Redis has taken a message".
func TestAHubThatOnlyPublishesIsUpWhenRedisHasTakenAMessage(t *testing.T) {
	srv, changes := redistest.Start(t), make(chan bool, 99)
	n := redisNode(t, srv.Addr(), wskit.WithOnRedis(func(up bool) { changes <- up }))
	wstest.Silent(t, "told before", changes)
	for i, up := range []bool{true, false, true} {
		switch i {
		case 1:
			srv.Kill()
		case 2:
			srv.Restart()
		}
		wstest.Eventually(t, "it is published, or not", func() bool { return (n.BroadcastEventContext(t.Context(), 1) == nil) == up })
		if got := wstest.Receive(t, "OnRedis", changes); got != up {
			t.Fatalf("told %v, want %v", got, up)
		}
	}
}

// A panic in OnRedis costs that call, and one that blocks delays no message.
func TestOnRedisMayPanicAndBlock(t *testing.T) {
	srv, release := redistest.Start(t), make(chan struct{})
	for name, fn := range map[string]func(bool){"panics": func(bool) { panic("OnRedis") }, "blocks": func(bool) { <-release }} {
		t.Run(name, func(t *testing.T) {
			called := make(chan bool, 9)
			n := redisNode(t, srv.Addr(), wskit.WithOnRedis(func(up bool) { called <- up; fn(up) }))
			t.Cleanup(func() {
				if name == "blocks" {
					close(release)
				}
			})
			stop, done := n.listen(t, srv, 1)
			wstest.Receive(t, "OnRedis", called)
			no(t, n.BroadcastEventContext(t.Context(), 1))
			n.Broadcast([]byte("2"))
			n.got.Expect(t, "1", "2")
			if name == "panics" {
				if pe, is := wstest.Receive(t, "OnError", n.errs).(*wskit.PanicError); !is || pe.Op != "OnRedis" {
					t.Error(pe)
				}
			}
			stop()
			wstest.Receive(t, "SubscribeToRedis returns", done)
			wstest.Quickly(t, "Run returns", wstest.Drain+atOnce, func() { n.Halt(t) })
		})
	}
}

// A crash of the redis actor, after which messages of others may be missing, is a loss, and is over soon.
func TestOnRedisIsToldOfACrash(t *testing.T) {
	srv, changes := redistest.Start(t), make(chan bool, 99)
	n := redisNode(t, srv.Addr(), wskit.WithOnRedis(func(up bool) { changes <- up }))
	n.listen(t, srv, 1)
	for i, want := range []bool{true, false, true} {
		if i == 1 {
			wstest.Crash(wstest.One(t, n.Hub.Hub, "redis"), "crash")
		}
		if up := wstest.Receive(t, "OnRedis", changes); up != want {
			t.Fatalf("told %v, want %v", up, want)
		}
	}
}
