package actors

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Op is a kind of operation that passes a Gate.
type Op uint8

const (
	OpRegister Op = iota
	OpUnregister
	OpBroadcast
	OpJoin
	OpLeave
	Ops
)

func (op Op) String() string {
	return [Ops]string{"register", "unregister", "broadcast", "join", "leave"}[op]
}

// Operation is a message that passes a Gate.
type Operation interface{ Op() Op }

// Gate bounds what callers hand the hub: each kind of operation has a number of places, an operation holds one until the
// registry has taken it, and who finds none free waits. Places are given in turn: of one kind nobody overtakes who came
// before, by whatever method. Operations reach the registry in the order they were admitted.
//
// A gate starts shut: what is admitted waits inside, within the bounds, until Open. Methods may be called from any goroutine.
type Gate struct {
	mu      sync.Mutex
	state   gateState
	places  [Ops]int
	taken   [Ops]int
	waiting [Ops]waiters    // for a place, in the order they came
	line    waiters         // those of Submit among them, whatever their kind
	inside  []Operation     // admitted before Open
	roll    *Roll           // hears of what is admitted; may be nil
	post    func(Operation) // to the registry; must not block, nor call the gate

	retired  bool          // nobody is registered any more
	retiring chan struct{} // closed then; nil: nobody has asked
	holds    int           // see Hold
	uses     uint64        // how often it was held, or somebody registered
	timeouts [Ops]uint64   // that gave up waiting
}

type gateState uint8

const (
	gateShut gateState = iota
	gateOpen
	gateStopped
)

// NewGate makes a shut gate with the given number of places for each kind of operation; joins have as many as registrations, and
// leaves as unregistrations, apart from these. With 0 places nobody gets in
// before Open, and one at a time thereafter: the registry takes it from the caller's hand.
func NewGate(register, unregister, broadcast int, post func(Operation)) *Gate {
	return &Gate{places: [Ops]int{register, unregister, broadcast, register, unregister}, post: post}
}

// SetRoll sets where who is subscribed is noted, by what is admitted. It is called before the gate is shared; nil: nowhere.
func (g *Gate) SetRoll(r *Roll) { g.roll = r }

// Enter admits op, waiting for a place for at most patience. With an error op never happens: it is ErrTimeout, ErrHubStopped, or
// that of a Roll that does not have it.
func (g *Gate) Enter(op Operation, patience time.Duration) error {
	return g.await(op, after(patience))
}

// EnterContext is Enter that waits for as long as ctx lets it. The error then wraps ErrTimeout, and ctx's own.
func (g *Gate) EnterContext(ctx context.Context, op Operation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := g.await(op, func(end func()) func() bool { return context.AfterFunc(ctx, end) })
	if errors.Is(err, ErrTimeout) {
		err = fmt.Errorf("%w: %w", err, ctx.Err())
	}
	return err
}

func (g *Gate) await(op Operation, limit limit) error {
	g.roll.look(op)
	g.mu.Lock()
	if admitted, err := g.admit(op); admitted || err != nil {
		g.mu.Unlock()
		return err
	}
	result := make(chan error, 1)
	g.wait(&waiter{op: op, done: func(err error) { result <- err }}, limit)
	g.mu.Unlock()
	return <-result
}

// Submit is Enter for those who must not block: done is called once, with what Enter would have returned, before Submit
// returns or later from another goroutine. It must not block, nor call the gate. Since its caller goes on at once, what is
// submitted is admitted in the order of the calls, also across kinds.
//
// With a patience of 0 or less there is no limit: what the hub has accepted already waits until it is admitted or the gate
// stops. Anything else is not waited for while the gate is shut.
func (g *Gate) Submit(op Operation, patience time.Duration, done func(error)) {
	g.roll.look(op)
	g.mu.Lock()
	admitted, err := false, error(nil)
	if g.line.first == nil || g.refuses(op.Op()) {
		admitted, err = g.admit(op)
	}
	switch {
	case admitted || err != nil:
	case g.state == gateShut && patience > 0:
		err = ErrTimeout
		g.timeouts[op.Op()]++
	default:
		w := &waiter{op: op, done: done, lined: true}
		g.line.add(inLine, w)
		var limit limit
		if patience > 0 {
			limit = after(patience)
		}
		g.wait(w, limit)
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
	_ = g.enter(op)
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
	g.retire()
	for op := range g.waiting {
		for w := g.waiting[op].first; w != nil; w = g.waiting[op].first {
			g.dismiss(w, ErrHubStopped)
		}
	}
	return first
}

// Retire turns away who is to be registered, and those who wait for that; all else goes on.
func (g *Gate) Retire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.retire()
	for w := g.waiting[OpRegister].first; w != nil; w = g.waiting[OpRegister].first {
		g.dismiss(w, ErrHubStopped)
	}
	g.next(OpRegister) // they may have been the ones that held up others
}

