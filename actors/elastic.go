package actors

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Elastic is a Pool for jobs that may block, such as writes to a client that may have stopped reading. As many goroutines
// run as there are places; one whose job takes long keeps that job and loses its place to another. When many lose it at once
// there are more places, until the queue is empty: a crowd that blocks costs the others some milliseconds, not one each.
//
// On a busy machine a job takes long for want of a processor. More goroutines would not help it, and harm others: so time counts little
// while that is so.
type Elastic struct {
	limit int // of places, while nothing blocks

	mu      sync.Mutex
	queue   queue[func()]
	given   uint64 // the number of the next job in the queue
	jobs    uint64 // how many there have been, those apart too
	places  int
	placed  []*hand    // with a job that has not taken long
	slow    []*hand    // with one that has, or that was scheduled apart; but not for so long that nobody waits for it
	waiting []settling // in Settle

	looks  uint64      // at how things go: the clock of this pool
	due    time.Time   // when next is to come
	last   time.Time   // when the last look was that counted
	next   *time.Timer // of looks; nil while there is nothing to look at
	rounds uint64      // how often next was set or stopped: one that fired too late finds another number
}

// hand is a goroutine of a pool and what it is at.
type hand struct {
	number uint64 // of its job; of one apart, of the last in the queue before
	since  uint64 // the look before that began
	state  handState
}

type handState uint8

const (
	unlisted handState = iota // idle, or at a job that nobody waits for any more
	placed
	slow
)

// settling is a settler for whom no job is waited for longer than staleLooks since a look.
type settling struct {
	settler
	from uint64
}

const (
	lookEvery  = time.Millisecond
	slowLooks  = 2   // after which a job has taken long
	staleLooks = 20  // after which Settle does not wait for it any longer
	lostLooks  = 100 // after which Settle does not wait for it at all

	lateLook  = 2 * lookEvery  // so late comes a look for want of a processor
	scarceFor = 10 * lookEvery // and then it does not count, if one has since then that did
)

// NewElastic makes a pool with limit places; limit < 1 means GOMAXPROCS.
func NewElastic(limit int) *Elastic {
	if limit < 1 {
		limit = runtime.GOMAXPROCS(0)
	}
	return &Elastic{limit: limit, places: limit, given: 1}
}

// Throughput is how many messages a mailbox handles before it lets others run.
func (*Elastic) Throughput() int { return (*Pool)(nil).Throughput() }

// Schedule queues fn and returns at once.
func (p *Elastic) Schedule(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.add(fn)
	p.given++
	p.jobs++
	p.fill()
	p.attend()
}

// ScheduleApart has fn run at once, on a goroutine that has no place: it is expected to take long.
func (p *Elastic) ScheduleApart(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.jobs++
	h := &hand{number: p.given - 1, since: p.looks, state: slow}
	p.slow = append(p.slow, h)
	p.attend()
	go p.work(h, fn)
}

// Settle waits until everything that was scheduled before has run, except for what has taken some 20 ms meanwhile, or 100 ms in
// all.
func (p *Elastic) Settle() { p.settleSince(p.now()) }

// now is the time of the pool, for settleSince.
func (p *Elastic) now() (look uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.looks
}

// scheduled is how many jobs there have been.
func (p *Elastic) scheduled() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.jobs
}

// settleSince is Settle, with the 20 ms since then: for somebody who settles again and again. It returns how many jobs there had
// been when it began.
func (p *Elastic) settleSince(look uint64) (jobs uint64) {
	p.mu.Lock()
	jobs = p.jobs
	if p.queue.len() == 0 && len(p.placed) == 0 && len(p.slow) == 0 {
		p.mu.Unlock()
		return jobs
	}
	w := settling{settler{p.given, make(chan struct{})}, look}
	p.waiting = append(p.waiting, w)
	p.settle()
	if len(p.waiting) > 0 {
		// What is scheduled apart from now on gets this job's number or a higher one.
		p.queue.add(func() {})
		p.given++
		p.fill()
		p.attend()
	}
	p.mu.Unlock()
	<-w.reached
	return jobs
}

