package actors

import "sync"

// Roll is who is subscribed to a hub by the word of its callers. A subscriber is on it, and counted, from the moment its
// registration was admitted at the Gate until its unregistration was, or its end began, whatever the registry and the
// connection's actor have yet to do about that.
//
// It also has the Outbox of every foreign subscriber, which begins with the registration. Its methods may be called from any
// goroutine; a nil Roll notes nothing.
type Roll struct {
	link      *Link
	capacity  int // 0: no bound
	queueSize int // of a foreign subscriber's Outbox

	mu       sync.Mutex
	count    int
	reserved int // places for subscribers that are about to be registered
	foreign  map[Subscriber]*Outbox
}

// NewRoll makes the roll of the hub behind link. Reserve lets in up to capacity subscribers (0: any number); up to queueSize
// messages wait for a foreign one.
func NewRoll(link *Link, capacity, queueSize int) *Roll {
	return &Roll{link: link, capacity: capacity, queueSize: queueSize, foreign: map[Subscriber]*Outbox{}}
}

// Reserve keeps a place for a subscriber that is about to come; false means that there is none left. Each place is taken by a
// registration with Reserved, or given back with Unreserve.
func (r *Roll) Reserve() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.capacity > 0 && r.reserved+r.count >= r.capacity {
		return false
	}
	r.reserved++
	return true
}

// Unreserve gives a place back.
func (r *Roll) Unreserve() {
	r.mu.Lock()
	r.reserved--
	r.mu.Unlock()
}

// Count is how many subscribers there are.
func (r *Roll) Count() int {
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// entry is what the roll adds to an operation.
type entry struct {
	own    *Outbox // of a subscriber that has one, of whatever hub
	outbox *Outbox // that this hub posts to
}

// Outbox is where the subscriber gets its broadcasts from, once the gate has admitted it; foreign says that it is no connection
// of this hub, but has an actor that calls its Send and Close.
func (m *Register) Outbox() (box *Outbox, foreign bool) { return m.outbox, m.outbox != m.own }

// Outbox is the same of one that is to go; nil if it was unknown when the gate admitted that.
func (m *Unregister) Outbox() *Outbox { return m.outbox }

// look finds a subscriber's own outbox. That may be user code, so nothing is locked.
func (r *Roll) look(op Operation) {
	if r == nil {
		return
	}
	var e *entry
	var sub Subscriber
	switch m := op.(type) {
	case *Register:
		e, sub = &m.entry, m.Subscriber
	case *Unregister:
		e, sub = &m.entry, m.Subscriber
	default:
		return
	}
	if c, ok := sub.(Connection); ok {
		_ = Fence("Outbox", func() { e.own = c.Outbox() })
	}
}

// note is called with each operation that is admitted, in order and with the gate locked.
func (r *Roll) note(op Operation) {
	if r == nil {
		return
	}
	switch m := op.(type) {
	case *Register:
		reserved := m.Reserved
		if m.own != nil && m.own.At(r.link.Connections) {
			m.outbox = m.own
			m.outbox.enroll(m.Subscriber, &reserved)
		} else {
			m.outbox = r.enrollForeign(m.Subscriber, m.own, &reserved)
		}
		if reserved { // it was counted already, or has ended
			r.Unreserve()
		}
	case *Unregister:
		if m.outbox = m.own; m.own == nil || !m.own.At(r.link.Connections) {
			r.mu.Lock()
			m.outbox = r.foreign[m.Subscriber]
			r.mu.Unlock()
		}
		if m.outbox != nil {
			m.outbox.strikeOff()
		}
	}
}

// enrollForeign returns the outbox of a foreign subscriber, which is made when there is none. It ends with own, the subscriber's
// own, if that is a connection of another hub; it may have ended already.
func (r *Roll) enrollForeign(sub Subscriber, own *Outbox, reserved *bool) *Outbox {
	for {
		box, fresh := r.foreigner(sub)
		if fresh && own != nil {
			own.follow(box)
		}
		if box.enroll(sub, reserved) {
			return box
		}
		if fresh {
			r.forget(sub, box)
			return box
		} // else the one before has just ended
	}
}

func (r *Roll) foreigner(sub Subscriber) (box *Outbox, fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if box = r.foreign[sub]; box != nil {
		return box, false
	}
	box = NewOutbox(r.queueSize)
	box.SetHome(r.link, sub)
	box.OnDrop(r.link.OnDrop)
	box.Resume()
	r.foreign[sub] = box
	return box, true
}

// add counts a subscriber, who takes a place that was reserved, or one more.
func (r *Roll) add(reserved bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if reserved {
		r.reserved--
	}
}

// remove takes a subscriber off.
func (r *Roll) remove(sub Subscriber, box *Outbox) {
	r.mu.Lock()
	r.count--
	r.mu.Unlock()
	r.forget(sub, box)
}

// forget lets go of a foreign subscriber's outbox.
func (r *Roll) forget(sub Subscriber, box *Outbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.foreign[sub] != box {
		return
	}
	delete(r.foreign, sub)
	if len(r.foreign) == 0 {
		r.foreign = map[Subscriber]*Outbox{} // maps keep the room of their busiest hour
	}
}
