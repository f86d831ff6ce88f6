package soak_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

var (
	restartClients = flag.Int("restart", 150, "how many clients see every instance restarted; with 3000 or more it is checked how many come back in a second")
	restartSpread  = flag.Duration("restart.window", 500*time.Millisecond, "over which the drain of each instance is spread")
)

const (
	restartInstances = 3
	restartTopics    = 150 // a client is in one
	restartPace      = 10 * time.Millisecond
	restartProcess   = "WSKIT_RESTART" // makes this program an instance
)

// TestRollingRestart has the clients of three instances, processes with one Redis, hear a hundred messages a second with history, while one
// instance after the other is restarted by SIGTERM. Whoever is told to come back goes on at any instance that is ready, from its cursor.
// Nobody misses a message or gets one twice, and they come back as evenly as they were told.
//
//	go test ./internal/soak -run TestRollingRestart -restart 15000 -restart.window 20s -v
func TestRollingRestart(t *testing.T) {
	wstest.Clean(t)
	srv := redistest.StartReal(t)
	s := &restarts{t: t, sent: make([]atomic.Int64, restartTopics)}
	for range restartInstances {
		in := &instance{addr: freePort(t), redis: srv.Addr()}
		in.start(t)
		s.instances = append(s.instances, in)
	}
	t.Cleanup(func() {
		for _, in := range s.instances {
			in.stop(t)
		}
	})
	hub := wstest.Run(t, wskit.WithRedis(srv.Client(t), "restart"), wskit.WithHistory(wskit.History{}))

	var clients sync.WaitGroup
	ctx, end := context.WithCancel(t.Context())
	defer end()
	places := make(chan struct{}, 64) // so many handshakes at a time
	for i := range *restartClients {
		c := &restartClient{s: s, topic: i % restartTopics, places: places}
		s.clients = append(s.clients, c)
		clients.Go(func() { c.run(ctx, s.instances[i%restartInstances]) })
	}
	s.all("are connected", func(c *restartClient) bool { return c.at.Load() != nil })
	publishing := make(chan struct{})
	published := wstest.Begin(func() { s.publish(hub.Hub, publishing) })
	s.all("have a position", func(c *restartClient) bool { return c.heard.Load() > 0 })

	for i, in := range s.instances {
		n := 0
		for _, c := range s.clients {
			if c.at.Load() == in {
				n++
			}
		}
		s.began.Store(time.Now().UnixNano())
		in.stop(t)
		took := time.Since(time.Unix(0, s.began.Load()))
		in.start(t)
		s.all("are back", func(c *restartClient) bool { return c.at.Load() != nil })
		back := s.backs()
		t.Logf("instance %d: %d connections over %v (%v in all); came back in each second: %v", i, n, *restartSpread, took.Round(time.Millisecond), back)
		if most := 1.2 * float64(n) / restartSpread.Seconds(); *restartClients >= 3000 && float64(slices.Max(back)) > most {
			t.Errorf("%d came back in one second, more than %.0f", slices.Max(back), most)
		}
	}
	close(publishing)
	wstest.Receive(t, "the publisher ends", published)
	s.all("have heard the last message", func(c *restartClient) bool { return c.heard.Load() == s.sent[c.topic].Load() })
	end()
	clients.Wait()
	t.Logf("%d messages to %d clients each, %d came back", s.total.Load(), *restartClients/restartTopics, s.returns.Load())
	for _, trouble := range s.troubles.All() {
		t.Error(trouble)
	}
}

// restarts is everything of the test.
type restarts struct {
	t         *testing.T
	instances []*instance
	clients   []*restartClient
	sent      []atomic.Int64 // to each topic
	total     atomic.Int64
	began     atomic.Int64 // when the restart at hand did
	returns   atomic.Int64
	troubles  wstest.List[string]

	mu   sync.Mutex
	back []int // in each second of it
}

func (s *restarts) all(what string, ok func(*restartClient) bool) {
	s.t.Helper()
	if !wstest.Poll(time.Minute, func() bool { return !slices.ContainsFunc(s.clients, func(c *restartClient) bool { return !ok(c) }) }) {
		s.t.Fatalf("not all %s; %v", what, s.troubles.All())
	}
}

// publish sends a number to each topic in turn, one more each time.
func (s *restarts) publish(hub *wskit.Hub, stop <-chan struct{}) {
	pace := time.NewTicker(restartPace)
	defer pace.Stop()
	for i := 0; ; i = (i + 1) % restartTopics {
		select {
		case <-stop:
			return
		case <-pace.C:
		}
		n := s.sent[i].Add(1)
		s.total.Add(1)
		if err := hub.Topic(fmt.Sprint("t", i)).BroadcastEventContext(context.Background(), n); err != nil {
			s.troubles.Add(fmt.Sprint("publish: ", err))
		}
	}
}

// returned notes that somebody has come back.
func (s *restarts) returned() {
	s.returns.Add(1)
	second := int(time.Since(time.Unix(0, s.began.Load())).Seconds())
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.back) <= second {
		s.back = append(s.back, 0)
	}
	s.back[second]++
}

// backs is how many came back in each second since the last time.
func (s *restarts) backs() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	back := s.back
	s.back = nil
	return back
}

