package redistest_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wskit/wskit/internal/redistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestAServerComesBackAtItsAddress(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		ctx, client := context.Background(), srv.Client(t)
		if err := client.Set(ctx, "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		srv.Kill()
		if client.Ping(ctx).Err() == nil {
			t.Error("it answers after Kill")
		}
		srv.Restart()
		if !redistest.Until(5*time.Second, func() bool { return client.Ping(ctx).Err() == nil }) {
			t.Error("it does not answer after Restart")
		}
	})
}

func TestStartPrefersARealServer(t *testing.T) {
	srv := redistest.Start(t)
	if err := srv.Client(t).Ping(context.Background()).Err(); err != nil {
		t.Errorf("%v: %v", srv, err)
	}
}

func TestAProxySwallowsWhatItIsTold(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		ctx := context.Background()
		proxy := redistest.Proxy(t, srv.Addr())
		client := redistest.Client(t, proxy.Addr())
		sub := client.Subscribe(ctx, "c")
		defer func() { _ = sub.Close() }()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		proxy.Mute(redistest.Subscribers)
		if n, err := client.Publish(ctx, "c", "m").Result(); err != nil || n != 1 {
			t.Fatalf("PUBLISH on another connection: %d, %v", n, err)
		}
		if m, err := sub.ReceiveTimeout(ctx, 50*time.Millisecond); err == nil {
			t.Errorf("a half-open connection delivered %v", m)
		}
		proxy.Mute(redistest.Nothing)
		if proxy.Cut() == 0 || proxy.Accepted() < 2 || proxy.Commands("PUBLISH") != 1 {
			t.Errorf("%d connections, %d times PUBLISH", proxy.Accepted(), proxy.Commands("PUBLISH"))
		}
		if !redistest.Until(5*time.Second, func() bool { return client.Ping(ctx).Err() == nil }) {
			t.Error("no new connection after Cut")
		}
	})
}
