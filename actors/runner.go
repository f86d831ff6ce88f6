package actors

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// idleFor is how long a goroutine of a Runner waits for more to do.
const idleFor = time.Second

// Runner starts functions, each at once on a goroutine, which then waits for the next: one that is new each time would
// spend more on growing its stack than on the little there is to do. What runs may block, and may end its goroutine. It
// is a protoactor Dispatcher.
type Runner struct {
	keep    int32 // how many goroutines may wait
	yield   bool  // let everybody who is ready to run go first
	waiting atomic.Int32
	next    chan func()
	closed  chan struct{}
	once    sync.Once
}

// NewRunner makes a runner of which at most keep goroutines wait, for a second each. With yield whoever is ready to run
// goes before what is scheduled: it may have more of the same.
func NewRunner(keep int, yield bool) *Runner {
	return &Runner{keep: int32(keep), yield: yield, next: make(chan func()), closed: make(chan struct{})}
}

// Throughput is how many messages a mailbox handles before it lets others run.
func (*Runner) Throughput() int { return 300 }

// Schedule has fn run and returns at once.
func (r *Runner) Schedule(fn func()) {
	select {
	case r.next <- fn:
	default:
		go r.run(fn)
	}
}

func (r *Runner) run(fn func()) {
	idle := time.NewTimer(idleFor)
	defer idle.Stop()
	for fn != nil {
		if r.yield {
			runtime.Gosched()
		}
		fn()
		idle.Reset(idleFor)
		fn = r.wait(idle.C)
	}
}

// wait returns what to run next; nil: the goroutine is not needed any more.
func (r *Runner) wait(idle <-chan time.Time) (fn func()) {
	if r.waiting.Add(1) <= r.keep {
		select {
		case fn = <-r.next:
		case <-idle:
		case <-r.closed:
		}
	}
	r.waiting.Add(-1)
	return fn
}

// Isolate is Fence on a goroutine of the runner, which it waits for: runtime.Goexit, which a test's FailNow calls, ends that
// and not the caller.
func (r *Runner) Isolate(op string, fn func()) error {
	if fn == nil {
		return nil
	}
	done := make(chan error, 1)
	r.Start(op, fn, func(err error) { done <- err })
	return <-done
}

// Start is Isolate that does not wait: done is called with what Isolate would return, on that goroutine.
func (r *Runner) Start(op string, fn func(), done func(error)) {
	r.Schedule(func() {
		err := NewGoexitError(op)
		defer func() { done(err) }()
		err = Fence(op, fn)
	})
}

// Close ends the goroutines that wait. What is scheduled later runs all the same.
func (r *Runner) Close() { r.once.Do(func() { close(r.closed) }) }
