package actors_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"pgregory.net/rapid"

	"github.com/wskit/wskit/actors"
)

// outboxModel is what an Outbox should be, as slices. Messages are strings, and those of a bundle that was queued whole stay
// together; control and system messages are told apart by type.
type outboxModel struct {
	limit                              int
	queue, held                        [][]string
	control, system                    []any
	dropped                            int
	closed, holding, paused, suspended bool
}

func (m *outboxModel) push(q *[][]string, bundle ...string) bool {
	switch {
	case count(*q)+len(bundle) <= m.limit:
		m.endEpisode()
		*q = append(*q, bundle)
		return true
	case len(bundle) > 1:
		for _, s := range bundle {
			m.push(q, s)
		}
		return false
	}
	m.dropped++
	return false
}

func count(q [][]string) (n int) {
	for _, bundle := range q {
		n += len(bundle)
	}
	return n
}

func size(bundle []string) (n int) {
	for _, s := range bundle {
		n += len(s)
	}
	return n
}

func (m *outboxModel) endEpisode() {
	if m.dropped > 0 {
		m.control = append(m.control, fmt.Sprintf("overflowed(%d)", m.dropped))
		m.dropped = 0
	}
}

func (m *outboxModel) ready() bool {
	return len(m.system) > 0 || !m.suspended && (len(m.control) > 0 || len(m.queue) > 0 && !m.paused)
}

// next is the message that a run must hand over now; nil if it must end.
func (m *outboxModel) next() any {
	for len(m.system) > 0 {
		message := m.system[0]
		m.system = m.system[1:]
		switch message.(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
		case *actor.ResumeMailbox:
			m.suspended = false
		default:
			return message
		}
	}
	if !m.ready() {
		return nil
	}
	if len(m.control) > 0 {
		message := m.control[0]
		m.control = m.control[1:]
		return message
	}
	n, bytes := 1, size(m.queue[0])
	for n < len(m.queue) && bytes+size(m.queue[n]) <= 16<<10 {
		bytes += size(m.queue[n])
		n++
	}
	batch := slices.Concat(m.queue[:n]...)
	m.queue = m.queue[n:]
	return batch
}

// outboxMachine drives an Outbox and its model side by side. The actor itself acts too, in the middle of a run.
type outboxMachine struct {
	t     *rapid.T
	o     *actors.Outbox
	m     outboxModel
	d     manual
	seq   int
	steps int  // messages handed over in this run
	actor bool // the actor is acting
	quiet bool // the actor only takes what it is handed
}

func (x *outboxMachine) InvokeSystemMessage(m any) { x.InvokeUserMessage(m) }
func (x *outboxMachine) InvokeUserMessage(m any) {
	x.steps++
	got := m
	switch m := m.(type) {
	case *actors.Batch:
		got = payloads(m)
	case *actors.Overflowed:
		got = fmt.Sprintf("overflowed(%d)", m.Count)
	}
	want := x.m.next()
	if brief(got) != brief(want) {
		x.t.Fatalf("handed over %v, want %v", brief(got), brief(want))
	}
	if x.quiet {
		return
	}
	if x.actor = rapid.IntRange(0, 3).Draw(x.t, "actor") == 0; x.actor {
		x.act()
		x.actor = false
	}
	if rapid.IntRange(0, 9).Draw(x.t, "panic") == 0 {
		panic("boom")
	}
}

func (x *outboxMachine) EscalateFailure(reason, _ any) {
	if pe := reason.(*actors.PanicError); pe.Value != "boom" {
		panic(pe.Value) // rapid's own, not the actor's
	}
	x.system(&actor.SuspendMailbox{})
	x.steps = -32 // a panic starts the count of a run anew
}

func brief(m any) string {
	batch, ok := m.([]string)
	if !ok {
		return fmt.Sprintf("%T %v", m, m)
	}
	var b strings.Builder
	for _, s := range batch {
		name, _, _ := strings.Cut(s, " ")
		fmt.Fprintf(&b, "%s(%d) ", name, len(s))
	}
	return b.String()
}

// payload is the next message's: numbered, and now and then so long that batches split.
func (x *outboxMachine) payload() string {
	x.seq++
	n := rapid.SampledFrom([]int{0, 0, 0, 10, 5 << 10, 10 << 10, 70 << 10}).Draw(x.t, "size")
	return fmt.Sprint(x.seq, " ") + strings.Repeat("x", n)
}

func (x *outboxMachine) system(m any) {
	x.m.system = append(x.m.system, m)
	x.o.PostSystemMessage(m)
}

