package actors_test

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"go.uber.org/goleak"

	"github.com/wskit/wskit/actors"
)

func TestMain(m *testing.M) {
	actors.System() // the process keeps it for good, and it must not be made inside a synctest bubble
	if raceEnabled {
		fmt.Fprintln(os.Stderr, "actors: with -race the allocation tests are skipped: sync.Pool drops items at random there")
	}
	goleak.VerifyTestMain(m)
}

// manual is a dispatcher that runs what was scheduled when the test says so.
type manual struct {
	mu   sync.Mutex
	jobs []func()
}

func (d *manual) Throughput() int { return 32 }

func (d *manual) Schedule(fn func()) {
	d.mu.Lock()
	d.jobs = append(d.jobs, fn)
	d.mu.Unlock()
}

func (d *manual) pending() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.jobs)
}

// step runs the oldest scheduled run; false if there was none.
func (d *manual) step() bool {
	d.mu.Lock()
	if len(d.jobs) == 0 {
		d.mu.Unlock()
		return false
	}
	job := d.jobs[0]
	d.jobs = d.jobs[1:]
	d.mu.Unlock()
	job()
	return true
}

func (d *manual) drain() {
	for d.step() {
	}
}

// recorder stands where protoactor's actor context does. It writes down what it is handed; a batch as the list of its
// payloads, because a batch is valid during the call only.
type recorder struct {
	got       []any
	escalated []any
	failedOn  []any
	hook      func(message any)
}

func (r *recorder) InvokeUserMessage(m any) {
	if b, ok := m.(*actors.Batch); ok {
		r.got = append(r.got, payloads(b))
	} else {
		r.got = append(r.got, m)
	}
	if r.hook != nil {
		r.hook(m)
	}
}

func (r *recorder) InvokeSystemMessage(m any) { r.InvokeUserMessage(m) }

func (r *recorder) EscalateFailure(reason, message any) {
	r.escalated = append(r.escalated, reason)
	r.failedOn = append(r.failedOn, message)
}

func (r *recorder) frames() (all []string) {
	for _, m := range r.got {
		if batch, ok := m.([]string); ok {
			all = append(all, batch...)
		}
	}
	return all
}

func (r *recorder) expect(t testing.TB, want ...any) {
	t.Helper()
	if got, want := fmt.Sprint(describe(r.got)), fmt.Sprint(describe(want)); got != want {
		t.Errorf("the actor was handed\n\t%v, want\n\t%v", got, want)
	}
	r.got = nil
}

func describe(messages []any) (out []string) {
	for _, m := range messages {
		switch m := m.(type) {
		case *actors.Overflowed:
			out = append(out, fmt.Sprintf("overflowed(%d)", m.Count))
		case *actors.Close:
			out = append(out, "close("+m.Reason.String()+")")
		default:
			out = append(out, fmt.Sprintf("%v", m))
		}
	}
	return out
}

func payloads(b *actors.Batch) (out []string) {
	for f := range b.Messages {
		out = append(out, string(f.Payload()))
	}
	return out
}

func frame(s string) *actors.Frame { return actors.NewFrame([]byte(s)) }

// outbox is an Outbox with a recorder behind it, driven by hand, and not paused.
func outbox(limit int) (*actors.Outbox, *recorder, *manual) {
	o, r, d := actors.NewOutbox(limit), new(recorder), new(manual)
	attach(o, r, d)
	o.Resume()
	return o, r, d
}

func attach(o *actors.Outbox, invoker actor.MessageInvoker, d actor.Dispatcher) {
	o.RegisterHandlers(invoker, d)
	o.Start()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func equalSlices[T comparable](t testing.TB, what string, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}
