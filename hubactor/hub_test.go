package hubactor_test

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // crashes on purpose would drown what matters
	goleak.VerifyTestMain(m)
}

// inbox is an unbounded channel: what subscribers and callbacks write down.
type inbox[T any] struct {
	mu   sync.Mutex
	cond *sync.Cond
	list []T
}

func newInbox[T any]() *inbox[T] {
	b := &inbox[T]{}
	b.cond = sync.NewCond(&b.mu)
	return b
}

func (b *inbox[T]) add(v T) {
	b.mu.Lock()
	b.list = append(b.list, v)
	b.mu.Unlock()
	b.cond.Broadcast()
}

func (b *inbox[T]) all() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.list)
}

// await returns the first n entries.
func (b *inbox[T]) await(t *testing.T, n int) []T {
	t.Helper()
	late := false
	timer := time.AfterFunc(10*time.Second, func() { b.mu.Lock(); late = true; b.mu.Unlock(); b.cond.Broadcast() })
	defer timer.Stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.list) < n && !late {
		b.cond.Wait()
	}
	if len(b.list) < n {
		t.Fatalf("only %d of %d: %v", len(b.list), n, b.list)
	}
	return slices.Clone(b.list[:n])
}

// sub is a foreign subscriber. What it gets and that it was closed is in got.
type sub struct {
	got    *inbox[string]
	onSend func(string)
}

func newSub() *sub { return &sub{got: newInbox[string]()} }

func (s *sub) Send(data []byte) bool {
	if s.onSend != nil {
		s.onSend(string(data))
	}
	s.got.add(string(data))
	return true
}

func (s *sub) Close() { s.got.add("closed") }

// events collects lifecycle events, as the actor that embeds a hub gets them.
type events struct{ *inbox[any] }

func (e events) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Connected, *actors.Disconnected, *actors.Dropped, *actors.Failed:
		e.add(m)
	}
}

type hub struct {
	t      testing.TB
	system *actor.ActorSystem
	pid    *actor.PID
	link   *actors.Link
}

func spawn(t testing.TB, cfg hubactor.Config) *hub {
	t.Helper()
	system := actors.System()
	pid, err := system.Root.SpawnNamed(hubactor.Props(cfg), "test-"+strings.ReplaceAll(t.Name(), "/", "-"))
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t, system, pid, actors.ResolveLink(system, pid)}
	t.Cleanup(func() { h.send(&actors.Shutdown{}); h.awaitEnd() })
	return h
}

func (h *hub) send(m any) { h.system.Root.Send(h.pid, m) }
func (h *hub) crash(child string, reason any) {
	h.system.Root.Send(h.child(child), &actors.Crash{Reason: reason})
}
func (h *hub) child(name string) *actor.PID { return actor.NewPID(h.pid.Address, h.pid.Id+"/"+name) }
func (h *hub) broadcast(s string)           { h.send(&actors.Broadcast{Frame: actors.NewFrame([]byte(s))}) }

func (h *hub) awaitEnd() {
	h.t.Helper()
	select {
	case <-h.link.Done:
	case <-time.After(10 * time.Second):
		h.t.Fatal("the hub has not ended")
	}
}

func (h *hub) tree() []string {
	reply := make(chan []string, 1)
	h.send(&actors.Tree{Reply: reply})
	return <-reply
}

func (h *hub) count() int {
	reply := make(chan int, 1)
	h.send(&actors.Count{Reply: reply})
	return <-reply
}

func numbered(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func TestAHubIsDrivenByMessages(t *testing.T) {
	evs := events{newInbox[any]()}
	pid := actors.System().Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return evs }))
	defer actors.System().Root.Stop(pid)
	h := spawn(t, hubactor.Config{Events: pid})
	s := newSub()
	h.send(&actors.Register{Subscriber: s})
	h.broadcast("hello")
	h.send(&actors.Publish{Frame: actors.NewFrame([]byte("without Redis"))})
	h.send(&actors.Unregister{Subscriber: s})
	if got := s.got.await(t, 3); !slices.Equal(got, []string{"hello", "without Redis", "closed"}) {
		t.Fatal(got)
	}
	list := evs.await(t, 2)
	if c, ok := list[0].(*actors.Connected); !ok || c.Subscriber != s {
		t.Errorf("first event %#v", list[0])
	}
	if d, ok := list[1].(*actors.Disconnected); !ok || d.Subscriber != s || d.Reason != actors.ReasonUnregistered {
		t.Errorf("second event %#v", list[1])
	}
	if n := h.count(); n != 0 {
		t.Errorf("%d members", n)
	}
}

