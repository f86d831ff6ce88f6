// Package redistest gives tests a Redis that they may kill, and a network to it that they may break.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Server is a Redis of one test: a redis-server process, or the embedded one. Its methods are for the test's goroutine,
// except Addr and Real.
type Server struct {
	t        testing.TB
	addr     string
	embedded *miniredis.Miniredis // nil: a process
	process  *exec.Cmd            // nil: killed
	args     []string             // of the process, beside the usual ones
	output   bytes.Buffer
}

// Each runs test as two subtests: against the embedded Redis, and against a real one where redis-server is installed.
func Each(t *testing.T, test func(t *testing.T, srv *Server)) {
	t.Run("embedded", func(t *testing.T) { test(t, startEmbedded(t)) })
	t.Run("real", func(t *testing.T) {
		if !installed() {
			t.Skip("redis-server not found: nothing was tested against a real Redis")
		}
		test(t, startReal(t))
	})
}

// Start starts a real Redis where redis-server is installed, else the embedded one. It stops with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	if installed() {
		return startReal(t)
	}
	t.Logf("redis-server not found: running on the embedded one")
	return startEmbedded(t)
}

func installed() bool {
	_, err := exec.LookPath("redis-server")
	return err == nil
}

func startEmbedded(t testing.TB) *Server {
	t.Helper()
	s := &Server{t: t, embedded: miniredis.NewMiniRedis()}
	if err := s.embedded.Start(); err != nil {
		t.Fatalf("embedded redis: %v", err)
	}
	s.addr = s.embedded.Addr()
	t.Cleanup(s.Kill)
	return s
}

// StartReal starts a real Redis with more arguments; without redis-server the test is skipped.
func StartReal(t testing.TB, args ...string) *Server {
	t.Helper()
	if !installed() {
		t.Skip("redis-server not found: nothing was tested that the embedded Redis does not have")
	}
	return startReal(t, args...)
}

// Sentinel starts a Sentinel that watches master, of which the test has started a replica, and returns a client that it leads
// to the master, and a function that has it hand over to the replica. Without redis-sentinel the test is skipped.
func Sentinel(t testing.TB, master *Server) (client func() *redis.Client, failover func()) {
	t.Helper()
	if _, err := exec.LookPath("redis-sentinel"); err != nil {
		t.Skip("redis-sentinel not found: no failover was tested")
	}
	addr, ctx := freeAddr(t), context.Background()
	_, port, _ := net.SplitHostPort(addr)
	_, masterPort, _ := net.SplitHostPort(master.Addr())
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	text := fmt.Sprintf("port %s\nbind 127.0.0.1\nsentinel monitor m 127.0.0.1 %s 1\nsentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 5000\n", port, masterPort)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	process := exec.Command("redis-sentinel", conf)
	if err := process.Start(); err != nil {
		t.Fatalf("redis-sentinel: %v", err)
	}
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	sentinel := redis.NewSentinelClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = sentinel.Close() })
	if !Until(20*time.Second, func() bool {
		replicas, err := sentinel.Replicas(ctx, "m").Result()
		return err == nil && len(replicas) == 1
	}) {
		t.Fatal("the sentinel finds no replica")
	}
	return func() *redis.Client {
			c := redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{addr}})
			t.Cleanup(func() { _ = c.Close() })
			return c
		}, func() {
			var err error
			Until(20*time.Second, func() bool { // a replica that it knows is no good one before it has answered
				err = sentinel.Failover(ctx, "m").Err()
				return !redis.HasErrorPrefix(err, "NOGOODSLAVE")
			})
			if err != nil {
				t.Fatalf("failover: %v", err)
			}
		}
}

func startReal(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, args: args}
	t.Cleanup(s.Kill)
	for range 5 { // the free port may be taken by the time it is used
		s.addr = freeAddr(t)
		if s.start() {
			return s
		}
		s.Kill()
	}
	t.Fatalf("redis-server does not start: %s", s.output.Bytes())
	return nil
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// start starts the process and waits until it answers.
func (s *Server) start() bool {
	_, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.t.TempDir()}, s.args...)
	s.process = exec.Command("redis-server", args...)
	s.output.Reset()
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	return Until(10*time.Second, func() bool {
		return client.Ping(context.Background()).Err() == nil
	})
}

// Addr is host and port, the same after Restart.
func (s *Server) Addr() string { return s.addr }

// Real reports whether it is a redis-server process.
func (s *Server) Real() bool { return s.embedded == nil }

// Kill ends it at once: a SIGKILL for the process. All connections break. Killing a dead one does nothing.
func (s *Server) Kill() {
	if s.embedded != nil {
		s.embedded.Close()
		return
	}
	if s.process != nil {
		_ = s.process.Process.Kill()
		_ = s.process.Wait() // says that it was killed
		s.process = nil
	}
}

// Restart starts it again, empty, at the same address.
func (s *Server) Restart() {
	s.t.Helper()
	if s.embedded != nil {
		if err := s.embedded.Restart(); err != nil {
			s.t.Fatalf("embedded redis: %v", err)
		}
		return
	}
	if !s.start() {
		s.Kill()
		s.t.Fatalf("redis-server does not start again: %s", s.output.Bytes())
	}
}

// Client returns a client of its own, closed with the test.
func (s *Server) Client(t testing.TB) *redis.Client { return Client(t, s.addr) }

// Client returns a client of whatever is at addr, closed with the test.
func Client(t testing.TB, addr string) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Subscribers is how many connections Redis has in subscribed state on channel.
func (s *Server) Subscribers(t testing.TB, channel string) int {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	defer func() { _ = client.Close() }()
	n, err := client.PubSubNumSub(context.Background(), channel).Result()
	if err != nil {
		t.Fatalf("PUBSUB NUMSUB: %v", err)
	}
	return int(n[channel])
}

// Until reports whether cond came true within d.
func Until(d time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			return cond()
		}
	}
	return true
}

func (s *Server) String() string {
	return fmt.Sprintf("redis at %s (real: %v)", s.addr, s.Real())
}
