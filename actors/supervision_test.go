package actors_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

// What may reach an actor that has just stopped must not make a line in protoactor's log, nor a goroutine that throttles it.
var _, _ actor.IgnoreDeadLetterLogging = (*actors.Frame)(nil), (*actors.Resolve)(nil)

var bossNumber atomic.Int64

// boss is an actor that supervises, and tells a test what it sees. All of it happens inside a synctest bubble, so
// synctest.Wait means that every actor is idle.
type boss struct {
	actors.Supervisor
	pid    *actor.PID
	specs  []actors.Spec
	failed []*actors.Failed
	gaveUp []string
	log    bytes.Buffer
}

func (b *boss) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		if err := b.Start(ctx, b.specs); err != nil {
			panic(err)
		}
	case *actors.Resolve:
		b.Handle(ctx, m)
	case *actor.Terminated:
		b.Ended(m.Who)
	case func(actor.Context):
		m(ctx)
	}
}

// employ runs a boss of these children until the test ends.
func employ(t *testing.T, specs ...actors.Spec) *boss { return hire(t, nil, specs...) }

// hire is employ with restarts counted.
func hire(t *testing.T, restarts []atomic.Uint64, specs ...actors.Spec) *boss {
	b := &boss{specs: specs}
	b.Restarts = restarts
	b.Log = slog.New(slog.NewTextHandler(&b.log, nil))
	b.Random = func() float64 { return 0 }
	b.Failed = func(f *actors.Failed) { b.failed = append(b.failed, f) }
	b.GiveUp = func(reason string) { b.gaveUp = append(b.gaveUp, reason) }
	root := actors.System().Root
	name := fmt.Sprint("boss-", bossNumber.Add(1))
	pid, err := root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return b }), name)
	must(t, err)
	b.pid = pid
	t.Cleanup(b.end)
	synctest.Wait()
	return b
}

func (b *boss) end() {
	if _, ok := actors.System().ProcessRegistry.GetLocal(b.pid.Id); ok {
		actors.System().Root.Stop(b.pid)
	}
	synctest.Wait()
}

func (b *boss) child(name string) *actor.PID { return actor.NewPID(b.pid.Address, b.pid.Id+"/"+name) }

func (b *boss) tell(name string, m any) {
	actors.System().Root.Send(b.child(name), m)
	synctest.Wait()
}

func (b *boss) alive(name string) bool {
	_, ok := actors.System().ProcessRegistry.GetLocal(b.pid.Id + "/" + name)
	return ok
}

// worker is a child that counts; the diary outlives its restarts.
type worker struct {
	diary *diary
	count int
}

type diary struct {
	// What a timer sets off is not ordered after a test's last look, hence the lock.
	mu           sync.Mutex
	incarnations int
	counts       []int
	grandchild   *actor.PID
}

func (w *worker) Receive(ctx actor.Context) {
	defer actors.Trace("worker")
	switch m := ctx.Message().(type) {
	case *actor.Started:
		grandchild := ctx.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
		w.diary.mu.Lock()
		w.diary.incarnations++
		w.diary.grandchild = grandchild
		w.diary.mu.Unlock()
	case *actors.Crash:
		explode(m.Reason)
	case int:
		w.count++
		w.diary.mu.Lock()
		w.diary.counts = append(w.diary.counts, w.count)
		w.diary.mu.Unlock()
	case chan struct{}:
		<-m
	case string:
		ctx.Stop(ctx.Self())
	}
}

func explode(reason any) { panic(reason) }

func (d *diary) read() (incarnations int, counts []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.incarnations, slices.Clone(d.counts)
}

func (d *diary) expect(t *testing.T, when string, incarnations int, counts ...int) {
	t.Helper()
	n, c := d.read()
	equal(t, "incarnations "+when, n, incarnations)
	equalSlices(t, "counts "+when, c, counts)
}

func (d *diary) props(opts ...actor.PropsOption) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &worker{diary: d} }, opts...)
}

var budget = actors.Budget{Failures: 3, Within: time.Minute}