func TestTheTreeIsTheOneThatDesignDraws(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	s := newSub()
	h.send(&actors.Register{Subscriber: s})
	h.broadcast("its actor runs")
	s.got.await(t, 1)
	tree := h.tree()
	for i := range tree {
		tree[i] = strings.TrimPrefix(tree[i], h.pid.Id)
	}
	if want := []string{"", "/listener", "/connections", "/registry", "/connections/sub-1"}; !slices.Equal(tree, want) {
		t.Errorf("tree %q, want %q", tree, want)
	}
}

func TestWhatTheHubAcceptedSurvivesCrashesOfItsChildren(t *testing.T) {
	for _, child := range []string{"registry", "listener", "connections"} {
		t.Run(child, func(t *testing.T) {
			connects := newInbox[actors.Subscriber]()
			h := spawn(t, hubactor.Config{BroadcastBuf: 2000, OnConnect: func(s actors.Subscriber) { connects.add(s) }})
			subs := []*sub{newSub(), newSub(), newSub()}
			for _, s := range subs {
				h.send(&actors.Register{Subscriber: s})
			}
			for i := range 1000 {
				if i%100 == 50 {
					h.crash(child, "told to")
				}
				h.broadcast(fmt.Sprint(i))
			}
			late := newSub()
			h.send(&actors.Register{Subscriber: late})
			h.broadcast("last")
			for _, s := range subs {
				if got := s.got.await(t, 1001); !slices.Equal(got, append(numbered(1000), "last")) {
					t.Errorf("lost, doubled or out of order after %d", len(got))
				}
			}
			late.got.await(t, 1)
			if n := h.count(); n != 4 {
				t.Errorf("%d members", n)
			}
			if got := connects.await(t, 4); len(connects.all()) != 4 {
				t.Errorf("OnConnect ran %d times", len(got))
			}
		})
	}
}

func TestAPermanentChildOverItsBudgetEndsTheHubAndThatIsReported(t *testing.T) {
	for _, child := range []string{"registry", "listener", "connections"} {
		t.Run(child, func(t *testing.T) {
			failures := newInbox[*actors.Failed]()
			pid := actors.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
				if f, ok := ctx.Message().(*actors.Failed); ok {
					failures.add(f)
				}
			}))
			defer actors.System().Root.Stop(pid)
			h := spawn(t, hubactor.Config{Events: pid, DrainTimeout: time.Second})
			s := newSub()
			h.send(&actors.Register{Subscriber: s})
			for range 10 {
				h.crash(child, "budget")
			}
			h.broadcast("still there") // at the edge of the budget
			if got := s.got.await(t, 1); got[0] != "still there" {
				t.Fatal(got)
			}
			select {
			case <-h.link.Done:
				t.Fatal("the hub ended within its children's budget")
			default:
			}
			h.crash(child, "budget")
			h.awaitEnd()
			s.got.await(t, 2) // closed
			if child == "listener" {
				return // nobody is left to pass events on
			}
			list := failures.await(t, 12)
			for i, f := range list[:11] {
				var pe *actors.PanicError
				if f.Attempt != i+1 || !errors.As(f.Err, &pe) || pe.Value != "budget" || !strings.Contains(string(pe.Stack), "Receive") {
					t.Errorf("failure %d: %+v", i, f)
				}
			}
			if last := list[11]; last.Op != h.pid.Id || last.Action != actors.ActGiveUp || !strings.Contains(last.Err.Error(), child) {
				t.Errorf("last %+v", last)
			}
		})
	}
}

func TestAHubDrainsHoweverItIsStopped(t *testing.T) {
	stops := map[string]func(h *hub){
		"Shutdown": func(h *hub) { h.send(&actors.Shutdown{}) },
		"Stop":     func(h *hub) { h.system.Root.Stop(h.pid) },
		"Poison":   func(h *hub) { h.system.Root.Poison(h.pid) },
		"crash":    func(h *hub) { h.send(&actors.Crash{Reason: "the supervisor itself"}) },
	}
	for name, stop := range stops {
		t.Run(name, func(t *testing.T) {
			disconnects := newInbox[actors.Subscriber]()
			h := spawn(t, hubactor.Config{OnDisconnect: func(s actors.Subscriber) { disconnects.add(s) }})
			s := newSub()
			h.send(&actors.Register{Subscriber: s})
			for i := range 100 {
				h.broadcast(fmt.Sprint(i))
			}
			for h.count() != 1 { // Stop overtakes messages; what the hub has taken it finishes
			}
			stop(h)
			h.awaitEnd()
			if got := s.got.await(t, 101); !slices.Equal(got, append(numbered(100), "closed")) {
				t.Errorf("got %v", got)
			}
			if got := disconnects.all(); len(got) != 1 || got[0] != s {
				t.Errorf("OnDisconnect: %v", got)
			}
			if _, there := h.system.ProcessRegistry.Get(h.pid); there {
				t.Error("the hub's actor is still there")
			}
		})
	}
}

