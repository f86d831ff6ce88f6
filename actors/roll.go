package actors

import "sync"

// Roll is who is subscribed to a hub, and to which topics, by the word of its callers. A subscriber is on it, and counted, from the
// moment its registration was admitted at the Gate until its unregistration was, or its end began, whatever the registry and the
// connection's actor have yet to do about that; and likewise in a topic.
//
// It also has the Outbox of every foreign subscriber, which begins with the registration. Its methods may be called from any
// goroutine; a nil Roll notes nothing.
type Roll struct {
	link      *Link
	capacity  int // 0: no bound
	queueSize int // of a foreign subscriber's Outbox

	mu       sync.Mutex
	count    int
	by       [Transports]int // of these
	reserved int             // places for subscribers that are about to be registered
	foreign  map[Subscriber]*Outbox
	topics   map[string]*Topic // that somebody is in
	busiest  int               // how many topics they were, since the map is as it is
	owned    int               // of these, users' own
	users    userRoll

	memberships int // in those that are not
}

// NewRoll makes the roll of the hub behind link. Reserve lets in up to capacity subscribers (0: any number); up to queueSize
// messages wait for a foreign one.
func NewRoll(link *Link, capacity, queueSize int) *Roll {
	return &Roll{link: link, capacity: capacity, queueSize: queueSize, topics: map[string]*Topic{}}
}

// Reserve keeps a place for a subscriber that is about to come, of that user ("": of nobody in particular). Each place is taken by a
// registration with Reserved, or given back with Unreserve. Else the error is ErrTooManySubscribers, ErrTooManyConnections or ErrLockedOut.
func (r *Roll) Reserve(user string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.capacity > 0 && r.reserved+r.count >= r.capacity {
		return ErrTooManySubscribers
	}
	if err := r.users.reserve(user, r.link.MaxPerUser); err != nil {
		return err
	}
	r.reserved++
	return nil
}

// Unreserve gives a place back.
func (r *Roll) Unreserve(user string) {
	r.mu.Lock()
	r.reserved--
	r.users.unreserve(user)
	r.mu.Unlock()
}

// Count is how many subscribers there are.
func (r *Roll) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// empty reports whether nobody is subscribed, nor about to be, nor locked out.
func (r *Roll) empty() bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.users.locked {
		if r.users.lockedOut(id) {
			return false // nobody may come in sooner to a hub that is made anew
		}
	}
	return r.count+r.reserved == 0
}

// entry is what the roll adds to an operation.
type entry struct {
	own    *Outbox // of a subscriber that has one, of whatever hub
	outbox *Outbox // that this hub posts to
	topics []*Topic
	known  uint64 // of a registration, see LogBook.Known
}

// Known is what the log had at least when the registration was admitted: what is published after that has a higher position.
func (m *Register) Known() uint64 { return m.known }

// audience is what it adds to a broadcast.
type audience struct {
	topic          *Topic
	except, exempt *Outbox // who is left out: its own outbox, and the one that this hub posts to
}

// Outbox is where the subscriber gets its broadcasts from, once the gate has admitted it; foreign says that it is no connection
// of this hub, but has an actor that calls its Send and Close. Topics are those it is in from the first moment.
func (m *Register) Outbox() (box *Outbox, foreign bool) { return m.outbox, m.outbox != m.own }
func (m *Register) InTopics() []*Topic                  { return m.topics }

// Outbox is the same of one that is to go; nil if it was unknown when the gate admitted that.
func (m *Unregister) Outbox() *Outbox { return m.outbox }

// Membership is whose place in what a Join or Leave is about, once the gate has admitted it; a nil Topic: it was in none of that name.
func (m *Join) Membership() (*Outbox, *Topic)  { return m.outbox, m.topics[0] }
func (m *Leave) Membership() (*Outbox, *Topic) { return m.outbox, m.topics[0] }

// Audience is who a broadcast is for, once the gate has admitted it: everybody, those in topic, or nobody; but for one of them.
func (m *Broadcast) Audience() Audience {
	return Audience{Topic: m.topic, Nobody: m.Topic != "" && m.topic == nil, Except: m.exempt}
}

// Audience is who a broadcast is for. The zero Audience is everybody.
type Audience struct {
	Topic  *Topic  // nil: the whole hub
	Nobody bool    // is in the topic
	Except *Outbox // nil: there is no exception
}

// look finds a subscriber's own outbox. That may be user code, so nothing is locked.
func (r *Roll) look(op Operation) {
	if r == nil {
		return
	}
	switch m := op.(type) {
	case *Register:
		m.own = ownOutbox(m.Subscriber)
	case *Unregister:
		m.own = ownOutbox(m.Subscriber)
	case *Join:
		m.own = ownOutbox(m.Subscriber)
	case *Leave:
		m.own = ownOutbox(m.Subscriber)
	case *Broadcast:
		m.except = ownOutbox(m.Except)
	}
}