func TestRestartGivesFreshStateAndKeepsTheMailbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := employ(t, actors.Spec{Name: "w", Kind: actors.Permanent, Budget: budget, Backoff: actors.Backoff{Min: time.Second, Max: time.Second}, Props: d.props()})
		b.tell("w", 1)
		b.tell("w", &actors.Crash{Reason: "boom"})
		b.tell("w", 1) // waits in the mailbox of the crashed child
		b.tell("w", 1)
		d.expect(t, "before the restart", 1, 1)
		time.Sleep(time.Second)
		synctest.Wait()
		d.expect(t, "after it", 2, 1, 1, 2)
		equal(t, "failures told", len(b.failed), 1)
		equal(t, "action", b.failed[0].Action, actors.ActRestart)
	})
}

func TestResumeKeepsStateAndChildren(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := employ(t, actors.Spec{Name: "w", Kind: actors.Permanent, Recovery: actors.Resume, Budget: budget, Props: d.props()})
		b.tell("w", 1)
		grandchild := d.grandchild
		b.tell("w", &actors.Crash{Reason: "boom"})
		b.tell("w", 1)
		d.expect(t, "at the end", 1, 1, 2)
		if _, ok := actors.System().ProcessRegistry.GetLocal(grandchild.Id); !ok {
			t.Error("the child's own child was stopped")
		}
		equal(t, "action", b.failed[0].Action, actors.ActResume)
	})
}

func TestATemporaryChildIsStoppedAndNobodyGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := employ(t, actors.Spec{Name: "w", Props: d.props()})
		b.tell("w", &actors.Crash{Reason: "boom"})
		equal(t, "alive", b.alive("w"), false)
		equal(t, "action", b.failed[0].Action, actors.ActStop)
		equal(t, "gave up", len(b.gaveUp), 0)
	})
}

func TestAChildThatIsNotInTheListIsStoppedWhenItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := employ(t)
		actors.System().Root.Send(b.pid, func(ctx actor.Context) { ctx.SpawnNamed(d.props(), "stranger") })
		synctest.Wait()
		b.tell("stranger", &actors.Crash{Reason: "boom"})
		equal(t, "alive", b.alive("stranger"), false)
		equal(t, "failures told", len(b.failed), 0)
	})
}

func TestASupervisorGivesUpOncePastTheBudgetAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, d2 := new(diary), new(diary)
		b := employ(t, actors.Spec{Name: "w", Kind: actors.Permanent, Budget: budget, Props: d.props()},
			actors.Spec{Name: "w2", Kind: actors.Permanent, Props: d2.props()})
		for range 3 {
			b.tell("w", &actors.Crash{Reason: "boom"})
		}
		equal(t, "alive at the budget", b.alive("w"), true)
		equal(t, "Alive at the budget", b.Alive(b.child("w")), true)
		equal(t, "gave up at the budget", len(b.gaveUp), 0)
		b.tell("w", &actors.Crash{Reason: "boom"})
		equal(t, "alive past the budget", b.alive("w"), false)
		equal(t, "Alive past the budget", b.Alive(b.child("w")), false)
		b.tell("w2", "stop")
		d.expect(t, "at the end", 4)
		equalSlices(t, "gave up", b.gaveUp, []string{"w failed 4 times within 1m0s"})
		for i, f := range b.failed {
			equal(t, "attempt", f.Attempt, i+1)
		}
		equal(t, "last action", b.failed[3].Action, actors.ActGiveUp)
	})
}

func TestFailuresThatAreOldEnoughDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := employ(t, actors.Spec{Name: "w", Kind: actors.Permanent, Budget: budget, Props: new(diary).props()})
		for range 20 {
			b.tell("w", &actors.Crash{Reason: "boom"})
			time.Sleep(20 * time.Second) // three in any minute
		}
		equal(t, "gave up", len(b.gaveUp), 0)
		equal(t, "attempt", b.failed[19].Attempt, 3)
	})
}

