package actors

import (
	"math"
	"runtime"
	"slices"
	"sync"
)

// Pool is a protoactor Dispatcher that runs mailboxes on a few goroutines, made on demand and gone when idle. It spares a
// fan-out the goroutine start per connection. What runs on it must not block.
type Pool struct {
	mu      sync.Mutex
	queue   queue[func()]
	given   uint64    // how many jobs were ever scheduled: the number of the next
	busy    int       // workers that run
	workers []uint64  // of each that may run: the number of the first job it has in hand, or none
	waiting []settler // in Settle
}

// none is what a worker that does not run has in hand.
const none = math.MaxUint64

// settler waits until all jobs with a lower number have run.
type settler struct {
	upTo    uint64
	reached chan struct{}
}

// reached lets those go on who wait for no job with that number or a higher one, and returns the others.
func reached(waiting []settler, number uint64) []settler {
	return slices.DeleteFunc(waiting, func(w settler) bool {
		if w.upTo > number {
			return false
		}
		close(w.reached)
		return true
	})
}

// NewPool makes a pool of at most limit goroutines; limit < 1 means GOMAXPROCS.
func NewPool(limit int) *Pool {
	if limit < 1 {
		limit = runtime.GOMAXPROCS(0)
	}
	return &Pool{workers: slices.Repeat([]uint64{none}, limit)}
}

// Throughput is how many messages a mailbox handles before it lets others run.
func (*Pool) Throughput() int { return 32 }

// Schedule queues fn and returns at once.
func (p *Pool) Schedule(fn func()) {
	p.mu.Lock()
	idle := -1
	if p.busy < len(p.workers) {
		idle = slices.Index(p.workers, none)
		p.workers[idle] = p.given
		p.busy++
	}
	p.queue.add(fn)
	p.given++
	p.mu.Unlock()
	if idle >= 0 {
		go p.work(idle, nil)
	}
}

// Settle waits until everything that was scheduled before has run. Since nothing on the pool blocks, that is soon.
func (p *Pool) Settle() {
	p.mu.Lock()
	if p.done() >= p.given {
		p.mu.Unlock()
		return
	}
	w := settler{p.given, make(chan struct{})}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	<-w.reached
}

// done is the number of the first job that has not run.
func (p *Pool) done() uint64 {
	return min(p.given-uint64(p.queue.len()), slices.Min(p.workers))
}

// handful is what a worker has in hand.
type handful struct {
	jobs     [32]func()
	at, size int
}

// work goes on with what another left, if it is not nil.
func (p *Pool) work(worker int, left *handful) {
	var hand handful
	if left != nil {
		hand = *left
	}
	over := false
	defer func() {
		if !over { // a job has ended this goroutine
			left := hand
			go p.work(worker, &left)
		}
	}()
	for !over {
		for hand.at < hand.size {
			job := hand.jobs[hand.at]
			hand.jobs[hand.at] = nil
			hand.at++
			job()
		}
		hand.at, hand.size = 0, p.take(worker, hand.jobs[:])
		over = hand.size == 0
	}
}

// take moves queued jobs to dst; with none left it signs the worker off.
func (p *Pool) take(worker int, dst []func()) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers[worker] = p.given - uint64(p.queue.len())
	n := p.queue.take(dst)
	if n == 0 {
		p.workers[worker] = none
		p.busy--
	}
	if len(p.waiting) > 0 {
		p.waiting = reached(p.waiting, p.done())
	}
	return n
}
