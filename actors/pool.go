package actors

import (
	"runtime"
	"sync"
)

// Pool is a protoactor Dispatcher that runs mailboxes on a few goroutines, made on demand and gone when idle. It spares a
// fan-out the goroutine start per connection. What runs on it must not block.
type Pool struct {
	mu    sync.Mutex
	queue []func()
	head  int
	busy  int
	limit int
}

// NewPool makes a pool of at most limit goroutines; limit < 1 means GOMAXPROCS.
func NewPool(limit int) *Pool {
	if limit < 1 {
		limit = runtime.GOMAXPROCS(0)
	}
	return &Pool{limit: limit}
}

// Throughput is how many messages a mailbox handles before it lets others run.
func (*Pool) Throughput() int { return 32 }

// Schedule queues fn and returns at once.
func (p *Pool) Schedule(fn func()) {
	p.mu.Lock()
	p.queue = append(p.queue, fn)
	start := p.busy < p.limit
	if start {
		p.busy++
	}
	p.mu.Unlock()
	if start {
		go p.work()
	}
}

func (p *Pool) work() {
	var jobs [32]func()
	for {
		n := p.take(jobs[:])
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
func (p *Pool) take(dst []func()) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := copy(dst, p.queue[p.head:])
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
	if n == 0 {
		p.busy--
	}
	return n
}
