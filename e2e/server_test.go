package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

const (
	patience    = 30 * time.Second // with one step; a busy machine may need a few
	gracePeriod = 20 * time.Second // to clean up in before `go test` gives up
	channel     = "wskit-dashboard:lobby"
)

// eventually tries check until it has no objection, or patience ends.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	timeout := time.After(patience)
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("after %v: %v", patience, err)
		}
	}
}

// lifetime is a context for a process that t starts. It outlives t, so that the process can end in good order, but ends before
// `go test` gives up on t and leaves it behind.
func lifetime(t *testing.T) (context.Context, context.CancelFunc) {
	if deadline, ok := t.Deadline(); ok {
		return context.WithDeadline(context.Background(), deadline.Add(-gracePeriod))
	}
	return context.WithCancel(context.Background())
}

// process is a program that was started, and is killed when its test ends if it has not ended by then.
type process struct {
	cmd  *exec.Cmd
	said output
	done chan struct{} // closed when it has ended
}

func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	ctx, cancel := lifetime(t)
	p := &process{cmd: exec.CommandContext(ctx, name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.said, &p.said
	if err := p.cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(func() {
		cancel()
		<-p.done
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), p.said.String())
		}
	})
	return p
}

// awaitSaid waits until the process has said what matches, and returns the first group of that; an error if it ends before.
func (p *process) awaitSaid(t *testing.T, pattern string) (string, error) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	var match []string
	var ended error
	eventually(t, func() error {
		select {
		case <-p.done:
			ended = fmt.Errorf("ended with %v: %s", p.cmd.ProcessState, strings.TrimSpace(p.said.String()))
		default:
		}
		if match = re.FindStringSubmatch(p.said.String()); match == nil && ended == nil {
			return fmt.Errorf("not said: %s", pattern)
		}
		return nil
	})
	if match == nil {
		return "", ended
	}
	return match[1], nil
}

// awaitEnd waits until the process has ended.
func (p *process) awaitEnd(t *testing.T) {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		t.Fatalf("it still runs after %v; it said:\n%s", patience, p.said.String())
	}
}

// output is what a process has said.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(data []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(data)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// build builds an example of the module above this one, with the race detector if this test has it.
func build(t *testing.T, example string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), example)
	args := []string{"build", "-C", "..", "-o", program}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, "-race")
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // a cold cache on a slow machine
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", append(args, "./examples/"+example)...).CombinedOutput(); err != nil {
		t.Fatalf("the example does not build: %v\n%s", err, out)
	}
	return program
}

// server is a running dashboard.
type server struct {
	*process
	addr, url string
}

// startServer starts a dashboard, on a free port unless args say otherwise. When t ends it is drained, if it still runs.
func startServer(t *testing.T, program string, args ...string) *server {
	t.Helper()
	args = append([]string{"-addr", "127.0.0.1:0"}, args...)
	var s *server
	eventually(t, func() error { // the port of a server to be replaced may for a moment be taken by a client of another program
		p := start(t, program, args...)
		addr, err := p.awaitSaid(t, `dashboard on http://(\S+)/`)
		if err != nil {
			return err
		}
		s = &server{p, addr, "http://" + addr + "/"}
		return nil
	})
	t.Cleanup(func() {
		select {
		case <-s.done:
		default:
			s.drain(t)
		}
	})
	return s
}

// drain ends the server with SIGTERM, and checks that it ends in good order and says so.
func (s *server) drain(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	s.awaitEnd(t)
	said := s.said.String()
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("after SIGTERM it ended with %v, want exit status 0; it said:\n%s", s.cmd.ProcessState, said)
	}
	if !regexp.MustCompile(`draining \d+ connections…\n.*drained in \S+, bye\n$`).MatchString(said) {
		t.Errorf("it does not say that it drained:\n%s", said)
	}
}

// kill ends the server as a crash would.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.awaitEnd(t)
}

// startRedis starts a Redis of its own for t, the embedded one if redis-server is not installed, and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Log("redis-server is not on the PATH, so an embedded Redis takes its place")
		return miniredis.RunT(t).Addr()
	}
	dir := t.TempDir()
	var addr string
	eventually(t, func() error { // someone else may take the port first
		port, err := freePort()
		if err != nil {
			return err
		}
		p := start(t, program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", dir)
		addr = net.JoinHostPort("127.0.0.1", port)
		_, err = p.awaitSaid(t, `(Ready to accept connections)`)
		return err
	})
	return addr
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	return port, errors.Join(err, listener.Close())
}

// awaitSubscribers waits until so many instances listen at the Redis, to each of the channels.
func awaitSubscribers(t *testing.T, addr string, instances int64, channels ...string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	eventually(t, func() error {
		subscribers, err := client.PubSubNumSub(t.Context(), channels...).Result()
		for _, channel := range channels {
			if got := subscribers[channel]; err == nil && got != instances {
				err = fmt.Errorf("%d subscribers of %s at the Redis, want %d", got, channel, instances)
			}
		}
		return err
	})
}
