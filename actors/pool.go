package actors

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Pool is a protoactor Dispatcher that runs mailboxes on a few goroutines, made on demand and gone when idle. It spares a
// fan-out the goroutine start per connection.
//
// What runs on it must not block, unless the pool has patience. A job that takes longer than that keeps its goroutine and
// loses its place: what waited behind it goes on in another.
type Pool struct {
	patience time.Duration // 0: no job blocks

	mu      sync.Mutex
	queue   []func()
	head    int
	given   uint64      // how many jobs were ever scheduled: the number of the next
	busy    int         // places of workers that run
	workers []*worker   // one in each place
	waiting []settler   // in Settle
	watch   *time.Timer // of a pool with patience, while workers run
}

// worker is what a goroutine of a pool works with.
type worker struct {
	jobs    [32]func() // in hand
	count   int        // of them
	next    atomic.Int64
	first   uint64 // the number of jobs[0]; none while no goroutine runs
	seen    uint64 // how far it was when the watch looked last
	removed bool   // its job took too long: its place is another's
}

// none is what a worker that does not run has in hand.
const none = math.MaxUint64

type settler struct {
	upTo    uint64
	reached chan struct{}
}

// NewPool makes a pool of at most limit goroutines, beside those whose job has taken longer than patience, or twice that.
// limit < 1 means GOMAXPROCS; patience 0, that jobs do not block.
func NewPool(limit int, patience time.Duration) *Pool {
	if limit < 1 {
		limit = runtime.GOMAXPROCS(0)
	}
	p := &Pool{patience: patience, workers: make([]*worker, limit)}
	for i := range p.workers {
		p.workers[i] = &worker{first: none}
	}
	return p
}

// Throughput is how many messages a mailbox handles before it lets others run.
func (*Pool) Throughput() int { return 32 }

// Schedule queues fn and returns at once.
func (p *Pool) Schedule(fn func()) {
	p.mu.Lock()
	var idle *worker
	if p.busy < len(p.workers) {
		idle = p.workers[slices.IndexFunc(p.workers, func(w *worker) bool { return w.first == none })]
		idle.first = p.given
		p.busy++
	}
	p.queue = append(p.queue, fn)
	p.given++
	p.mu.Unlock()
	if idle != nil {
		go p.work(idle)
	}
}

// Settle waits until everything that was scheduled before has run, or has taken longer than the pool's patience.
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

// done is the number of the first job that Settle has to wait for.
func (p *Pool) done() uint64 {
	done := p.given - uint64(len(p.queue)-p.head)
	for _, w := range p.workers {
		done = min(done, w.first)
	}
	return done
}

// settle lets those go on who have waited long enough.
func (p *Pool) settle() {
	if len(p.waiting) == 0 {
		return
	}
	done := p.done()
	p.waiting = slices.DeleteFunc(p.waiting, func(w settler) bool {
		if w.upTo > done {
			return false
		}
		close(w.reached)
		return true
	})
}

func (p *Pool) work(w *worker) {
	over := false
	defer func() {
		if !over { // a job has ended this goroutine
			go p.work(w)
		}
	}()
	for {
		for i := w.claim(); i >= 0; i = w.claim() {
			job := w.jobs[i]
			w.jobs[i] = nil
			job()
		}
		if !p.take(w) {
			over = true
			return
		}
	}
}

// claim is the next job in hand; negative: there is none, or no longer.
func (w *worker) claim() int {
	if i := int(w.next.Add(1)) - 1; i < w.count {
		return i
	}
	return -1
}

// take moves queued jobs into w's hand. Without any it signs the worker off, and reports false.
func (p *Pool) take(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.removed {
		return false
	}
	w.first = p.given - uint64(len(p.queue)-p.head)
	w.count = copy(w.jobs[:], p.queue[p.head:])
	w.next.Store(0)
	if w.count == 0 {
		p.signOff(w)
	} else if p.patience > 0 && p.watch == nil {
		p.watch = time.AfterFunc(p.patience, p.look)
	}
	p.shift(w.count)
	p.settle()
	return w.count > 0
}

func (p *Pool) signOff(w *worker) {
	w.first = none
	p.busy--
	if p.busy == 0 && p.watch != nil {
		p.watch.Stop()
		p.watch = nil
	}
}

// shift removes the first n jobs from the queue.
func (p *Pool) shift(n int) {
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
}

// look replaces each worker that has got no further since the last look.
func (p *Pool) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watch == nil { // signed off meanwhile
		return
	}
	for place, w := range p.workers {
		if w.first == none {
			continue
		}
		if at := w.first + uint64(w.next.Load()); at != w.seen {
			w.seen = at
			continue
		}
		p.replace(place)
	}
	p.watch = nil
	if p.busy > 0 {
		p.watch = time.AfterFunc(p.patience, p.look)
	}
	p.settle()
}

// replace puts another worker in the place of one that is stuck, with the jobs that one has not begun.
func (p *Pool) replace(place int) {
	stuck, fresh := p.workers[place], &worker{first: none}
	p.workers[place] = fresh
	stuck.removed = true
	begun := min(int(stuck.next.Swap(int64(len(stuck.jobs)))), stuck.count)
	fresh.count = copy(fresh.jobs[:], stuck.jobs[begun:stuck.count])
	if fresh.count == 0 && len(p.queue) == p.head {
		p.busy--
		return
	}
	clear(stuck.jobs[begun:stuck.count])
	fresh.first = stuck.first + uint64(begun)
	go p.work(fresh)
}
