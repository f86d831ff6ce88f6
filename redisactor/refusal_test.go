package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/internal/redistest"
)

// user makes a Redis user with these rules and returns a client of theirs, to the server at addr.
func user(t *testing.T, srv *redistest.Server, addr string, rules ...any) *redis.Client {
	t.Helper()
	admin := srv.Client(t)
	if err := admin.Do(context.Background(), append([]any{"ACL", "SETUSER", "app", "reset", "on", ">secret"}, rules...)...).Err(); err != nil {
		t.Fatalf("ACL: %v", err)
	}
	client := redis.NewClient(&redis.Options{Addr: addr, Username: "app", Password: "secret"})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestAChannelThatRedisRefusesIsNobodyElsesTrouble(t *testing.T) {
	srv := redistest.StartReal(t)
	client := user(t, srv, srv.Addr(), "~*", "+@all", "resetchannels", "&ours:*")
	b := newHub(t, client, "theirs")
	b.send(&subscribe)
	var hubs []*hub
	for i := range 7 { // asked for together with it: one SUBSCRIBE that Redis refuses as a whole
		h := newHub(t, client, fmt.Sprint("ours:", i))
		h.send(&subscribe)
		hubs = append(hubs, h)
	}
	for _, h := range hubs {
		h.resubscribed(0, 5*time.Second)
	}
	c := newHub(t, client, "theirs") // and by itself, on the connection of the others
	c.send(&subscribe)
	for _, h := range []*hub{b, c} {
		if !redistest.Until(5*time.Second, func() bool { return len(h.trouble()) > 0 }) {
			t.Fatal("the hub was not told that Redis refuses its channel")
		}
	}
	other := srv.Client(t)
	for n := range 30 { // while Redis is asked again, and again
		for i, h := range hubs {
			if err := other.Publish(context.Background(), fmt.Sprint("ours:", i), fmt.Sprint(n)).Err(); err != nil {
				t.Fatal(err)
			}
			h.getsOnce(2*time.Second, []string{fmt.Sprint(n)})
		}
		b.publish(fmt.Sprint("own ", n))
		b.getsOnce(time.Second, []string{fmt.Sprint("own ", n)})
		redistest.Until(50*time.Millisecond, func() bool { return false })
	}
	for i, h := range hubs {
		if h.subscriptions() != 1 || len(h.trouble()) > 0 {
			t.Errorf("hub %d: %d confirmations, trouble %v", i, h.subscriptions(), h.trouble())
		}
	}
	for _, h := range []*hub{b, c} {
		var refusal redis.Error
		if errs := h.trouble(); len(errs) != 1 || !errors.As(errs[0], &refusal) {
			t.Errorf("one episode of refusal was reported as %v", errs)
		}
	}
	if err := srv.Client(t).Do(context.Background(), "ACL", "SETUSER", "app", "&theirs").Err(); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*hub{b, c} {
		h.resubscribed(0, 20*time.Second)
		heardOf(t, hubOn(t, srv, "theirs"), h, 5*time.Second)
	}
}

// hubOn is a hub with a client of its own.
func hubOn(t *testing.T, srv *redistest.Server, channel string) *hub {
	return newHub(t, srv.Client(t), channel)
}

func TestAUserWhoMayNotPingStaysSubscribedAndIsAskedOnce(t *testing.T) {
	t.Parallel()
	srv := redistest.StartReal(t)
	proxy := redistest.Proxy(t, srv.Addr())
	h := newHub(t, user(t, srv, proxy.Addr(), "resetkeys", "allchannels", "-@all", "+@pubsub"), "mute")
	h.subscribe()
	h.send(&subscribe)
	asked := proxy.Commands("subscribe")
	if !redistest.Until(15*time.Second, func() bool { return proxy.Commands("subscribe") >= asked+3 }) {
		t.Error("nothing is asked in place of PING")
	}
	if n := proxy.Commands("ping"); n > 1 {
		t.Errorf("PING was sent %d times", n)
	}
	if h.subscriptions() != 1 || len(h.trouble()) > 0 {
		t.Errorf("%d confirmations, trouble %v", h.subscriptions(), h.trouble())
	}
	h.publish("own")
	h.gets(2*time.Second, "own")
	// What is half-open is found all the same.
	proxy.Mute(redistest.Subscribers)
	if !redistest.Until(8*time.Second, func() bool { return len(h.trouble()) > 0 }) {
		t.Error("a silent connection was not found")
	}
	proxy.Mute(redistest.Nothing)
	h.resubscribed(1, 10*time.Second)
}

func TestARedisThatIsBusyLosesNoSubscription(t *testing.T) {
	t.Parallel()
	srv := redistest.StartReal(t, "--busy-reply-threshold", "50")
	h := newHub(t, srv.Client(t), "busy")
	h.subscribe()
	admin := srv.Client(t)
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		client := redis.NewClient(&redis.Options{Addr: srv.Addr(), MaxRetries: -1, ReadTimeout: time.Minute})
		defer func() { _ = client.Close() }()
		client.Eval(context.Background(), "while true do end", nil)
	}()
	busy := func() bool { return redis.HasErrorPrefix(admin.Ping(context.Background()).Err(), "BUSY") }
	if !redistest.Until(5*time.Second, busy) {
		t.Fatal("the script does not keep Redis busy")
	}
	if err := within(t, 2*time.Second, h.publish("own"), "an answer"); !redis.HasErrorPrefix(err, "BUSY") {
		t.Errorf("the publisher was told %v", err)
	}
	h.gets(time.Second, "own")
	pinged := time.NewTimer(5 * time.Second)
	defer pinged.Stop()
	<-pinged.C
	if err := admin.ScriptKill(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	<-ran
	if n := srv.Client(t).Publish(context.Background(), "busy", "theirs").Val(); n != 1 {
		t.Errorf("%d subscriptions right after it", n)
	}
	h.gets(2*time.Second, "own", "theirs")
	if h.subscriptions() != 1 || len(h.trouble()) != 1 {
		t.Errorf("%d confirmations, trouble %v", h.subscriptions(), h.trouble())
	}
}

func TestAReplicaThatHasLostItsMasterLosesNoSubscription(t *testing.T) {
	t.Parallel()
	master := redistest.StartReal(t)
	srv := replica(t, master, "--replica-serve-stale-data", "no")
	h := newHub(t, srv.Client(t), "stale")
	h.subscribe()
	master.Kill()
	client := srv.Client(t)
	if !redistest.Until(5*time.Second, func() bool { return redis.HasErrorPrefix(client.Ping(context.Background()).Err(), "MASTERDOWN") }) {
		t.Fatal("the replica does not miss its master")
	}
	pinged := time.NewTimer(6 * time.Second)
	defer pinged.Stop()
	<-pinged.C
	h.publish("own")
	h.gets(2*time.Second, "own")
	if h.subscriptions() != 1 || len(h.trouble()) > 0 {
		t.Errorf("%d confirmations, trouble %v", h.subscriptions(), h.trouble())
	}
}
