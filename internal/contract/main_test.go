// Package contract_test checks the public contract of package wskit sentence by sentence. Each test carries its sentence as
// a comment. All of them use real sockets and real clients; none sleeps.
package contract_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	actors.System()                                // the process keeps it for good: heap, and no goroutine
	slog.SetDefault(slog.New(slog.DiscardHandler)) // crashes on purpose would drown what matters
	flag.Parse()
	if testing.Short() {
		fmt.Fprintln(os.Stderr, "contract: with -short the 10,000 connections and the default timeout of 5 s are skipped")
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen; slow machines and -race included.
const patience = 20 * time.Second

// hush is how long a test watches that something does not happen.
const hush = 60 * time.Millisecond

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll(patience, ok) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

func poll(limit time.Duration, ok func() bool) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			return ok()
		}
	}
	return true
}

// receive waits for the next value of ch.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	end := time.NewTimer(patience)
	defer end.Stop()
	select {
	case v := <-ch:
		return v
	case <-end.C:
		t.Fatalf("not within %v: %s", patience, what)
		panic("unreachable")
	}
}

// silent fails if ch delivers, or is closed, within hush.
func silent[T any](t testing.TB, what string, ch <-chan T) {
	t.Helper()
	end := time.NewTimer(hush)
	defer end.Stop()
	select {
	case v := <-ch:
		t.Fatalf("%s: %v", what, v)
	case <-end.C:
	}
}

// begin runs fn in a goroutine; the channel is closed when it has returned.
func begin(fn func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	return done
}

// quickly fails unless fn returns within limit.
func quickly(t testing.TB, what string, limit time.Duration, fn func()) {
	t.Helper()
	start := time.Now()
	receive(t, what, begin(fn))
	if took := time.Since(start); took > limit {
		t.Errorf("%s took %v, more than %v", what, took, limit)
	}
}

var cleaned sync.Map // names of the tests that are checked already

// clean fails the test at its end if it left a goroutine or an actor behind. It comes first in a test, so that its check
// comes last; for the second hub of a test it does nothing.
func clean(t testing.TB) {
	t.Helper()
	if _, again := cleaned.LoadOrStore(t.Name(), true); again {
		return
	}
	before := processes(actors.System())
	// A Redis that the test restarted ends after this check; TestMain checks that it does.
	embedded := goleak.IgnoreAnyFunction("github.com/alicebob/miniredis/v2/server.(*Server).serve")
	process, ignore := goleak.IgnoreAnyFunction("os/exec.(*Cmd).writerDescriptor.func1"), goleak.IgnoreCurrent()
	t.Cleanup(func() {
		cleaned.Delete(t.Name())
		if t.Failed() {
			return
		}
		if !poll(patience, func() bool { return goleak.Find(ignore, embedded, process) == nil }) {
			t.Errorf("goroutines left behind: %v", goleak.Find(ignore, embedded, process))
		}
		var after []string
		if !poll(patience, func() bool { after = processes(actors.System()); return len(after) <= len(before) }) {
			t.Errorf("actors left behind: %d, before %d: %v", len(after), len(before), after)
		}
	})
}

// processes is the ids of all processes in a system's registry.
func processes(system *actor.ActorSystem) (ids []string) {
	for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
		bucket.IterCb(func(id string, _ any) { ids = append(ids, id) }) // Keys starts 32 goroutines, for each of 1024
	}
	return ids
}

// runner is a hub with its Run.
type runner struct {
	*wskit.Hub
	stop context.CancelFunc
	done <-chan struct{} // Run has returned
}

// run makes a hub and runs it until the test ends or stop is called.
func run(t testing.TB, opts ...wskit.HubOption) *runner {
	t.Helper()
	r := idle(t, opts...)
	r.start(t)
	return r
}

// idle makes a hub that does not run yet.
func idle(t testing.TB, opts ...wskit.HubOption) *runner {
	t.Helper()
	clean(t)
	return &runner{Hub: wskit.NewHub(append([]wskit.HubOption{wskit.WithDrainTimeout(2 * time.Second)}, opts...)...)}
}

func (r *runner) start(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	r.stop, r.done = cancel, begin(func() { r.Run(ctx) })
	t.Cleanup(func() { r.halt(t) })
}

// halt stops the hub and waits for Run.
func (r *runner) halt(t testing.TB) {
	t.Helper()
	r.stop()
	receive(t, "Run returns", r.done)
}

// count waits until the hub has n subscribers.
func (r *runner) count(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d subscribers", n), func() bool { return r.SubscriberCount() == n })
}

// tree is the hub's actors now; those below prefix, with their last name only.
func tree(t testing.TB, h *wskit.Hub) (names []string) {
	t.Helper()
	reply := make(chan []string, 1)
	system().Root.Send(h.PID(), &actors.Tree{Reply: reply})
	return receive(t, "the tree", reply)
}

func system() *actor.ActorSystem { return actors.System() }

// one is the PID of the hub's only actor whose name begins so, such as "registry" or "ws-".
func one(t testing.TB, h *wskit.Hub, prefix string) *actor.PID {
	t.Helper()
	var found []string
	eventually(t, "one actor "+prefix, func() bool {
		found = nil
		for _, id := range tree(t, h) {
			if strings.HasPrefix(id[strings.LastIndex(id, "/")+1:], prefix) {
				found = append(found, id)
			}
		}
		return len(found) == 1
	})
	return system().NewLocalPID(found[0])
}

// crash makes an actor panic.
func crash(pid *actor.PID) { system().Root.Send(pid, &actors.Crash{Reason: "test"}) }

// probe is a Subscriber that writes down what happens to it.
type probe struct {
	mu      sync.Mutex
	log     []string // messages, and "<closed>"
	onSend  func(data string) bool
	onClose func()
}

const closed = "<closed>"

func (p *probe) Send(data []byte) bool {
	p.mu.Lock()
	p.log = append(p.log, string(data))
	fn := p.onSend
	p.mu.Unlock()
	return fn == nil || fn(string(data))
}

func (p *probe) Close() {
	p.mu.Lock()
	p.log = append(p.log, closed)
	fn := p.onClose
	p.mu.Unlock()
	if fn != nil {
		fn()
	}
}

func (p *probe) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, " ")
}

func (p *probe) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.log)
}

// expect waits until exactly this was written down.
func (p *probe) expect(t testing.TB, want ...string) {
	t.Helper()
	all := strings.Join(want, " ")
	if !poll(patience, func() bool { return p.len() >= len(want) }) || p.all() != all {
		t.Fatalf("the subscriber saw %q, want %q", p.all(), all)
	}
}

// journal is a list that many goroutines write.
type journal struct {
	mu      sync.Mutex
	entries []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, fmt.Sprintf(format, args...))
}

func (j *journal) list() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.entries...)
}

func (j *journal) expect(t testing.TB, want ...string) {
	t.Helper()
	poll(patience, func() bool { return len(j.list()) >= len(want) })
	if got := j.list(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%v, want %v", got, want)
	}
}
