// Package soak_test runs two instances of a hub, with hundreds of subscribers and one Redis between them, while everything
// around them fails: peers, callbacks, actors, Redis and the way to it. Healthy subscribers write down what they hear, and the
// test fails if one of them missed a message, got one twice or out of order, or if anything was left behind.
//
//	go test ./internal/soak -run TestSoak -soak 2m -v
//
// Without -soak it takes a few seconds, in which each fault happens at least once.
package soak_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
	"go.uber.org/goleak"
)

var (
	length    = flag.Duration("soak", 0, "how long faults are injected; 0: a few seconds, each fault at least once")
	tableFile = flag.String("soak.table", "", "a file that gets the table, as markdown")
)

// plan is how much of everything there is.
type plan struct {
	length  time.Duration // of the injection; it may take half as long again until each fault has happened often enough
	short   bool
	faults  bool
	each    int           // stable subscribers of each kind at each instance; there are four kinds
	guests  int           // healthy subscribers that come and go, at a time
	slowest time.Duration // how long callbacks block at most
}

func TestMain(m *testing.M) {
	redis.SetLogger(noLog{})
	if what := os.Getenv(restartProcess); what != "" {
		if err := beInstance(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type noLog struct{}

func (noLog) Printf(context.Context, string, ...any) {}

func TestSoak(t *testing.T) {
	p := plan{length: *length, faults: true, each: 25, guests: 20, slowest: 2 * time.Second}
	if p.length <= 0 {
		p.length, p.short, p.each, p.guests, p.slowest = 4*time.Second, true, 10, 6, 200*time.Millisecond
	}
	// What the process makes once and keeps is made before anything is counted.
	t.Run("warm-up", func(t *testing.T) { run(t, plan{length: 100 * time.Millisecond, short: true, each: 2, guests: 1}) })
	before := takeStock()
	var v *verdict
	ok := t.Run("faults", func(t *testing.T) { v = run(t, p) })
	if v == nil {
		t.Fatal("the soak did not get to its end")
	}
	v.leaks = before.compare()
	v.print(os.Stderr)
	if *tableFile != "" {
		if err := os.WriteFile(*tableFile, []byte(v.markdown()), 0o644); err != nil {
			t.Error(err)
		}
	}
	for _, leak := range v.leaks {
		t.Error("left behind: ", leak)
	}
	if !ok {
		t.Error("see above")
	}
}

// stock is what a process has running and in memory.
type stock struct {
	goroutines goleak.Option
	number     int
	actors     []string
	heap       uint64
}

// heapSlack is how much the heap may grow over the whole soak: what maps, pools and the allocator keep.
const heapSlack = 4 << 20

func takeStock() stock {
	var s stock
	wstest.Poll(10*time.Second, func() bool { return goleak.Find() == nil })
	s.goroutines, s.number, s.actors, s.heap = goleak.IgnoreCurrent(), runtime.NumGoroutine(), wstest.Processes(actors.System()), heap()
	return s
}

// compare waits until everything is as it was, and says what is not.
func (s stock) compare() (leaks []string) {
	const limit = 20 * time.Second
	if !wstest.Poll(limit, func() bool { return goleak.Find(s.goroutines) == nil }) {
		leaks = append(leaks, fmt.Sprint("goroutines: ", goleak.Find(s.goroutines)))
	}
	var more []string
	if !wstest.Poll(limit, func() bool {
		more = slices.DeleteFunc(wstest.Processes(actors.System()), func(id string) bool { return slices.Contains(s.actors, id) })
		return len(more) == 0
	}) {
		leaks = append(leaks, fmt.Sprintf("%d actors: %v", len(more), more))
	}
	now := uint64(0)
	if !wstest.Poll(limit, func() bool { now = heap(); return now <= s.heap+heapSlack }) {
		leaks = append(leaks, fmt.Sprintf("heap: %d KB, before %d KB", now>>10, s.heap>>10))
	}
	return leaks
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // the first only makes victims of what pools hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// run is one soak from the first hub to the last goroutine.
func run(t *testing.T, p plan) *verdict {
	a := newArena(t, p)
	defer a.close()
	a.populate()
	a.publish()
	a.torment()
	a.settle()
	v := a.judge()
	a.finish(v)
	for _, f := range v.failures {
		t.Error(f)
	}
	return v
}
