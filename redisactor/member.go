package redisactor

import (
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"
)

const (
	// backlogged is how many messages of one hub may be on their way to its Gate.
	backlogged = 256

	// maxBacklog and maxBacklogBytes bound what has come from Redis for one hub and waits behind those, in messages and in
	// bytes of payload. It is what Redis itself would keep for a subscriber before it cuts it off (32 MB, by default).
	maxBacklog      = 65536
	maxBacklogBytes = 32 << 20
)

// member is one hub's part of a link, from its first Subscribe to the matching Unsubscribe. The reader of the connection,
// which serves many hubs, never waits for one: what a hub has no room for waits here, in order whatever its topic, and beyond the
// bounds it is left out and counted.
type member struct {
	to   *actor.PID
	send func(to *actor.PID, message any)

	epoch   uint64      // the last connection that served it; the subscriber's alone
	pinged  uint64      // the last PING or SUBSCRIBE that serve told it of; likewise
	curious atomic.Bool // it wants to know of PINGs

	mu      sync.Mutex
	gone    bool
	credits int     // messages that the hub has and its Gate has not answered for
	queue   []any   // what comes after them: messages, and what must not overtake them
	waiting int     // messages in the queue
	bytes   int     // of their payloads
	missed  *missed // what is left out now, until half the room is free again; in the queue already
}

// missed tells a hub how many messages were left out, and their place among those that were not.
type missed struct {
	*member
	n int
}

func newMember(to *actor.PID, send func(to *actor.PID, message any)) *member {
	return &member{to: to, send: send}
}

// subscription is what a member has to a channel.
type subscription struct {
	*member
	channel string
	topic   *topic // nil: it is to the control channel

	// The connection it is served by, and the answer to a PING from which on: what was on the connection before may be an echo
	// of something the hub was through with when it subscribed.
	epoch, from atomic.Uint64
	told        atomic.Uint64 // the epoch for which its hub was told that Redis confirmed

	// The hub's redis actor's alone.
	left bool // nothing that still comes concerns it
}

// take hands m to the hub, at once if it has room, else behind what waits.
func (m *member) take(message *message) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.gone:
	case len(m.queue) == 0 && m.credits < backlogged:
		m.credits++
		m.send(m.to, message)
	case m.missed != nil:
		m.missed.n++
	case m.waiting >= maxBacklog || m.waiting > 0 && m.bytes+len(message.payload) > maxBacklogBytes:
		m.missed = &missed{m, 1}
		m.queue = append(m.queue, m.missed)
	default:
		m.queue = append(m.queue, message)
		m.waiting++
		m.bytes += len(message.payload)
	}
}

// post hands the hub an event, behind the messages that came before it.
func (m *member) post(event any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return
	}
	if len(m.queue) == 0 {
		m.send(m.to, event)
		return
	}
	if p, ok := event.(*ponged); ok { // says all that one right before it would
		if _, ok := m.queue[len(m.queue)-1].(*ponged); ok {
			m.queue[len(m.queue)-1] = p
			return
		}
	}
	m.queue = append(m.queue, event)
}

// release gives the credit of a message back, which the next one takes. It may be called with the hub's Gate locked.
func (m *member) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.credits--
	for len(m.queue) > 0 && m.credits < backlogged {
		next := m.queue[0]
		if next, ok := next.(*message); ok {
			m.credits++
			m.waiting--
			m.bytes -= len(next.payload)
		}
		m.queue[0] = nil
		if m.queue = m.queue[1:]; len(m.queue) == 0 {
			m.queue = nil // and what it was cut from
		}
		m.send(m.to, next)
	}
	if m.waiting <= maxBacklog/2 && m.bytes <= maxBacklogBytes/2 {
		m.missed = nil
	}
}

// behind reports whether anything waits for a credit.
func (m *member) behind() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.queue) > 0
}

// leave ends the subscription: nothing is handed over any more.
func (m *member) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gone, m.queue, m.missed, m.waiting, m.bytes = true, nil, nil, 0, 0
}

// own reports whether it is to the hub's own channel.
func (s *subscription) own() bool { return s.topic != nil && s.topic.name == "" }