func (g *Gate) retire() {
	if !g.retired && g.retiring != nil {
		close(g.retiring)
	}
	g.retired = true
}

// Retired is closed when the gate begins to turn away who is to be registered: with Retire, or Stop.
func (g *Gate) Retired() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.retiring == nil {
		g.retiring = make(chan struct{})
		if g.retired {
			close(g.retiring)
		}
	}
	return g.retiring
}

// Receives reports whether the gate is open to who is to be registered.
func (g *Gate) Receives() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == gateOpen && !g.retired
}

// Refuses reports whether the gate turns away who is to be registered.
func (g *Gate) Refuses() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.retired
}

// refuses reports whether the gate turns away what is of that kind. The lock is held.
func (g *Gate) refuses(op Op) bool { return g.state == gateStopped || g.retired && op == OpRegister }

// Hold keeps the gate from being stopped for idleness until Release; false: it has stopped.
func (g *Gate) Hold() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gateStopped {
		return false
	}
	g.holds++
	g.uses++
	return true
}

// Release undoes a Hold that was true.
func (g *Gate) Release() {
	g.mu.Lock()
	g.holds--
	g.mu.Unlock()
}

// Uses is how often the gate was held, or somebody registered, so far; and whether it is in use now: held, with an operation under
// way, or with somebody who is subscribed or has a place reserved.
func (g *Gate) Uses() (n uint64, now bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.uses, g.inUse()
}

// StopIfIdle stops the gate if it is not in use, and Uses has said n: nobody has come since, and nothing is turned away. It reports that.
func (g *Gate) StopIfIdle(n uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state == gateStopped || g.uses != n || g.inUse() {
		return false
	}
	g.state = gateStopped
	g.retire()
	return true
}

func (g *Gate) inUse() bool {
	for op := range g.taken {
		if g.taken[op] > 0 || g.waiting[op].first != nil {
			return true
		}
	}
	return g.holds > 0 || !g.roll.empty()
}

// Stopped reports whether the gate turns everybody away.
func (g *Gate) Stopped() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == gateStopped
}

func (g *Gate) admit(op Operation) (admitted bool, err error) {
	kind := op.Op()
	if g.refuses(kind) {
		return false, ErrHubStopped
	}
	if g.taken[kind] >= g.places[kind] || g.waiting[kind].first != nil {
		return false, nil
	}
	if err := g.enter(op); err != nil {
		return false, err
	}
	return true, nil
}

// enter gives op a place, and lets it in if the roll has nothing against that.
func (g *Gate) enter(op Operation) error {
	if err := g.roll.note(op); err != nil {
		return err
	}
	kind := op.Op()
	g.taken[kind]++
	if kind == OpRegister {
		g.uses++
	}
	if g.state == gateShut {
		g.inside = append(g.inside, op)
		return nil
	}
	g.post(op)
	return nil
}

// next admits who waits for places of this kind, as far as there are any; and then, since that may have been what the
// others of Submit waited for, those of other kinds.
func (g *Gate) next(kind Op) {
	for {
		w := g.first(kind)
		if w == nil {
			if g.line.first == nil {
				return
			}
			kind = g.line.first.op.Op()
			if w = g.first(kind); w == nil {
				return
			}
		}
		g.dismiss(w, g.enter(w.op))
	}
}

// first is who may have a place of this kind now: whoever waits longest, if there is a place, and if it is of Submit, nobody
// was submitted before it that waits.
func (g *Gate) first(kind Op) *waiter {
	w := g.waiting[kind].first
	if w == nil || g.taken[kind] >= g.places[kind] || w.lined && w != g.line.first {
		return nil
	}
	return w
}

// limit says what calls end when a wait has lasted long enough, and returns how to prevent it.
type limit func(end func()) (stop func() bool)

// after is the limit of a wait that a timer ends.
func after(d time.Duration) limit {
	return func(end func()) func() bool { return time.AfterFunc(d, end).Stop }
}

// wait queues w, until it is admitted or what limit was given is called. Whoever dismisses a waiter does so under the lock: an
// operation either gets in or times out, never both.
func (g *Gate) wait(w *waiter, limit limit) {
	kind := w.op.Op()
	g.waiting[kind].add(byKind, w)
	if limit == nil {
		return
	}
	w.stop = limit(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if !w.over {
			g.timeouts[kind]++
			g.dismiss(w, ErrTimeout)
			g.next(kind) // it may have been the one that held up others
		}
	})
}

// dismiss tells w what its wait came to.
func (g *Gate) dismiss(w *waiter, err error) {
	w.over = true
	g.waiting[w.op.Op()].remove(byKind, w)
	if w.lined {
		g.line.remove(inLine, w)
	}
	if w.stop != nil {
		w.stop()
	}
	w.done(err)
}