func TestThePermanentChildThatEndsByItselfMakesTheSupervisorGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := employ(t, actors.Spec{Name: "temporary", Props: new(diary).props()},
			actors.Spec{Name: "w", Kind: actors.Permanent, Props: new(diary).props()})
		b.tell("temporary", "stop")
		equal(t, "gave up", len(b.gaveUp), 0)
		b.tell("w", "stop")
		equalSlices(t, "gave up", b.gaveUp, []string{"w ended by itself"})
		b.Ended(b.pid) // not a child: nothing
		equal(t, "failures told", len(b.failed), 0)
	})
}

func TestBackoffDelaysTheRestartAndOnlyThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := employ(t, actors.Spec{
			Name: "w", Kind: actors.Permanent, Budget: actors.Budget{Failures: 9, Within: time.Hour}, Props: d.props(),
			Backoff: actors.Backoff{Min: time.Second, Max: 3 * time.Second},
		})
		for i, wait := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
			b.tell("w", &actors.Crash{Reason: "boom"})
			time.Sleep(wait - time.Nanosecond)
			synctest.Wait()
			d.expect(t, "just before the wait is over", i+1)
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			d.expect(t, "when it is over", i+2)
		}
	})
}

func TestABackoffThatOutlastsItsSupervisorBringsNobodyBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := employ(t, actors.Spec{Name: "w", Kind: actors.Permanent, Budget: budget, Backoff: actors.Backoff{Min: time.Hour, Max: time.Hour}, Props: d.props()})
		b.tell("w", &actors.Crash{Reason: "boom"})
		b.end()
		equal(t, "alive", b.alive("w"), false)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		d.expect(t, "at the end", 1)
	})
}

func TestABackoffIsOffWhenTheChildEndedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(diary)
		b := employ(t, actors.Spec{Name: "w", Kind: actors.Permanent, Budget: budget, Backoff: actors.Backoff{Min: time.Hour, Max: time.Hour}, Props: d.props()})
		b.tell("w", &actors.Crash{Reason: "boom"})
		actors.System().Root.Stop(b.child("w"))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		d.expect(t, "at the end", 1)
		equalSlices(t, "gave up", b.gaveUp, []string{"w ended by itself"})
	})
}

func TestAFailureIsToldAndLoggedWithTheStackOfThePanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		boom := errors.New("boom")
		b := employ(t, actors.Spec{Name: "w", Kind: actors.Permanent, Budget: budget, Props: new(diary).props()})
		b.tell("w", &actors.Crash{Reason: boom})
		f := b.failed[0]
		var pe *actors.PanicError
		if !errors.As(f.Err, &pe) || !errors.Is(f.Err, boom) || pe.Op != "worker" {
			t.Fatalf("error: %#v", f.Err)
		}
		equal(t, "op", f.Op, b.pid.Id+"/w")
		if !strings.Contains(string(pe.Stack), "actors_test.explode") {
			t.Errorf("the stack is not the panic's:\n%s", pe.Stack)
		}
		line := b.log.String()
		for _, part := range []string{"level=ERROR", "op=" + b.pid.Id + "/w", "panic in worker: boom", "attempt=1", "action=restart", "actors_test.explode"} {
			if !strings.Contains(line, part) {
				t.Errorf("the log line lacks %q:\n%s", part, line)
			}
		}
		equal(t, "log lines", strings.Count(line, "\n"), 1)
	})
}

func TestAFailureThatIsNoPanicIsAWarning(t *testing.T) {
	var out bytes.Buffer
	f := &actors.Failed{Op: "redis", Err: errors.New("refused")}
	f.Log(nil)
	f.Log(slog.New(slog.NewTextHandler(&out, nil)))
	if line := out.String(); !strings.Contains(line, "level=WARN") || !strings.Contains(line, "op=redis error=refused") {
		t.Error(line)
	}
}

func TestStartSaysWhichChildCouldNotBeStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := employ(t)
		twice := []actors.Spec{{Name: "twin", Props: new(diary).props()}, {Name: "twin", Props: new(diary).props()}}
		var err error
		actors.System().Root.Send(b.pid, func(ctx actor.Context) { err = b.Start(ctx, twice) })
		synctest.Wait()
		if !errors.Is(err, actor.ErrNameExists) || !strings.Contains(err.Error(), "starting twin") {
			t.Error(err)
		}
	})
}
