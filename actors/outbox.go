package actors

import (
	"math"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Outbox is the mailbox of a connection's actor and the bounded queue of what that connection is still to write, in one.
// It exists before its actor does, so a client can be sent to from the moment it is made.
//
// Frames are bounded; what does not fit is dropped and counted, as the Bound says. They reach the actor as one *Batch, which becomes
// one write. Every other message is control: not bounded, and handled before any frame. Frames wait while the outbox is
// paused (a write is pending, or nobody writes yet), and broadcasts wait while it is held (OnConnect has not returned).
//
// All methods may be called from any goroutine; those with "the actor" in their comment belong to its actor.
type Outbox struct {
	mu      sync.Mutex
	queue   *Batch // frames to write; nil when there are none
	held    *Batch // broadcasts waiting for Release; nil when there are none
	control []any
	system  []any

	onDrop    func(Subscriber, *Frame) // nil: nobody is told
	maxBytes  int                      // this, maxFrames and overflow are the Bound
	maxFrames int32
	dropped   uint32 // in the current episode
	overflow  Overflow
	transport Transport
	reason    Reason
	enrolled  bool // on its hub's Roll
	holding   bool
	handling  bool // between BeginMessage and EndMessage
	paused    bool
	begun     bool // it was let through once, or is closed
	joined    bool
	running   bool // a run is scheduled or under way
	started   bool // Start was called: no message may overtake Started
	suspended bool // the actor failed and its supervisor has not decided yet
	gone      bool // the actor has stopped

	link  *Link // of the hub whose connections run the actor; nil: it is nobody's
	owner Subscriber
	rare  *rare   // nil while there is nothing in it
	seats *seats  // nil: it is in no topic
	user  *ofUser // nil: nobody's in particular

	encode func(*Frame) []byte // what the actor asks of a frame; nil: nothing that takes making

	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	runFn      func()
}

// NewOutbox makes an outbox for limit messages (at least one) that is paused until Resume.
func NewOutbox(limit int) *Outbox { return NewBoundOutbox(Bound{Messages: limit}) }

// NewBoundOutbox makes an outbox that is paused until Resume.
func NewBoundOutbox(b Bound) *Outbox {
	if b.Overflow > Disconnect {
		b.Overflow = DropNewest
	}
	return &Outbox{maxFrames: int32(min(max(b.Messages, 1), math.MaxInt32)), maxBytes: b.Bytes, overflow: b.Overflow, paused: true}
}

// Send queues a message for this connection alone. It passes broadcasts that are held back.
// The error is ErrHubStopped when the outbox was closed, ErrSendBufferFull when the message was dropped.
func (o *Outbox) Send(f *Frame) error {
	o.prepare(f)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason != ReasonNone {
		return ErrHubStopped
	}
	if !o.push(&o.queue, f) {
		return ErrSendBufferFull
	}
	o.schedule()
	return nil
}

// PostUserMessage implements actor.Mailbox: a *Frame is a broadcast, anything else is control.
func (o *Outbox) PostUserMessage(message any) {
	if f, ok := message.(*Frame); ok {
		o.Broadcast(f)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.gone {
		o.control = append(o.control, message)
		o.schedule()
	}
}

// Broadcast queues a message of the hub's. It reports whether so much is queued that whoever broadcasts should let the actor have its
// turn: a quarter of what the queue holds.
func (o *Outbox) Broadcast(f *Frame) (crowded bool) {
	o.prepare(f)
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.gone || o.reason != ReasonNone:
		return false
	case o.holding:
		o.push(&o.held, f)
	default:
		o.push(&o.queue, f)
		crowded = o.queue != nil && (o.queue.Count >= int(o.maxFrames)/4 || o.maxBytes > 0 && o.queue.Bytes >= o.maxBytes/4)
	}
	o.schedule()
	return crowded
}

// PostSystemMessage implements actor.Mailbox.
func (o *Outbox) PostSystemMessage(message any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.gone && !o.running {
		return
	}
	o.system = append(o.system, message)
	o.schedule()
}

// Hold makes broadcasts wait until Release.
func (o *Outbox) Hold() {
	o.mu.Lock()
	o.holding = true
	o.mu.Unlock()
}

// Release queues the broadcasts that were held back, behind whatever was sent to this connection meanwhile. Each of the two
// had the limit to itself.
func (o *Outbox) Release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.holding = false
	o.wake()
	switch {
	case o.held == nil:
	case o.queue == nil:
		o.queue, o.held = o.held, nil
	default:
		for _, f := range o.held.Frames {
			o.queue.add(f)
		}
		o.held.recycle()
		o.held = nil
	}
	o.schedule()
}