func (x *outboxMachine) act() {
	switch rapid.SampledFrom([]string{
		"send", "send", "send", "broadcast", "broadcast", "bundle", "bundle", "control", "hold", "release", "pause", "resume", "resume",
		"close", "suspend", "continue", "continue", "system", "run", "run", "run",
	}).Draw(x.t, "action") {
	case "send":
		s := x.payload()
		var want error
		if x.m.closed {
			want = actors.ErrHubStopped
		} else if !x.m.push(&x.m.queue, s) {
			want = actors.ErrSendBufferFull
		}
		if err := x.o.Send(frame(s)); !errors.Is(err, want) {
			x.t.Fatalf("Send: %v, want %v", err, want)
		}
	case "broadcast":
		s := x.payload()
		if !x.m.closed {
			if x.m.holding {
				x.m.push(&x.m.held, s)
			} else {
				x.m.push(&x.m.queue, s)
			}
		}
		x.o.PostUserMessage(frame(s))
	case "bundle":
		x.bundle()
	case "control":
		x.seq++
		x.m.control = append(x.m.control, x.seq)
		x.o.PostUserMessage(x.seq)
	case "hold":
		x.m.holding = true
		x.o.Hold()
	case "release":
		x.release()
	case "pause":
		x.m.paused = true
		x.o.Pause()
	case "resume":
		x.m.paused = false
		x.o.Resume()
	case "close":
		if rapid.IntRange(0, 3).Draw(x.t, "really") > 0 {
			return
		}
		c := &actors.Close{Reason: actors.Reason(rapid.IntRange(1, 9).Draw(x.t, "reason"))}
		first := !x.m.closed
		if first {
			x.m.closed = true
			x.m.endEpisode()
			x.m.control = append(x.m.control, c)
		}
		if got := x.o.Close(c); got != first {
			x.t.Fatalf("Close: %v, want %v", got, first)
		}
	case "suspend":
		x.system(&actor.SuspendMailbox{})
	case "continue":
		x.system(&actor.ResumeMailbox{})
	case "system":
		x.seq++
		x.system(x.seq)
	case "run":
		if !x.actor {
			x.run()
		}
	}
}

// bundle broadcasts several messages as the registry does: in as few frames as hold them.
func (x *outboxMachine) bundle() {
	var frames []*actors.Frame
	for range rapid.IntRange(2, 8).Draw(x.t, "messages") {
		frames = append(frames, frame(x.payload()))
	}
	for len(frames) > 0 {
		var f *actors.Frame
		f, frames = actors.Bundle(frames)
		if !x.m.closed && x.m.holding {
			x.m.push(&x.m.held, payloads(&actors.Batch{Frames: []*actors.Frame{f}})...)
		} else if !x.m.closed {
			x.m.push(&x.m.queue, payloads(&actors.Batch{Frames: []*actors.Frame{f}})...)
		}
		x.o.PostUserMessage(f)
	}
}

func (x *outboxMachine) release() {
	x.m.holding = false
	x.m.queue, x.m.held = append(x.m.queue, x.m.held...), nil
	x.o.Release()
}

func (x *outboxMachine) run() {
	x.steps = 0
	if !x.d.step() {
		return
	}
	if x.d.pending() > 0 { // made way after 32 messages
		if x.steps != 32 && x.steps != 0 {
			x.t.Fatalf("made way after %d messages", x.steps)
		}
		return
	}
	if left := x.m.next(); left != nil {
		x.t.Fatalf("the run ended before %v", brief(left))
	}
}

func (x *outboxMachine) check() {
	m, pending := &x.m, x.d.pending()
	if pending > 1 || m.ready() && pending == 0 {
		x.t.Fatalf("%d runs scheduled, ready: %v", pending, m.ready())
	}
	if got, want := x.o.UserMessageCount(), count(m.queue)+len(m.control); got != want {
		x.t.Fatalf("UserMessageCount %d, want %d", got, want)
	}
	if got, want := x.o.Drained(), len(m.queue)+len(m.held) == 0; got != want {
		x.t.Fatalf("Drained %v, want %v", got, want)
	}
	if got := x.o.Reason() != actors.ReasonNone; got != m.closed {
		x.t.Fatalf("closed %v, want %v", got, m.closed)
	}
}

func TestAnOutboxBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 6).Draw(t, "limit")
		x := &outboxMachine{t: t, o: actors.NewOutbox(limit), m: outboxModel{limit: limit, paused: true}}
		start := rapid.IntRange(0, 10).Draw(t, "actions before the actor exists")
		for i := range rapid.IntRange(start, 150).Draw(t, "actions") {
			if i == start {
				attach(x.o, x, &x.d)
			}
			x.act()
			if i >= start {
				x.check()
			}
		}
		attach(x.o, x, &x.d)
		x.quiet = true
		x.release()
		x.m.paused = false
		x.o.Resume()
		for x.m.ready() || len(x.m.queue) > 0 || len(x.m.control) > 0 {
			x.system(&actor.ResumeMailbox{})
			x.run()
		}
		x.check()
	})
}
