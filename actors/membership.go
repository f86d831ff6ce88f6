package actors

import (
	"github.com/asynkron/protoactor-go/actor"
)

// What follows is the part of an Outbox that knows of its hub: who counts on it, and who hears of its end.

// rare is what few outboxes have at a time.
type rare struct {
	cut      func()        // frees an actor that a write blocks
	begun    chan struct{} // closed when it has begun; nil while nobody waits for that
	released chan struct{} // closed when nothing is held any more; nil while nobody waits for that
	quiet    func()        // to be called when the message that is being handled has been
	ending   func(Reason)  // to be called when the end begins
	closing  *Close        // what began it, if that has a code of its own

	replayedBytes int   // of what of the log is queued beyond the bound, or was when the queue was last empty
	replayed      int32 // that, in messages
	cursor        bool  // the peer keeps one
	current       bool  // all that the log had up to where its hub's stands was queued, as far as it is for the peer
}

// end begins the end: whoever counts on this outbox hears of it now, whatever its actor has yet to do. The lock is held.
func (o *Outbox) end(r Reason) {
	o.reason = r
	o.begin()
	o.wake()
	if o.link != nil && (o.enrolled || o.joined) {
		o.link.System.Root.Send(o.link.Registry, &Left{Member{o.owner, o}})
	}
	o.unenroll()
	if o.rare != nil && o.rare.ending != nil {
		o.rare.ending(r)
		o.rare.ending = nil
	}
}

// OnEnd has fn called when the end begins, or now if it has begun: with the outbox locked, so fn must neither block nor use it.
func (o *Outbox) OnEnd(fn func()) { o.atEnd(func(Reason) { fn() }) }

func (o *Outbox) atEnd(fn func(Reason)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason != ReasonNone {
		fn(o.reason)
		return
	}
	r := o.rarely()
	if before := r.ending; before != nil {
		after := fn
		fn = func(r Reason) {
			before(r)
			after(r)
		}
	}
	r.ending = fn
}

// SetHome says whose actor this is the mailbox of: owner's, a child of that hub's connections. It is called before the outbox is shared
// but with what may Close it.
func (o *Outbox) SetHome(link *Link, owner Subscriber) {
	o.mu.Lock()
	o.link, o.owner = link, owner
	o.mu.Unlock()
}

// SetTransport says how the owner is reached. It is called before the outbox is shared.
func (o *Outbox) SetTransport(t Transport) { o.transport = t }

// Transport is how the owner is reached.
func (o *Outbox) Transport() Transport { return o.transport }

// Pools is what the outbox's actor runs on.
func (o *Outbox) Pools() *Pools {
	if o.link == nil {
		return SharedPools()
	}
	return o.link.Pools
}

// At reports whether connections is the outbox's home.
func (o *Outbox) At(connections *actor.PID) bool {
	return o.link != nil && o.link.Connections == connections
}

// enroll counts the outbox's subscriber, who was registered as sub, if it is not closed; it reports that. reserved says that a
// place is kept for it, which this takes. What the hub sends is held back from now on if it greets who comes. The error is ErrLockedOut.
func (o *Outbox) enroll(sub Subscriber, reserved *bool) (open bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reason != ReasonNone {
		return false, nil
	}
	if !o.enrolled {
		if err := o.link.Roll.add(o, *reserved); err != nil {
			return true, err
		}
		o.enrolled = true
		*reserved = false
		if !o.joined {
			o.owner, o.holding = sub, o.link.Greets
		}
	}
	return true, nil
}

// strikeOff undoes enroll: an unregistration was admitted.
func (o *Outbox) strikeOff() {
	o.mu.Lock()
	o.unenroll()
	o.mu.Unlock()
}

func (o *Outbox) unenroll() {
	if o.enrolled {
		o.enrolled = false
		o.strikeOffTopics()
		o.link.Roll.remove(o.owner, o)
	}
}

// follow has f end when o does.
func (o *Outbox) follow(f *Outbox) { o.atEnd(func(r Reason) { f.Close(&Close{Reason: r}) }) }

// rarely is where rare things are. The lock is held.
func (o *Outbox) rarely() *rare {
	if o.rare == nil {
		o.rare = new(rare)
	}
	return o.rare
}

// AwaitRelease waits while broadcasts are held back and the outbox is open.
func (o *Outbox) AwaitRelease() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.awaitRelease()
}

func (o *Outbox) awaitRelease() {
	for o.holding && o.reason == ReasonNone {
		r := o.rarely()
		if r.released == nil {
			r.released = make(chan struct{})
		}
		released := r.released
		o.mu.Unlock()
		<-released
		o.mu.Lock()
	}
}

// wake lets those go on who wait in AwaitRelease. The lock is held.
func (o *Outbox) wake() {
	if o.rare != nil && o.rare.released != nil {
		close(o.rare.released)
		o.rare.released = nil
	}
}

// BeginMessage comes before a message of the peer is handed on; false means that it must not be, since the outbox is closed.
// It waits as AwaitRelease does. After true comes EndMessage, before the next.
func (o *Outbox) BeginMessage() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.awaitRelease()
	o.handling = o.reason == ReasonNone
	return o.handling
}

// EndMessage comes when the message has been handled.
func (o *Outbox) EndMessage() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.handling = false
	if o.rare != nil && o.rare.quiet != nil {
		o.rare.quiet()
		o.rare.quiet = nil
	}
}

// Engaged reports whether whatever else the peer sends has to wait: for a callback, or for the handler of a message.
func (o *Outbox) Engaged() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.handling || o.holding
}

// WhenQuiet calls fn, with the outbox locked, when no message of the peer is being handled: now or at EndMessage.
func (o *Outbox) WhenQuiet(fn func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.handling {
		o.rarely().quiet = fn
		return
	}
	fn()
}

// SetJoined notes whether the connection is a member of its hub, and reports what it was before. The note outlives the
// registry's actor: it is what OnConnect and OnDisconnect are paired by.
func (o *Outbox) SetJoined(joined bool) (before bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	before, o.joined = o.joined, joined
	return before
}

// Joined reports whether the connection is a member of its hub.
func (o *Outbox) Joined() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.joined
}
