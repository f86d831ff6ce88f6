package actors

import (
	"runtime"
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// Mailbox is what the permanent actors of a hub have in place of protoactor's default mailbox, of which it takes a third of the memory:
// not bounded, first in, first out, and system messages before all others. An actor.MessageBatch is a message like others to it. Its
// dispatcher must not run it before Schedule returns.
type Mailbox struct {
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
	runFn      func()

	mu        sync.Mutex
	user      queue[any]
	system    []any
	running   bool // a run is scheduled or under way
	suspended bool // the actor failed and its supervisor has not decided yet
	held      bool // until release
}

// NewMailbox makes a Mailbox, for actor.WithMailbox.
func NewMailbox() actor.Mailbox { return new(Mailbox) }

// PostUserMessage implements actor.Mailbox.
func (m *Mailbox) PostUserMessage(message any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.user.add(message)
	m.schedule()
}

// PostSystemMessage implements actor.Mailbox.
func (m *Mailbox) PostSystemMessage(message any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.system = append(m.system, message)
	m.schedule()
}

// RegisterHandlers implements actor.Mailbox.
func (m *Mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.invoker, m.dispatcher, m.runFn = invoker, dispatcher, m.run
}

// Start implements actor.Mailbox.
func (*Mailbox) Start() {}

// UserMessageCount implements actor.Mailbox.
func (m *Mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user.len()
}

// schedule has the dispatcher run the mailbox unless it runs already or nothing may be handled. The lock is held.
func (m *Mailbox) schedule() {
	if !m.running && !m.held && (len(m.system) > 0 || !m.suspended && m.user.len() > 0) {
		m.running = true
		m.dispatcher.Schedule(m.runFn)
	}
}

// release lets an actor begin that was held.
func (m *Mailbox) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = false
	m.schedule()
}

func (m *Mailbox) run() {
	for m.runSome() {
		runtime.Gosched()
	}
}

// runSome handles as many messages as the dispatcher has handled at a time, or up to one with which the actor panics; false: there are no
// more.
func (m *Mailbox) runSome() (more bool) {
	var message any
	defer func() {
		if v := recover(); v != nil {
			m.invoker.EscalateFailure(v, message)
			more = true
		}
	}()
	for range m.dispatcher.Throughput() {
		var system, ok bool
		switch message, system, ok = m.take(); {
		case !ok:
			return false
		case system:
			m.invoker.InvokeSystemMessage(message)
		default:
			m.invoker.InvokeUserMessage(message)
		}
	}
	return true
}

// take is the message to handle now; not ok: there is none, and the mailbox is idle.
func (m *Mailbox) take() (message any, system, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.system) > 0 {
		message, m.system = pop(m.system)
		switch message.(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
		case *actor.ResumeMailbox:
			m.suspended = false
		default:
			return message, true, true
		}
	}
	var first [1]any
	if m.suspended || m.user.take(first[:]) == 0 {
		m.running = false
		return nil, false, false
	}
	return first[0], false, true
}
