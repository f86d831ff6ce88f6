package redisactor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
)

// hook is one of the client's that does something around each pipeline.
type hook func(ctx context.Context, commands []redis.Cmder, next redis.ProcessPipelineHook) error

func (hook) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error { return h(ctx, commands, next) }
}

// publishing reports whether these are commands of ours.
func publishing(commands []redis.Cmder) bool {
	return len(commands) > 0 && commands[0].Name() == "publish"
}

// ofDial is a client whose connections can be refused.
func ofDial(t *testing.T, addr string, refuse *atomic.Bool, hooks ...redis.Hook) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1, Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if refuse.Load() {
			return nil, errors.New("no route")
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	for _, h := range hooks {
		client.AddHook(h)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestWhateverAHookDoesAnUnsentMessageSwallowsNobodyElses(t *testing.T) {
	readers := map[string]hook{
		"it reads the arguments": func(ctx context.Context, commands []redis.Cmder, next redis.ProcessPipelineHook) error {
			for _, c := range commands {
				_ = fmt.Sprint(c.Args()...)
			}
			return next(ctx, commands)
		},
		"it reads them while the pipeline runs": func(ctx context.Context, commands []redis.Cmder, next redis.ProcessPipelineHook) error {
			var wg sync.WaitGroup
			wg.Go(func() {
				for range 1000 {
					_ = commands[0].Args()
				}
			})
			defer wg.Wait()
			return next(ctx, commands)
		},
		"it does not send them": func(_ context.Context, commands []redis.Cmder, _ redis.ProcessPipelineHook) error {
			for _, c := range commands {
				_ = c.String()
			}
			return errors.New("the circuit is open")
		},
		"it panics": func(context.Context, []redis.Cmder, redis.ProcessPipelineHook) error { panic("test") },
	}
	for name, reader := range readers {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
				var refuse, on atomic.Bool
				proxy := redistest.Proxy(t, srv.Addr())
				h := newHub(t, ofDial(t, proxy.Addr(), &refuse, hook(func(ctx context.Context, commands []redis.Cmder, next redis.ProcessPipelineHook) error {
					if on.Load() && publishing(commands) {
						return reader(ctx, commands, next)
					}
					return next(ctx, commands)
				})), "hook")
				h.subscribe()
				refuse.Store(true) // there is no connection but the subscription
				on.Store(true)
				for range 5 {
					if within(t, 3*time.Second, h.publish("refresh"), "an answer") == nil {
						t.Error("what was not sent was published")
					}
				}
				h.gets(time.Second, "refresh", "refresh", "refresh", "refresh", "refresh")
				for range 5 {
					srv.Client(t).Publish(context.Background(), "hook", "refresh")
				}
				if !redistest.Until(2*time.Second, func() bool { return h.times("refresh") == 10 }) {
					t.Errorf("%d of another instance's 5 equal messages arrived", h.times("refresh")-5)
				}
				if h.subscriptions() != 1 {
					t.Error("the subscription was lost meanwhile")
				}
			})
		})
	}
}

func TestAHookSeesPlainCommandsAndItsMistakesChangeNoAnswer(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		client := srv.Client(t)
		var seen atomic.Int64
		client.AddHook(hook(func(ctx context.Context, commands []redis.Cmder, next redis.ProcessPipelineHook) error {
			if !publishing(commands) {
				return next(ctx, commands)
			}
			for i, j := 0, len(commands)-1; i < j; i, j = i+1, j-1 {
				commands[i], commands[j] = commands[j], commands[i]
			}
			err := next(ctx, commands)
			for _, c := range commands {
				if _, ok := c.(*redis.IntCmd); ok {
					seen.Add(1)
				}
				c.SetErr(errors.New("a hook's own"))
			}
			return err
		}))
		h, other := newHub(t, client, "plain"), newHub(t, srv.Client(t), "plain")
		h.subscribe()
		other.subscribe()
		want := numbered("m", 100)
		var replies []<-chan error
		for _, p := range want {
			replies = append(replies, h.publish(p))
		}
		for _, r := range replies {
			if err := within(t, 2*time.Second, r, "an answer"); err != nil {
				t.Errorf("Redis took it, and the caller was told %v", err)
			}
		}
		h.getsOnce(2*time.Second, want)
		other.getsOnce(2*time.Second, want)
		if seen.Load() != 100 {
			t.Errorf("the hook saw %d commands", seen.Load())
		}
	})
}