// Pause keeps frames back; control messages still get through.
func (o *Outbox) Pause() {
	o.mu.Lock()
	o.paused = true
	o.mu.Unlock()
}

// Resume lets frames through again.
func (o *Outbox) Resume() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused = false
	o.begin()
	o.schedule()
}

// Begun is closed when frames are let through for the first time, or the outbox is closed; nil if that has been.
func (o *Outbox) Begun() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun {
		return nil
	}
	r := o.rarely()
	if r.begun == nil {
		r.begun = make(chan struct{})
	}
	return r.begun
}

// begin notes that it has begun. The lock is held.
func (o *Outbox) begin() {
	o.begun = true
	if o.rare != nil && o.rare.begun != nil {
		close(o.rare.begun)
		o.rare.begun = nil
	}
}

// Close refuses further frames for the given reason and has the actor drain and end: it posts a *Close. Only the first
// call counts; it reports whether this was it.
func (o *Outbox) Close(m *Close) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.close(m)
}

func (o *Outbox) close(m *Close) bool {
	if o.reason != ReasonNone {
		return false
	}
	if m.Code != 0 {
		o.rarely().closing = m
	}
	o.end(max(m.Reason, ReasonClosed)) // ReasonNone would mean open
	o.endEpisode()
	o.control = append(o.control, m)
	o.schedule()
	return true
}

// OnDrop sets what is told of each message that is dropped, from whatever goroutine and with the outbox locked. It is called
// before the outbox is shared; nil: nobody is told.
func (o *Outbox) OnDrop(told func(Subscriber, *Frame)) { o.onDrop = told }

// OnAbort sets what Abort calls: it frees an actor that a write blocks, without waiting.
func (o *Outbox) OnAbort(cut func()) {
	o.mu.Lock()
	o.rarely().cut = cut
	o.mu.Unlock()
}

// Abort has the actor end now, even one that is blocked writing: it posts an *Abort.
func (o *Outbox) Abort() {
	o.PostUserMessage(&Abort{})
	var cut func()
	o.mu.Lock()
	if o.rare != nil {
		cut = o.rare.cut
	}
	o.mu.Unlock()
	if cut != nil {
		cut()
	}
}

// Reason says why the outbox was closed; ReasonNone while it is open.
func (o *Outbox) Reason() Reason {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reason
}

// Drained reports whether every accepted frame has been handed to the actor.
func (o *Outbox) Drained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.queue == nil && o.held == nil
}

// RunOn has the actor run on d in place of the dispatcher of its props. It is called before the outbox is shared.
func (o *Outbox) RunOn(d actor.Dispatcher) { o.dispatcher = d }

// RegisterHandlers implements actor.Mailbox.
func (o *Outbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.invoker, o.runFn = invoker, o.run
	if o.dispatcher == nil {
		o.dispatcher = dispatcher
	}
}

// Start implements actor.Mailbox. What arrived before the actor did is handled now.
func (o *Outbox) Start() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.started = true
	o.schedule()
}

// UserMessageCount implements actor.Mailbox.
func (o *Outbox) UserMessageCount() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(o.control)
	if o.queue != nil {
		n += o.queue.Count
	}
	return n
}