// restartClient is a client that comes back, at whatever instance is ready.
type restartClient struct {
	s      *restarts
	topic  int
	places chan struct{}
	at     atomic.Pointer[instance] // nil: it is not connected
	heard  atomic.Int64             // the last number
	cursor string
}

func (c *restartClient) run(ctx context.Context, in *instance) {
	for again := false; ctx.Err() == nil; again = true {
		p, err := c.open(ctx, in)
		if err == nil {
			if again {
				c.s.returned()
			}
			c.at.Store(in)
			unwatch := context.AfterFunc(ctx, func() { _ = p.Close() })
			c.listen(ctx, p)
			unwatch()
			_ = p.Close()
			c.at.Store(nil)
		}
		in = c.s.instances[rand.IntN(restartInstances)]
		for pace := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil && !in.ready.Load(); in = c.s.instances[rand.IntN(restartInstances)] {
			<-pace.C
		}
	}
}

func (c *restartClient) open(ctx context.Context, in *instance) (*wstest.Peer, error) {
	c.places <- struct{}{}
	defer func() { <-c.places }()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", in.addr)
	if err != nil {
		return nil, err
	}
	query := url.Values{"topic": {fmt.Sprint("t", c.topic)}}
	if c.cursor != "" {
		query.Set("last_event_id", c.cursor)
	}
	p, err := wstest.Ask(conn, wstest.Handshake{Path: "/ws?" + query.Encode(), Header: map[string]string{"Sec-WebSocket-Protocol": wskit.Subprotocol}}.Request(in.addr))
	if err == nil && p.Answer.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("answered %s", p.Answer.Status)
	}
	if err != nil {
		_ = conn.Close()
	}
	return p, err
}

// listen reads until it is told to come back.
func (c *restartClient) listen(ctx context.Context, p *wstest.Peer) {
	for {
		f, err := p.Next(true)
		switch {
		case err == nil && f.Op == wstest.Close && f.Code() == 1012:
			_, _ = p.Write(f.Masked())
			return
		case ctx.Err() != nil:
			return
		case err != nil || f.Op != wstest.Text:
			c.s.troubles.Add(fmt.Sprintf("a client ends with %v, %v", f, err))
			return
		}
		var m struct {
			ID, Reset string
			Data      int64
		}
		if err := json.Unmarshal([]byte(f.Payload), &m); err != nil || m.Reset != "" {
			c.s.troubles.Add(fmt.Sprintf("a client hears %s, %v", f.Payload, err))
			continue
		}
		c.cursor = m.ID
		if n := m.Data; n > 0 {
			if had := c.heard.Swap(n); had > 0 && n != had+1 {
				c.s.troubles.Add(fmt.Sprintf("a client of t%d hears %d after %d", c.topic, n, had))
			}
		}
	}
}

// instance is a process with a hub.
type instance struct {
	addr, redis string
	ready       atomic.Bool
	process     *exec.Cmd
	unpoll      context.CancelFunc
	polled      <-chan struct{}
}

// start returns when it is ready.
func (in *instance) start(t *testing.T) {
	t.Helper()
	in.process = exec.Command(os.Args[0])
	in.process.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", fmt.Sprintf("%s=%s %s %v", restartProcess, in.addr, in.redis, *restartSpread))
	in.process.Stderr = os.Stderr
	if err := in.process.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in.unpoll = cancel
	in.polled = wstest.Begin(func() { in.poll(ctx) })
	wstest.Eventually(t, "the instance is ready", in.ready.Load)
}

// poll asks again and again whether it is ready, as a balancer does.
func (in *instance) poll(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	for ctx.Err() == nil {
		resp, err := client.Get("http://" + in.addr + "/ready")
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		in.ready.Store(err == nil && resp.StatusCode == http.StatusOK)
		<-pace.C
	}
}

// stop has it end in good order.
func (in *instance) stop(t *testing.T) {
	t.Helper()
	_ = in.process.Process.Signal(syscall.SIGTERM)
	if err := in.process.Wait(); err != nil {
		t.Error("an instance ended with", err)
	}
	in.unpoll()
	<-in.polled
	in.ready.Store(false)
}

// beInstance is the process of an instance.
func beInstance(what string) error {
	var addr, store, window string
	if _, err := fmt.Sscan(what, &addr, &store, &window); err != nil {
		return err
	}
	spread, err := time.ParseDuration(window)
	if err != nil {
		return err
	}
	client := redis.NewClient(&redis.Options{Addr: store})
	defer func() { _ = client.Close() }()
	hub := wskit.NewHub(wskit.WithRedis(client, "restart"), wskit.WithHistory(wskit.History{}), wskit.WithDrainSpread(spread),
		wskit.WithReadyDelay(200*time.Millisecond),
		wskit.WithAuthorize(func(_ context.Context, _ wskit.Subscriber, topic string) error {
			if !strings.HasPrefix(topic, "t") {
				return wskit.ErrForbidden
			}
			return nil
		}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go hub.SubscribeToRedis(ctx)
	mux := http.NewServeMux()
	mux.Handle("/ready", hub.Ready(wskit.WithRedisRequired()))
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) { _ = wskit.ServeWS(w, r, hub, nil) })
	return wskit.Serve(ctx, &http.Server{Addr: addr, Handler: mux}, hub)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
