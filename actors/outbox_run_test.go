package actors_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"weak"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

func TestARunIsScheduledAtMostOnceAtATime(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(any) {
		o.PostUserMessage("more")
		equal(t, "runs scheduled during a run", d.pending(), 0)
		r.hook = nil
	}
	for range 3 {
		must(t, o.Send(frame("x")))
		o.PostUserMessage("control")
		o.PostSystemMessage("system")
		o.Resume()
		o.Release()
		equal(t, "runs scheduled", d.pending(), 1)
	}
	d.drain()
	equal(t, "messages handed over", len(r.got), 3+3+1+1)
}

func TestALongRunLetsOthersInEvery32Messages(t *testing.T) {
	o, r, d := outbox(8)
	for i := range 70 {
		o.PostUserMessage(i)
	}
	others := 0
	d.Schedule(func() { others++ })
	for _, want := range []int{32, 32, 64, 70} { // the second step is the others'
		d.step()
		equal(t, "messages after this step", len(r.got), want)
		if d.pending() > 2 {
			t.Errorf("%d runs scheduled", d.pending())
		}
	}
	equal(t, "the others ran", others, 1)
	equal(t, "runs scheduled at the end", d.pending(), 0)
	for i, m := range r.got {
		equal(t, "order", m, any(i))
	}
}

func TestAPanicSuspendsTheOutboxUntilTheSupervisorResumesIt(t *testing.T) {
	o, r, d := outbox(8)
	boom := errors.New("boom")
	r.hook = func(m any) {
		if m == "bad" {
			o.PostSystemMessage(&actor.SuspendMailbox{}) // as EscalateFailure does
			panic(boom)
		}
	}
	for _, m := range []any{"good", "bad", "next", frame("a")} {
		o.PostUserMessage(m)
	}
	d.drain()
	r.expect(t, "good", "bad")
	o.PostUserMessage("while suspended")
	must(t, o.Send(frame("b")))
	d.drain()
	r.expect(t)
	equalSlices(t, "escalated with", r.failedOn, []any{"bad"})
	pe, ok := r.escalated[0].(*actors.PanicError)
	if !ok || !errors.Is(pe, boom) || !strings.Contains(string(pe.Stack), "TestAPanicSuspendsTheOutbox") {
		t.Errorf("escalated: %#v", r.escalated[0])
	}
	o.PostSystemMessage("restart") // a suspended outbox hands over system messages
	d.drain()
	r.expect(t, "restart")
	o.PostSystemMessage(&actor.ResumeMailbox{})
	d.drain()
	r.expect(t, "next", "while suspended", []string{"a", "b"})
}

func TestAPanicOnABatchCostsThatBatchAndNoOther(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(m any) {
		if b, ok := m.(*actors.Batch); ok && b.Frames[0].Len() == 3 {
			panic("boom")
		}
	}
	must(t, o.Send(frame("bad")))
	d.drain()
	for i := range 8 {
		must(t, o.Send(frame(fmt.Sprint(i))))
	}
	d.drain()
	r.expect(t, []string{"bad"}, []string{"0", "1", "2", "3", "4", "5", "6", "7"})
	equal(t, "failures", len(r.escalated), 1)
	if b, ok := r.failedOn[0].(*actors.Batch); !ok || string(b.Frames[0].Payload()) != "bad" {
		t.Errorf("the batch that failed was reused: %v", r.failedOn)
	}
}

func TestTheEndOfItsGoroutineIsAFailureToo(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(m any) {
		if m == "bad" {
			runtime.Goexit()
		}
	}
	for _, m := range []any{"good", "bad", "next"} {
		o.PostUserMessage(m)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.step()
	}()
	<-ended
	r.expect(t, "good", "bad")
	equalSlices(t, "escalated with", r.failedOn, []any{"bad"})
	var pe *actors.PanicError
	if err, ok := r.escalated[0].(error); !ok || !errors.As(err, &pe) || pe.Op != "connection" {
		t.Errorf("escalated: %#v", r.escalated[0])
	}
	equal(t, "runs scheduled", d.pending(), 1) // where it can go on
	d.drain()
	r.expect(t, "next")
}

func TestAPanicInASystemMessageIsEscalatedToo(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(m any) {
		if m == "system" {
			panic("boom")
		}
	}
	o.PostSystemMessage("system")
	o.PostSystemMessage("next")
	d.drain()
	r.expect(t, "system", "next")
	equalSlices(t, "escalated with", r.failedOn, []any{"system"})
}