func ownOutbox(sub Subscriber) (own *Outbox) {
	if c, ok := sub.(Connection); ok {
		_ = Fence("Outbox", func() { own = c.Outbox() })
	}
	return own
}

// note is called with each operation that is to be admitted, in order and with the gate locked. With an error it must not be.
func (r *Roll) note(op Operation) error {
	if r == nil {
		return nil
	}
	switch m := op.(type) {
	case *Register:
		return r.noteRegister(m)
	case *Unregister:
		if m.outbox = r.find(m.own, m.Subscriber); m.outbox != nil {
			m.outbox.strikeOff()
		}
	case *Dismiss:
		m.Outbox.strikeOff()
	case *Join:
		if m.outbox = r.find(m.own, m.Subscriber); m.outbox == nil {
			return ErrNotRegistered
		}
		t, err := m.outbox.enrollIn(m.Topic)
		m.topics = []*Topic{t}
		return err
	case *Leave:
		if m.outbox = r.find(m.own, m.Subscriber); m.outbox == nil {
			return ErrNotRegistered
		}
		t, err := m.outbox.strikeOffFrom(m.Topic)
		m.topics = []*Topic{t}
		return err
	case *Broadcast:
		if m.Topic != "" {
			m.topic = r.topic(m.Topic)
		}
		if m.Except != nil && CheckSubscriber(m.Except) == nil { // else it is nobody
			m.exempt = r.find(m.except, m.Except)
		}
	}
	return nil
}

// find is the outbox of a subscriber that this hub posts to; nil: it does not know the subscriber.
func (r *Roll) find(own *Outbox, sub Subscriber) *Outbox {
	if own != nil && own.At(r.link.Connections) {
		return own
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.foreign[sub]
}

func (r *Roll) noteRegister(m *Register) error {
	if r.link.History != nil {
		m.known = r.link.Book.Known()
	}
	reserved := m.Reserved
	if m.own != nil && m.own.At(r.link.Connections) {
		m.outbox = m.own
		if _, err := m.outbox.enroll(m.Subscriber, &reserved); err != nil {
			m.own.Close(&Close{Reason: ReasonDisconnected})
			return err
		}
		r.makeRoom(m.own.User())
	} else {
		m.outbox = r.enrollForeign(m.Subscriber, m.own, &reserved)
	}
	if user := m.outbox.User(); user != "" {
		if t, err := m.outbox.enrollIn(UserTopic(user)); err == nil {
			m.topics = append(m.topics, t)
		}
	}
	for _, name := range m.Topics {
		if t, err := m.outbox.enrollIn(name); err == nil { // else it has ended; names and number were checked
			m.topics = append(m.topics, t)
		}
	}
	if reserved { // it was counted already, or has ended
		r.Unreserve(m.outbox.User())
	}
	return nil
}

// enrollForeign returns the outbox of a foreign subscriber, which is made when there is none. It ends with own, the subscriber's
// own, if that is a connection of another hub; it may have ended already.
func (r *Roll) enrollForeign(sub Subscriber, own *Outbox, reserved *bool) *Outbox {
	for {
		box, fresh := r.foreigner(sub)
		if fresh && own != nil {
			own.follow(box)
		}
		if open, _ := box.enroll(sub, reserved); open { // it is nobody's in particular, so nobody is locked out
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
	if r.foreign == nil {
		r.foreign = map[Subscriber]*Outbox{}
	}
	r.foreign[sub] = box
	return box, true
}

// add counts a subscriber, who takes a place that was reserved, or one more; unless its user was locked out meanwhile, which it
// sees if Disconnect has not seen the connection. The lock of box is held.
func (r *Roll) add(box *Outbox, reserved bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if box.user != nil {
		if r.users.lockedOut(box.user.id) {
			return ErrLockedOut
		}
		box.user.at = r.users.add(box.user.id, box)
	}
	r.count++
	r.by[box.transport]++
	if reserved {
		r.reserved--
		r.users.unreserve(box.User())
	}
	return nil
}

// remove takes a subscriber off. The lock of box is held.
func (r *Roll) remove(sub Subscriber, box *Outbox) {
	r.mu.Lock()
	r.count--
	r.by[box.transport]--
	if box.user != nil {
		r.users.remove(box.user.id, box.user.at)
		box.user.at = nil
	}
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
		r.foreign = nil // maps keep the room of their busiest hour
	}
}
