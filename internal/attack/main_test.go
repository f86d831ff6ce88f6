package attack_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	actors.System()                                // the process keeps it for good
	slog.SetDefault(slog.New(slog.DiscardHandler)) // crashes on purpose would drown what matters
	flag.Parse()
	if testing.Short() {
		fmt.Fprintln(os.Stderr, "attack: with -short the comparison of latencies and the 1000 silent peers are skipped")
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// margin is what a bound on time may be exceeded by on a busy machine.
const margin = 2 * time.Second

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

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !poll(patience, ok) {
		t.Fatalf("not within %v: %s", patience, what)
	}
}

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

// begin runs fn in a goroutine and closes the channel when it has returned.
func begin(fn func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	return done
}

// took is how long fn takes; more than patience fails.
func took(t testing.TB, what string, fn func()) time.Duration {
	t.Helper()
	start := time.Now()
	receive(t, what, begin(fn))
	return time.Since(start)
}

// list is a list that many goroutines write.
type list[T any] struct {
	mu  sync.Mutex
	all []T
}

func (l *list[T]) add(v T) {
	l.mu.Lock()
	l.all = append(l.all, v)
	l.mu.Unlock()
}

func (l *list[T]) get() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

func (l *list[T]) len() int { return len(l.get()) }

// probe is a foreign subscriber that writes down what it gets, and "<closed>".
type probe struct {
	list[string]
	onSend func(string) bool // its result is Send's; nil: true
}

const closed = "<closed>"

func (p *probe) Send(data []byte) bool {
	p.add(string(data))
	return p.onSend == nil || p.onSend(string(data))
}

func (p *probe) Close() { p.add(closed) }

func (p *probe) expect(t testing.TB, want ...string) {
	t.Helper()
	if !poll(patience, func() bool { return p.len() >= len(want) }) || !slices.Equal(p.get(), want) {
		t.Fatalf("the subscriber saw %.300q, want %.300q", p.get(), want)
	}
}

// hub is a hub with its end.
type hub struct {
	*wskit.Hub
	stop context.CancelFunc
	done <-chan struct{} // Run has returned
}

func run(t testing.TB, opts ...wskit.HubOption) *hub {
	t.Helper()
	clean(t)
	h := &hub{Hub: wskit.NewHub(append([]wskit.HubOption{wskit.WithDrainTimeout(2 * time.Second)}, opts...)...)}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop, h.done = cancel, begin(func() { h.Run(ctx) })
	t.Cleanup(func() { h.halt(t) })
	return h
}

func (h *hub) halt(t testing.TB) {
	t.Helper()
	h.stop()
	receive(t, "Run returns", h.done)
}

// embed spawns a hub as an actor that embeds one does, and collects its events.
func embed(t testing.TB, cfg hubactor.Config) (*hub, *list[any]) {
	t.Helper()
	clean(t)
	events, root := &list[any]{}, actors.System().Root
	ear := root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actors.Connected, *actors.Disconnected, *actors.Dropped, *actors.Failed:
			events.add(m)
		}
	}))
	cfg.Events = ear
	if cfg.DrainTimeout == 0 {
		cfg.DrainTimeout = 2 * time.Second
	}
	pid := root.Spawn(hubactor.Props(cfg))
	h := &hub{Hub: wskit.Attach(actors.System(), pid)}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = func() { root.Send(pid, &actors.Shutdown{}) }
	h.done = begin(func() { h.Run(ctx) })
	t.Cleanup(func() {
		h.halt(t)
		cancel()
		root.Stop(ear)
	})
	return h, events
}

// dropped is what the events say was dropped: by subscriber, the number of each episode.
func dropped(events *list[any]) map[actors.Subscriber][]int {
	counts := map[actors.Subscriber][]int{}
	for _, e := range events.get() {
		if d, ok := e.(*actors.Dropped); ok {
			counts[d.Subscriber] = append(counts[d.Subscriber], d.Count)
		}
	}
	return counts
}

func (h *hub) count(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " subscribers"), func() bool { return h.SubscriberCount() == n })
}

// settled waits until the registry has handled all that this goroutine asked of the hub.
func (h *hub) settled(t testing.TB) {
	t.Helper()
	p := &probe{}
	h.Register(p)
	h.Unregister(p)
	p.expect(t, closed)
}

func tree(t testing.TB, h *wskit.Hub) []string {
	t.Helper()
	reply := make(chan []string, 1)
	actors.System().Root.Send(h.PID(), &actors.Tree{Reply: reply})
	return receive(t, "the tree", reply)
}

// child is the PID of the only actor of the hub whose own name begins so.
func child(t testing.TB, h *wskit.Hub, prefix string) *actor.PID {
	t.Helper()
	var found []string
	eventually(t, "one actor "+prefix, func() bool {
		found = slices.DeleteFunc(tree(t, h), func(id string) bool {
			return !strings.HasPrefix(id[strings.LastIndex(id, "/")+1:], prefix)
		})
		return len(found) == 1
	})
	return actors.System().NewLocalPID(found[0])
}

func crash(pid *actor.PID, reason any) { actors.System().Root.Send(pid, &actors.Crash{Reason: reason}) }

var cleaned sync.Map // names of the tests that are checked already

// clean fails the test at its end if it left a goroutine or an actor behind. It comes before anything else that cleans up.
func clean(t testing.TB) {
	t.Helper()
	if _, again := cleaned.LoadOrStore(t.Name(), true); again {
		return
	}
	before, ignore := processes(), goleak.IgnoreCurrent()
	t.Cleanup(func() {
		cleaned.Delete(t.Name())
		if t.Failed() {
			return
		}
		if !poll(patience, func() bool { return goleak.Find(ignore) == nil }) {
			t.Errorf("goroutines left behind: %v", goleak.Find(ignore))
		}
		if !poll(patience, func() bool { return processes() <= before }) {
			t.Errorf("actors left behind: %d, before %d", processes(), before)
		}
	})
}

func processes() (n int) {
	for _, bucket := range actors.System().ProcessRegistry.LocalPIDs.LocalPIDs {
		n += bucket.Count()
	}
	return n
}

// journal is a slog.Handler that keeps what it is given.
type journal struct{ list[record] }

type record struct {
	level slog.Level
	text  string
	attrs map[string]any
}

func (*journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler     { return j }
func (j *journal) WithGroup(string) slog.Handler          { return j }

func (j *journal) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]any{}
	r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.Any(); return true })
	j.add(record{r.Level, r.Message, attrs})
	return nil
}

// crashes is the records of crashes whose "who" is the given.
func (j *journal) crashes(who string) []record {
	return slices.DeleteFunc(j.get(), func(r record) bool { return r.text != "wskit: crash" || r.attrs["who"] != who })
}

func numbered(prefix string, n int) (texts []string) {
	for i := range n {
		texts = append(texts, fmt.Sprint(prefix, i))
	}
	return texts
}
