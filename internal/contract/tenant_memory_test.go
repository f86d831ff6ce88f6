package contract_test

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

var manyTenants = flag.Int("tenants", 2000, "how many tenants, with a client each, the cost of one is taken from")

// A tenant with a client costs little beside what its WebSocket costs in any hub, and no goroutine; and on Redis not one connection more.
// Each hears what is its own, and nothing else.
func TestATenantCostsAtMost12KBBesideItsConnection(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector has costs of its own")
	}
	wstest.Clean(t)
	client := redistest.StartReal(t).Client(t)
	tenants := newTenants(t, nil, wskit.WithIdleTimeout(time.Hour), wskit.WithTenantsRedis(client, "app:"))
	srv := wstest.Listen(t, wstest.TCP, tenants.Handler(func(r *http.Request) (string, error) { return r.URL.Path[1:], nil }))
	many := *manyTenants
	// cost is that of so many clients, who are in so many hubs and have heard from them.
	cost := func(hubs int, rest time.Duration) footprint {
		before := inUse(0)
		clients := startTenantClients(t, srv.Host(), many, hubs)
		clients.says(t, "open")
		for i := range hubs {
			name := tenantName(i)
			if err := hubOf(t, tenants, name).BroadcastEvent(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		clients.says(t, "heard")
		after := inUse(rest)
		clients.end(t)
		wstest.Eventually(t, "they are gone", func() bool { return tenants.Stats().Subscribers[actors.TransportWebSocket] == 0 })
		return footprint{(after.heap - before.heap) / many, (after.stacks - before.stacks) / many, after.goroutines - before.goroutines}
	}
	const rest = 3 * time.Second // until then Redis actors keep what they have published, and timers
	cost(1, 0)
	alone, each := cost(1, rest), cost(many, rest)
	t.Logf("%d tenants: %d bytes of heap each, and of stacks %+d, beside the %d of its connection", many, each.heap-alone.heap, each.stacks-alone.stacks, alone.heap+alone.stacks)
	if each.heap-alone.heap > 12<<10 || each.goroutines > alone.goroutines+many/40 {
		t.Errorf("a tenant: %+v, a connection: %+v", each, alone)
	}
	list, err := client.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
	if n := strings.Count(list, "\n"); n != 1 || err != nil {
		t.Errorf("%d subscriber connections, %v", n, err)
	}
}

func tenantName(i int) string { return fmt.Sprint("tenant-", i) }

// footprint is what a process has in use: bytes, those of stacks in whole spans, and goroutines.
type footprint struct{ heap, stacks, goroutines int }

// inUse is what is in use when that has not become less for so long.
func inUse(rest time.Duration) footprint {
	var m runtime.MemStats
	least, since := uint64(math.MaxUint64), time.Now()
	wstest.Poll(wstest.Patience, func() bool {
		runtime.GC()
		runtime.ReadMemStats(&m)
		if m.HeapAlloc < least-least/1000 {
			least, since = m.HeapAlloc, time.Now()
		}
		return time.Since(since) >= rest
	})
	return footprint{int(m.HeapAlloc), int(m.StackInuse), runtime.NumGoroutine()}
}

// clientsProcess is the variable that makes this program a process of clients: a process may have too few descriptors for both ends.
const clientsProcess = "WSKIT_TENANT_CLIENTS"

// tenantClients are the clients of tenants, in a process of their own.
type tenantClients struct {
	*exec.Cmd
	out  *bufio.Reader
	stop func() error // has them end
}

// startTenantClients starts n, in so many hubs.
func startTenantClients(t *testing.T, host string, n, hubs int) *tenantClients {
	t.Helper()
	c := &tenantClients{Cmd: exec.Command(os.Args[0])}
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", clientsProcess, host, n, hubs))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	c.out, c.stop = bufio.NewReader(out), in.Close
	return c
}

// says waits for a line of theirs.
func (c *tenantClients) says(t *testing.T, want string) {
	t.Helper()
	if line, err := c.out.ReadString('\n'); line != want+"\n" {
		_ = c.stop()
		t.Fatalf("the clients say %q, %v instead of %q", line, err, want)
	}
}

// end fails if they have heard anything else.
func (c *tenantClients) end(t *testing.T) {
	t.Helper()
	_ = c.stop()
	c.says(t, "nothing else")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// beTenantClients is the process of clients: it says that they are open, that each has heard its tenant's name, and, when nobody wants
// them any more, that they have heard nothing else.
func beTenantClients(what string) error {
	var host string
	var n, hubs int
	if _, err := fmt.Sscan(what, &host, &n, &hubs); err != nil {
		return err
	}
	heard, wrong := make(chan error, n), make(chan error, n)
	for i := range n {
		name := tenantName(i % hubs)
		conn, err := net.Dial("tcp", host)
		if err != nil {
			return err
		}
		p, err := wstest.Ask(conn, wstest.Handshake{Path: "/" + name}.Request(host))
		if err != nil {
			return err
		}
		go func() {
			f, err := p.Next(true)
			if f != wstest.Whole(wstest.Text, strconv.Quote(name)) || err != nil {
				heard <- fmt.Errorf("%s heard %v, %w", name, f, err)
				return
			}
			heard <- nil
			f, err = p.Next(true)
			wrong <- fmt.Errorf("%s heard %v too, %w", name, f, err)
		}()
	}
	fmt.Println("open")
	for range n {
		if err := <-heard; err != nil {
			return err
		}
	}
	fmt.Println("heard")
	_, _ = os.Stdin.Read(make([]byte, 1))
	select {
	case err := <-wrong:
		return err
	default:
		fmt.Println("nothing else")
		return nil
	}
}
