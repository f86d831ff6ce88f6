package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisVar is the environment variable that tells a server process the address of a Redis.
const redisVar = "BENCH_REDIS"

// redisChannel is where everybody publishes.
const redisChannel = "bench"

// redisServer is a redis-server of this program's own, without persistence.
type redisServer struct {
	addr   string
	end    context.CancelFunc
	ended  chan struct{}
	client *redis.Client
}

// findRedis is the path of redis-server.
func findRedis() (string, error) { return exec.LookPath("redis-server") }

// startRedis runs a redis-server on a free port. It ends with close, with ctx, or with this process.
func startRedis(ctx context.Context) (*redisServer, error) {
	path, err := findRedis()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	ctx, end := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no")
	cmd.Dir = os.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s := &redisServer{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), end: end, ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread that started the process ends
		defer close(s.ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		end()
		return nil, err
	}
	s.client = redis.NewClient(&redis.Options{Addr: s.addr})
	for range 100 {
		if err = s.client.Ping(ctx).Err(); err == nil {
			return s, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	s.close()
	return nil, fmt.Errorf("redis-server did not answer: %w", err)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *redisServer) close() {
	_ = s.client.Close()
	s.end()
	<-s.ended
}

// cpuTime is what the server has used so far; 0 if it does not say. A nil server has used nothing.
func (s *redisServer) cpuTime(ctx context.Context) time.Duration {
	if s == nil {
		return 0
	}
	info, err := s.client.Info(ctx, "cpu").Result()
	if err != nil {
		return 0
	}
	return parseRedisCPU(info)
}

func parseRedisCPU(info string) (total time.Duration) {
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if key == "used_cpu_sys" || key == "used_cpu_user" {
			seconds, _ := strconv.ParseFloat(value, 64)
			total += time.Duration(seconds * float64(time.Second))
		}
	}
	return total
}

// awaitSubscribers waits until the channel has n.
func (s *redisServer) awaitSubscribers(ctx context.Context, n int64) error {
	var have int64
	for range 100 {
		subs, err := s.client.PubSubNumSub(ctx, redisChannel).Result()
		if err != nil {
			return err
		}
		if have = subs[redisChannel]; have == n {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the channel has %d subscribers instead of %d", have, n)
}

// forget has the server count its commands anew. A nil server has none.
func (s *redisServer) forget(ctx context.Context) error {
	if s == nil {
		return nil
	}
	return s.client.ConfigResetStat(ctx).Err()
}

// reads is how many streams were read since, and how long that took the server.
func (s *redisServer) reads(ctx context.Context) (calls int64, took time.Duration, err error) {
	if s == nil {
		return 0, 0, nil
	}
	info, err := s.client.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, 0, err
	}
	calls, took = parseReads(info)
	return calls, took, nil
}

func parseReads(info string) (calls int64, took time.Duration) {
	for line := range strings.Lines(info) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		var n, us int64
		if key != "cmdstat_xrange" && key != "cmdstat_xrevrange" && key != "cmdstat_xread" {
			continue
		}
		if _, err := fmt.Sscanf(value, "calls=%d,usec=%d,", &n, &us); err == nil {
			calls, took = calls+n, took+time.Duration(us)*time.Microsecond
		}
	}
	return calls, took
}

// memory is what the server has in use.
func (s *redisServer) memory(ctx context.Context) (int64, error) {
	info, err := s.client.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "used_memory:"); found {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, errors.New("redis does not say how much memory it uses")
}