func TestPipelinesThatHangAreOvertakenWithinABoundAndForgivenWhenTheyEnd(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	client := srv.Client(t)
	hold := make(chan struct{})
	var hanging, most atomic.Int64
	client.AddHook(hook(func(ctx context.Context, commands []redis.Cmder, next redis.ProcessPipelineHook) error {
		if publishing(commands) {
			if n := hanging.Add(1); n > most.Load() {
				most.Store(n)
			}
			<-hold
			hanging.Add(-1)
		}
		return next(ctx, commands)
	}))
	h, other := newHub(t, client, "hang"), newHub(t, srv.Client(t), "hang")
	h.subscribe()
	other.subscribe()
	var sent []string
	for end := time.Now().Add(16 * time.Second); time.Now().Before(end); {
		p := fmt.Sprint("m-", len(sent))
		sent = append(sent, p)
		reply := h.publish(p)
		redistest.Until(500*time.Millisecond, func() bool { return len(reply) > 0 })
	}
	h.getsOnce(4*time.Second, sent)
	if most.Load() != 3 {
		t.Errorf("%d pipelines were on their way together, not 3", most.Load())
	}
	if n := other.total(); n != 0 {
		t.Errorf("%d messages passed", n)
	}
	close(hold)
	for i := range 10 { // more than are let to hang
		if err := within(t, 3*time.Second, h.publish(fmt.Sprint("end ", i)), "an answer"); err != nil {
			t.Errorf("the publisher is stuck: %v", err)
		}
	}
	other.getsOnce(2*time.Second, prefixed("end ", 10))
	// What had waited for longer than its callers was not sent any more: they know that Redis does not have it.
	if n := other.total(); n > 10+3*4 {
		t.Errorf("the other instance got %d messages: %q", n, other.received())
	}
	h.getsOnce(time.Second, sent)
}

// What a client without timeouts waits for is given up all the same, whether it publishes, subscribes or shakes hands.
func TestAClientWithoutTimeoutsIsNotStuckForGood(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]time.Duration{"none": -1, "not even a deadline": -2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := redistest.StartReal(t)
			proxy := redistest.Proxy(t, srv.Addr())
			client := redis.NewClient(&redis.Options{Addr: proxy.Addr(), ReadTimeout: timeout, WriteTimeout: timeout})
			t.Cleanup(func() { _ = client.Close() })
			h, other := newHub(t, client, "hung"), newHub(t, srv.Client(t), "hung")
			h.subscribe()
			other.subscribe()
			if err := within(t, 2*time.Second, h.publish("before"), "an answer"); err != nil {
				t.Fatal(err)
			}
			proxy.Mute(redistest.Everything) // also for what is dialled now
			want := []string{"before"}
			for i, end := 0, time.Now().Add(14*time.Second); time.Now().Before(end); i++ {
				want = append(want, fmt.Sprint("m-", i))
				if within(t, 3*time.Second, h.publish(want[len(want)-1]), "an answer") == nil {
					t.Error("a message passed")
				}
			}
			h.getsOnce(time.Second, want)
			proxy.Mute(redistest.Nothing)
			heardOf(t, h, other, 15*time.Second)
			heardOf(t, other, h, 35*time.Second) // the subscription waits for up to 30 s when nothing else tells it
			h.getsOnce(0, want)
		})
	}
}

// The pool of the caller's client is the caller's: when all of it is in use, messages are delivered locally in time.
func TestAPoolThatIsUsedUpHoldsUpNoLocalDelivery(t *testing.T) {
	t.Parallel()
	srv := redistest.StartReal(t)
	client := redis.NewClient(&redis.Options{Addr: srv.Addr(), PoolSize: 1, MaxActiveConns: 1, PoolTimeout: time.Minute, ReadTimeout: -1})
	t.Cleanup(func() { _ = client.Close() })
	h := newHub(t, client, "pool")
	h.subscribe()
	ctx, free := context.WithCancel(context.Background())
	blocked := make(chan struct{})
	go func() { defer close(blocked); client.BLPop(ctx, 5*time.Second, "nothing") }()
	if !redistest.Until(2*time.Second, func() bool { return client.PoolStats().TotalConns-client.PoolStats().IdleConns == 1 }) {
		t.Fatal("the pool is not used up")
	}
	if err := within(t, 3*time.Second, h.publish("m"), "an answer"); err == nil || errors.Is(err, actors.ErrTimeout) {
		t.Errorf("the caller was told %v", err)
	}
	h.gets(time.Second, "m")
	free()
	<-blocked
	if err := within(t, 3*time.Second, h.publish("n"), "an answer"); err != nil {
		t.Errorf("with a free connection: %v", err)
	}
	h.gets(time.Second, "m", "n")
}