// settle lets those go on who have waited long enough.
func (p *Elastic) settle() {
	p.waiting = slices.DeleteFunc(p.waiting, func(w settling) bool {
		late := func(h *hand) bool { return h.number < w.upTo && p.looks-max(h.since, w.from) < staleLooks }
		if p.given-uint64(p.queue.len()) < w.upTo || slices.ContainsFunc(p.placed, late) || slices.ContainsFunc(p.slow, late) {
			return false
		}
		close(w.reached)
		return true
	})
}

// fill gives every free place to a new goroutine, if there is something to do.
func (p *Elastic) fill() {
	for len(p.placed) < p.places && p.queue.len() > 0 {
		h := new(hand)
		go p.work(h, p.give(h))
	}
}

// give places h with the first job of the queue.
func (p *Elastic) give(h *hand) func() {
	h.number, h.since = p.given-uint64(p.queue.len()), p.looks
	if h.state != placed {
		h.state = placed
		p.placed = append(p.placed, h)
	}
	var job [1]func()
	p.queue.take(job[:])
	return job[0]
}

func (p *Elastic) work(h *hand, job func()) {
	over := false
	defer func() {
		if !over { // the job has ended this goroutine
			p.mu.Lock()
			defer p.mu.Unlock()
			p.dismiss(h)
			p.fill()
		}
	}()
	for job != nil {
		job()
		job = p.another(h)
	}
	over = true
}

// another is the next job of h; nil: it is not needed any more.
func (p *Elastic) another(h *hand) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.queue.len() == 0 {
		p.places = p.limit
	}
	others := len(p.placed)
	if h.state == placed {
		others--
	} else {
		p.dismiss(h)
	}
	if p.queue.len() == 0 || others >= p.places {
		p.dismiss(h)
		return nil
	}
	job := p.give(h)
	p.settle()
	return job
}

// dismiss is for when h is at nothing any more.
func (p *Elastic) dismiss(h *hand) {
	is := func(other *hand) bool { return other == h }
	switch h.state {
	case placed:
		p.placed = slices.DeleteFunc(p.placed, is)
	case slow:
		p.slow = slices.DeleteFunc(p.slow, is)
	}
	h.state = unlisted
	p.settle()
	p.attend()
}

// attend has somebody look every now and then while there is something to look at.
func (p *Elastic) attend() {
	needed := p.queue.len() > 0 || len(p.placed) > 0 || len(p.slow) > 0
	switch {
	case needed && p.next == nil:
		p.rounds++
		round := p.rounds
		p.due = time.Now().Add(lookEvery)
		p.next = time.AfterFunc(lookEvery, func() { p.look(round) })
	case !needed && p.next != nil:
		p.rounds++ // it may be on its way
		p.next.Stop()
		p.next = nil
	}
}

// look takes the places of those whose job has taken long, and gives up waiting for those who have been at it for longer.
func (p *Elastic) look(round uint64) {
	runtime.Gosched() // whoever is ready to run goes first, or jobs would take long for want of a processor
	p.mu.Lock()
	defer p.mu.Unlock()
	if round != p.rounds {
		return
	}
	p.next = nil
	now := time.Now()
	scarce := now.Sub(p.due) >= lateLook
	if scarce && now.Sub(p.last) < scarceFor {
		p.attend()
		return
	}
	p.last = now
	p.looks++
	had := len(p.placed)
	p.placed = slices.DeleteFunc(p.placed, func(h *hand) bool {
		if p.looks-h.since < slowLooks {
			return false
		}
		h.state = slow
		p.slow = append(p.slow, h)
		return true
	})
	p.slow = slices.DeleteFunc(p.slow, func(h *hand) bool {
		if p.looks-h.since < lostLooks {
			return false
		}
		h.state = unlisted
		return true
	})
	if lost := had - len(p.placed); !scarce && p.queue.len() > 0 && 2*lost >= p.places {
		p.places *= 2
	}
	p.fill()
	p.settle()
	p.attend()
}
