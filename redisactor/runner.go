package redisactor

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// idleFor is how long a goroutine of a runner waits for more to do.
const idleFor = time.Second

// runner starts functions, each at once in a goroutine, which then waits for the next: one that is new each time would
// spend more on growing its stack than on the few messages that a mailbox holds. It is a protoactor Dispatcher.
type runner struct {
	keep    int32 // how many goroutines may wait
	yield   bool  // let everybody who is ready to run go first
	waiting atomic.Int32
	next    chan func()
	closed  chan struct{}
	once    sync.Once
}

func newRunner(keep int32, yield bool) *runner {
	return &runner{keep: keep, yield: yield, next: make(chan func()), closed: make(chan struct{})}
}

// Throughput is how many messages a mailbox handles before it lets others run.
func (*runner) Throughput() int { return 300 }

// Schedule has fn run and returns at once.
func (r *runner) Schedule(fn func()) {
	select {
	case r.next <- fn:
	default:
		go r.run(fn)
	}
}

func (r *runner) run(fn func()) {
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
func (r *runner) wait(idle <-chan time.Time) (fn func()) {
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

// close ends the goroutines that wait. What is scheduled later runs all the same.
func (r *runner) close() { r.once.Do(func() { close(r.closed) }) }