// Stop ends the outbox's actor. Unlike actor.Context.Stop it does not make the actor's PID remember its process: protoactor
// keeps PIDs of ended children in spare capacity, and what those remember would stay in memory.
func (o *Outbox) Stop() { o.PostSystemMessage(&actor.Stop{}) }

// Unreported is how many dropped messages of an outbox whose actor has ended were not reported by it.
func (o *Outbox) Unreported() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int(o.dropped)
}

// Discard drops what is queued and lets go of the actor, so that a reference to the outbox keeps nothing else alive.
// The actor calls it when it has stopped.
func (o *Outbox) Discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason == ReasonNone {
		o.end(ReasonClosed)
	}
	for _, m := range o.control {
		if m, ok := m.(*Overflowed); ok {
			o.dropped += uint32(m.Count)
		}
	}
	o.queue, o.held, o.control, o.onDrop = nil, nil, nil, nil
	if o.rare != nil {
		o.rare.cut = nil
	}
	o.gone = true
	if !o.running {
		o.detach()
	}
}

// detach lets go of the actor. The lock is held, and there is no run.
func (o *Outbox) detach() {
	o.system, o.started = nil, false
	o.invoker, o.dispatcher, o.runFn = nil, nil, nil
}

// schedule has the dispatcher run the mailbox unless it runs already or nothing may be handled. The lock is held.
func (o *Outbox) schedule() {
	if o.running || !o.started || !o.ready() {
		return
	}
	o.running = true
	o.dispatcher.Schedule(o.runFn)
}

func (o *Outbox) ready() bool {
	return len(o.system) > 0 || !o.suspended && (len(o.control) > 0 || o.queue != nil && !o.paused)
}

// run handles messages until there are none, then goes idle. A panic in the actor is the supervisor's, and so is the end of
// the goroutine (runtime.Goexit); the mailbox goes on.
func (o *Outbox) run() {
	for again := true; again; {
		again = o.runSome()
	}
}

func (o *Outbox) runSome() (again bool) {
	var message any
	var invoker actor.MessageInvoker
	over := false
	defer func() {
		if over {
			return
		}
		if v := recover(); v != nil {
			invoker.EscalateFailure(NewPanicError("connection", v), message)
			again = true
			return
		}
		invoker.EscalateFailure(NewGoexitError("connection"), message)
		o.later()
	}()
	for range (*Pool)(nil).Throughput() {
		var system bool
		if message, system, invoker = o.next(); message == nil {
			over = true
			return false
		}
		if system {
			invoker.InvokeSystemMessage(message)
			continue
		}
		invoker.InvokeUserMessage(message)
		if b, ok := message.(*Batch); ok {
			b.recycle()
		}
	}
	over = true
	o.later() // others wait too
	return false
}

// later lets the run go on at the end of the dispatcher's queue. The outbox stays marked as running.
func (o *Outbox) later() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dispatcher.Schedule(o.runFn)
}

// next takes the message to handle now; nil, and the outbox is idle.
func (o *Outbox) next() (message any, system bool, invoker actor.MessageInvoker) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.ready() {
		if len(o.system) > 0 {
			message, o.system = pop(o.system)
			_, watch := message.(*actor.Watch)
			switch message.(type) {
			case *actor.SuspendMailbox:
				o.suspended = true
			case *actor.ResumeMailbox:
				o.suspended = false
			default:
				// Of an actor that has stopped, a Watch still gets its answer; a Restart would undo the stop.
				if watch || !o.gone {
					return message, true, o.invoker
				}
			}
			continue
		}
		if len(o.control) > 0 {
			message, o.control = pop(o.control)
			return message, false, o.invoker
		}
		return o.take(), false, o.invoker
	}
	o.running = false
	if o.gone {
		o.detach()
	}
	return nil, false, nil
}

func pop(q []any) (any, []any) {
	m := q[0]
	q[0] = nil
	if len(q) == 1 {
		return m, nil
	}
	return m, q[1:]
}