func TestAHubEndsWithTheActorThatSpawnedIt(t *testing.T) {
	system, s := actors.System(), newSub()
	hubs := make(chan *actor.PID, 1)
	tenant := system.Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(*actor.Started); ok {
			pid := ctx.Spawn(hubactor.Props(hubactor.Config{}))
			ctx.Send(pid, &actors.Register{Subscriber: s})
			ctx.Send(pid, &actors.Broadcast{Frame: actors.NewFrame([]byte("from the tenant"))})
			hubs <- pid
		}
	}))
	link := actors.ResolveLink(system, <-hubs)
	s.got.await(t, 1)
	system.Root.Stop(tenant)
	<-link.Done
	if got := s.got.await(t, 2); got[1] != "closed" {
		t.Error(got)
	}
}

func TestOneThatBlocksForEverDoesNotKeepTheHubFromStopping(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	h := spawn(t, hubactor.Config{
		DrainTimeout: 50 * time.Millisecond,
		OnConnect:    func(actors.Subscriber) { <-release },
	})
	blocked, healthy := newSub(), newSub()
	blocked.onSend = func(string) { <-release }
	h.send(&actors.Register{Subscriber: blocked})
	h.send(&actors.Register{Subscriber: healthy})
	h.broadcast("x")
	for h.count() != 2 {
	}
	start := time.Now()
	h.send(&actors.Shutdown{})
	h.awaitEnd()
	if d := time.Since(start); d > 3*time.Second {
		t.Errorf("stopping took %v", d)
	}
}

func TestUserCodeThatEndsItsGoroutineEndsNothingElse(t *testing.T) {
	disconnects := newInbox[actors.Subscriber]()
	failures := newInbox[string]()
	h := spawn(t, hubactor.Config{
		OnConnect:    func(actors.Subscriber) { runtime.Goexit() },
		OnDisconnect: func(s actors.Subscriber) { disconnects.add(s); runtime.Goexit() },
		OnError:      func(op string, err error) { failures.add(op); runtime.Goexit() },
	})
	rude, healthy := newSub(), newSub()
	rude.onSend = func(string) { runtime.Goexit() }
	h.send(&actors.Register{Subscriber: rude})
	h.send(&actors.Register{Subscriber: healthy})
	h.broadcast("1")
	h.broadcast("2")
	if got := healthy.got.await(t, 2); !slices.Equal(got, []string{"1", "2"}) {
		t.Error(got)
	}
	if got := rude.got.await(t, 1); got[0] != "closed" {
		t.Error(got)
	}
	if got := disconnects.await(t, 1); got[0] != rude {
		t.Error(got)
	}
	if got := failures.await(t, 4); !slices.Equal(slices.Sorted(slices.Values(got)), []string{"OnConnect", "OnConnect", "OnDisconnect", "Send"}) {
		t.Error(got)
	}
}

func TestAMessageThatFindsTheQueueFullTimesOutInTheListener(t *testing.T) {
	timeouts := newInbox[string]()
	h := spawn(t, hubactor.Config{Shut: true, BroadcastBuf: 1, RegisterBuf: hubactor.NoQueue, OnTimeout: timeouts.add})
	h.broadcast("kept")
	h.broadcast("too many")
	s := newSub()
	h.send(&actors.Register{Subscriber: s})
	if got := timeouts.await(t, 2); !slices.Equal(got, []string{"broadcast", "register"}) {
		t.Fatal(got)
	}
	h.send(&actors.Open{})
	h.send(&actors.Register{Subscriber: s})
	h.broadcast("after")
	if got := s.got.await(t, 1); got[0] != "after" {
		t.Fatal(got)
	}
}

func TestWhatAHubCannotUseIsIgnored(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	s := newSub()
	for _, m := range []any{
		&actors.Register{}, &actors.Register{Subscriber: (*sub)(nil)}, &actors.Unregister{}, &actors.Unregister{Subscriber: s},
		&actors.Broadcast{}, &actors.Publish{}, &actors.Subscribe{}, &actors.Unsubscribe{}, "what is this", actors.Crash{},
	} {
		h.send(m)
	}
	h.send(&actors.Register{Subscriber: s})
	h.broadcast("works")
	s.got.await(t, 1)
}
