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
	queue   []func()
	head    int
	given   uint64    // how many jobs were ever scheduled: the number of the next
	busy    int       // workers that run
	workers []uint64  // of each that may run: the number of the first job it has in hand, or none
	waiting []settler // in Settle
}

// none is what a worker that does not run has in hand.
const none = math.MaxUint64

type settler struct {
	upTo    uint64
	reached chan struct{}
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
	p.queue = append(p.queue, fn)
	p.given++
	p.mu.Unlock()
	if idle >= 0 {
		go p.work(idle)
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
	return min(p.given-uint64(len(p.queue)-p.head), slices.Min(p.workers))
}

func (p *Pool) work(worker int) {
	var jobs [32]func()
	for {
		n := p.take(worker, jobs[:])
		if n == 0 {
			return
		}
		for i, job := range jobs[:n] {
			jobs[i] = nil
			job()
		}
	}
}

// take moves queued jobs to dst; with none left it signs the worker off.
func (p *Pool) take(worker int, dst []func()) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers[worker] = p.given - uint64(len(p.queue)-p.head)
	n := copy(dst, p.queue[p.head:])
	if n == 0 {
		p.workers[worker] = none
		p.busy--
	}
	clear(p.queue[p.head : p.head+n])
	p.head += n
	switch {
	case p.head == len(p.queue):
		p.queue, p.head = p.queue[:0], 0
		if cap(p.queue) > 1<<14 {
			p.queue = nil
		}
	case p.head > len(p.queue)/2: // of a pool that is never idle, the queue would grow forever
		left := copy(p.queue, p.queue[p.head:])
		clear(p.queue[left:])
		p.queue, p.head = p.queue[:left], 0
	}
	if len(p.waiting) > 0 {
		done := p.done()
		p.waiting = slices.DeleteFunc(p.waiting, func(w settler) bool {
			if w.upTo > done {
				return false
			}
			close(w.reached)
			return true
		})
	}
	return n
}