func TestDiscardLetsGoOfTheActorAndOfAllThatWasQueued(t *testing.T) {
	o := actors.NewOutbox(8)
	r, d := new(recorder), new(manual)
	queued, held, control := frame("queued"), frame("held"), new([64]byte)
	wr, wd := weak.Make(r), weak.Make(d)
	wq, wh, wc := weak.Make(queued), weak.Make(held), weak.Make(control)
	attach(o, r, d)
	must(t, o.Send(queued))
	o.Hold()
	o.PostUserMessage(held)
	o.Discard()
	o.PostUserMessage(control)
	o.PostSystemMessage(control)
	must(t, errIfNot(o.Send(frame("late")), actors.ErrHubStopped))
	o.PostUserMessage(frame("late"))
	o.Resume()
	o.Release()
	equal(t, "runs scheduled after Discard", d.pending(), 0)
	equal(t, "reason", o.Reason(), actors.ReasonClosed)
	equal(t, "messages waiting", o.UserMessageCount(), 0)
	equal(t, "drained", o.Drained(), true)
	r, d, queued, held, control = nil, nil, nil, nil, nil
	runtime.GC()
	runtime.GC()
	for what, kept := range map[string]bool{
		"the actor": wr.Value() != nil, "the dispatcher": wd.Value() != nil, "a queued frame": wq.Value() != nil,
		"a held frame": wh.Value() != nil, "a control message": wc.Value() != nil,
	} {
		equal(t, "the outbox keeps "+what, kept, false)
	}
	runtime.KeepAlive(o)
}

func TestARunThatWasScheduledBeforeDiscardLetsGoToo(t *testing.T) {
	o, r, d := outbox(8)
	wr := weak.Make(r)
	o.PostUserMessage("never")
	o.Discard()
	d.drain()
	r.expect(t)
	r = nil
	runtime.GC()
	equal(t, "the outbox keeps the actor", wr.Value() != nil, false)
	runtime.KeepAlive(o)
}

func TestABatchThatIsReusedKeepsNoFrameAlive(t *testing.T) {
	o, r, d := outbox(8)
	f := frame("delivered")
	w := weak.Make(f)
	must(t, o.Send(f))
	d.drain()
	f = nil
	runtime.GC() // one only: the pool gives its batches up at the second
	equal(t, "the frame is kept", w.Value() != nil, false)
	r.expect(t, []string{"delivered"})
	runtime.KeepAlive(o)
}

func TestStopEndsTheActorBeforeAnythingElse(t *testing.T) {
	o, r, d := outbox(8)
	o.PostUserMessage("control")
	must(t, o.Send(frame("a")))
	o.Stop()
	r.hook = func(m any) {
		if _, ok := m.(*actor.Stop); ok {
			o.Discard()
		}
	}
	d.drain()
	r.expect(t, &actor.Stop{})
}

func errIfNot(got, want error) error {
	if !errors.Is(got, want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

func TestDiscardKeepsTheReasonItWasClosedFor(t *testing.T) {
	o, _, _ := outbox(8)
	o.Close(&actors.Close{Reason: actors.ReasonPing})
	o.Discard()
	equal(t, "reason", o.Reason(), actors.ReasonPing)
}

func TestDiscardWithinReceiveEndsTheRun(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(m any) {
		if m == "stop" {
			o.Discard()
		}
	}
	o.PostUserMessage("stop")
	o.PostUserMessage("never")
	must(t, o.Send(frame("never")))
	d.drain()
	o.PostUserMessage("never")
	d.drain()
	r.expect(t, "stop")
}

func TestWhoWatchesAnActorThatHasJustStoppedIsStillAnswered(t *testing.T) {
	o, r, d := outbox(8)
	watch := &actor.Watch{Watcher: actor.NewPID("a", "watcher")}
	o.PostSystemMessage(&actor.Stop{})
	o.PostSystemMessage(watch)            // sent before the PID was gone
	o.PostSystemMessage(&actor.Restart{}) // would bring a zombie to life
	r.hook = func(m any) {
		if _, ok := m.(*actor.Stop); ok {
			o.Discard()
		}
	}
	d.drain()
	r.expect(t, &actor.Stop{}, watch)
}

func TestAFullRunThatEndsInDiscardGoesIdle(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(any) {
		if len(r.got) == 32 {
			o.Discard()
		}
	}
	for i := range 64 {
		o.PostUserMessage(i)
	}
	d.drain()
	equal(t, "messages handed over", len(r.got), 32)
	equal(t, "runs scheduled", d.pending(), 0)
}

func TestPostingAndDeliveringABroadcastAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under -race")
	}
	for _, per := range []int{1, 64} {
		b := newBench(64)
		equal(t, fmt.Sprintf("allocations for a batch of %d", per), testing.AllocsPerRun(1000, func() { b.deliver(per) }), 0)
	}
}

// bench is an outbox with nothing around it that allocates: a slot for the one run, a counter for the frames.
type bench struct {
	*actors.Outbox
	run    func()
	frame  *actors.Frame
	frames int
}

func newBench(limit int) *bench {
	b := &bench{Outbox: actors.NewOutbox(limit), frame: frame("0123456789")}
	attach(b.Outbox, b, b)
	b.Resume()
	return b
}

func (b *bench) Throughput() int               { return 32 }
func (b *bench) Schedule(fn func())            { b.run = fn }
func (b *bench) InvokeSystemMessage(any)       {}
func (b *bench) EscalateFailure(reason, _ any) { panic(reason) }
func (b *bench) InvokeUserMessage(m any)       { b.frames += len(m.(*actors.Batch).Frames) }

func (b *bench) deliver(n int) {
	for range n {
		b.PostUserMessage(b.frame)
	}
	b.run()
}
