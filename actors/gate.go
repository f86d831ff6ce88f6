package actors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Op is a kind of operation that passes a Gate.
type Op uint8

const (
	OpRegister Op = iota
	OpUnregister
	OpBroadcast
	ops
)

func (op Op) String() string { return [ops]string{"register", "unregister", "broadcast"}[op] }

// Operation is a message that passes a Gate.
type Operation interface{ Op() Op }

// Gate bounds what callers hand the hub: each kind of operation has a number of places, an operation holds one until the
// registry has taken it, and who finds none free waits. Operations reach the registry in the order they were admitted.
//
// A gate starts shut: what is admitted waits inside, within the bounds, until Open. Methods may be called from any goroutine.
type Gate struct {
	mu      sync.Mutex
	state   gateState
	places  [ops]int
	taken   [ops]int
	waiting [ops][]*waiter  // in Enter
	line    []*waiter       // of Submit, whatever their kind
	inside  []Operation     // admitted before Open
	roll    *Roll           // hears of what is admitted; may be nil
	post    func(Operation) // to the registry; must not block, nor call the gate
}

type gateState uint8

const (
	gateShut gateState = iota
	gateOpen
	gateStopped
)

type waiter struct {
	op   Operation
	stop func() bool // what would end the wait
	done func(error)
}

// NewGate makes a shut gate with the given number of places for each kind of operation. With 0 places nobody gets in
// before Open, and one at a time thereafter: the registry takes it from the caller's hand.
func NewGate(register, unregister, broadcast int, post func(Operation)) *Gate {
	return &Gate{places: [ops]int{register, unregister, broadcast}, post: post}
}

// SetRoll sets where who is subscribed is noted, by what is admitted. It is called before the gate is shared; nil: nowhere.
func (g *Gate) SetRoll(r *Roll) { g.roll = r }

// Enter admits op, waiting for a place for at most patience. The error is ErrTimeout, and then op never happens, or
// ErrHubStopped.
func (g *Gate) Enter(op Operation, patience time.Duration) error {
	g.roll.look(op)
	g.mu.Lock()
	if admitted, err := g.admit(op); admitted || err != nil {
		g.mu.Unlock()
		return err
	}
	result := make(chan error, 1)
	g.wait(&g.waiting[op.Op()], op, after(patience), func(err error) { result <- err })
	g.mu.Unlock()
	return <-result
}

// EnterContext is Enter that waits for as long as ctx lets it. The error then wraps ErrTimeout, and ctx's own.
func (g *Gate) EnterContext(ctx context.Context, op Operation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.roll.look(op)
	g.mu.Lock()
	if admitted, err := g.admit(op); admitted || err != nil {
		g.mu.Unlock()
		return err
	}
	result := make(chan error, 1)
	g.wait(&g.waiting[op.Op()], op, func(end func()) func() bool { return context.AfterFunc(ctx, end) }, func(err error) { result <- err })
	g.mu.Unlock()
	err := <-result
	if errors.Is(err, ErrTimeout) {
		err = fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return err
}

// Submit is Enter for those who must not block: done is called once, with what Enter would have returned, before Submit
// returns or later from another goroutine. It must not block, nor call the gate. Since its caller goes on at once, what is
// submitted is admitted in the order of the calls, also across kinds. While the gate is shut nothing is waited for.
func (g *Gate) Submit(op Operation, patience time.Duration, done func(error)) {
	g.roll.look(op)
	g.mu.Lock()
	admitted, err := false, error(nil)
	if len(g.line) == 0 || g.state == gateStopped {
		admitted, err = g.admit(op)
	}
	switch {
	case admitted || err != nil:
	case g.state == gateShut:
		err = ErrTimeout
	default:
		g.wait(&g.line, op, after(patience), done)
		g.mu.Unlock()
		return
	}
	g.mu.Unlock()
	done(err)
}

// Force admits op without a place, even when the gate has stopped: for what the hub had accepted already and must not lose.
func (g *Gate) Force(op Operation) {
	g.roll.look(op)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken[op.Op()]++ // the registry will give it back
	g.enter(op)
}

// Leave gives back the place of an operation that the registry has taken, to whoever waits longest.
func (g *Gate) Leave(op Op) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.taken[op]--
	g.next(op)
}

// Open lets what is inside through to the registry, in order, and from now on what is admitted goes through at once.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != gateShut {
		return
	}
	g.state = gateOpen
	for _, op := range g.inside {
		g.post(op)
	}
	g.inside = nil
	for op := range g.places {
		g.places[op] = max(g.places[op], 1)
		g.next(Op(op))
	}
}

// Stop turns away all who wait and whoever comes; what was admitted is not touched. It reports whether it was the first.
func (g *Gate) Stop() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := g.state != gateStopped
	if g.state == gateShut {
		g.inside = nil // it was never opened, and nothing of it happens
	}
	g.state = gateStopped
	for _, queue := range []*[]*waiter{&g.waiting[OpRegister], &g.waiting[OpUnregister], &g.waiting[OpBroadcast], &g.line} {
		for _, w := range *queue {
			w.finish(ErrHubStopped)
		}
		*queue = nil
	}
	return first
}

// Stopped reports whether the gate turns everybody away.
func (g *Gate) Stopped() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == gateStopped
}

func (g *Gate) admit(op Operation) (admitted bool, err error) {
	if g.state == gateStopped {
		return false, ErrHubStopped
	}
	kind := op.Op()
	if g.taken[kind] >= g.places[kind] || len(g.waiting[kind]) > 0 {
		return false, nil
	}
	g.taken[kind]++
	g.enter(op)
	return true, nil
}

func (g *Gate) enter(op Operation) {
	g.roll.note(op)
	if g.state == gateShut {
		g.inside = append(g.inside, op)
		return
	}
	g.post(op)
}

// next admits who waits for places of this kind, as far as there are any.
func (g *Gate) next(op Op) {
	for g.taken[op] < g.places[op] && len(g.waiting[op]) > 0 {
		g.let(&g.waiting[op])
	}
	g.advance()
}

// advance admits from the head of the line, as far as there are places.
func (g *Gate) advance() {
	for len(g.line) > 0 {
		kind := g.line[0].op.Op()
		if g.taken[kind] >= g.places[kind] || len(g.waiting[kind]) > 0 {
			return
		}
		g.let(&g.line)
	}
}

// let admits the first of a queue.
func (g *Gate) let(queue *[]*waiter) {
	w := (*queue)[0]
	*queue = slices.Delete(*queue, 0, 1)
	g.taken[w.op.Op()]++
	g.enter(w.op)
	w.finish(nil)
}

// wait queues op, until it is admitted or what limit was given is called. Whoever removes a waiter from its queue, under the
// lock, is the one that finishes it: an operation either gets in or times out, never both.
func (g *Gate) wait(queue *[]*waiter, op Operation, limit func(end func()) (stop func() bool), done func(error)) {
	w := &waiter{op: op, done: done}
	w.stop = limit(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if i := slices.Index(*queue, w); i >= 0 {
			*queue = slices.Delete(*queue, i, i+1)
			w.finish(ErrTimeout)
			g.advance() // it may have been the one that held up the line
		}
	})
	*queue = append(*queue, w)
}

// after is the limit of a wait that a timer ends.
func after(d time.Duration) func(end func()) (stop func() bool) {
	return func(end func()) func() bool { return time.AfterFunc(d, end).Stop }
}

func (w *waiter) finish(err error) {
	w.stop()
	w.done(err)
}
