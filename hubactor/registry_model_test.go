package hubactor_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"pgregory.net/rapid"
)

// conn is a connection as the hub's own are: with an outbox and an actor that connections runs. It writes what it gets into
// got; like a client it ends when it is closed, and can be registered once.
type conn struct {
	box *actors.Outbox
	got *inbox[string]
}

func newConn(h *hub) *conn {
	c := &conn{actors.NewOutbox(1 << 16), newInbox[string]()}
	c.box.SetHome(h.link, c)
	c.box.Resume()
	h.system.Root.Send(h.link.Connections, &actors.Adopt{Kind: "model", Subscriber: c, Outbox: c.box, Actor: actor.ReceiveFunc(c.receive)})
	return c
}

func (c *conn) Outbox() *actors.Outbox { return c.box }
func (c *conn) Send(data []byte) bool  { return c.box.Send(actors.NewFrame(data)) == nil }
func (c *conn) Close()                 { c.box.Close(&actors.Close{Reason: actors.ReasonClosed}) }

func (c *conn) receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		for f := range m.Messages {
			c.got.add(string(f.Payload()))
		}
		c.endIfDrained()
	case *actors.Close:
		c.endIfDrained()
	case *actor.Stopped:
		c.got.add("closed")
		c.box.Discard()
	}
}

func (c *conn) endIfDrained() {
	if c.box.Reason() != actors.ReasonNone && c.box.Drained() {
		c.box.Stop()
	}
}

// modelled is what the model knows of a subscriber.
type modelled struct {
	actors.Subscriber
	got    *inbox[string]
	member bool
	closed bool // a connection that has ended
	want   []string
	events []string
}

// TestARegistryBehavesLikeItsModel drives a hub by messages: who gets what, in which order; events in pairs; the number of
// members; through crashes of the registry and with subscribers that end by themselves.
func TestARegistryBehavesLikeItsModel(t *testing.T) {
	rounds := 0
	rapid.Check(t, func(rt *rapid.T) {
		rounds++
		m := newRegistryModel(t, rt, rounds)
		defer m.end()
		anyone := func() *modelled { return rapid.SampledFrom(m.subs).Draw(rt, "subscriber") }
		rt.Repeat(map[string]func(*rapid.T){
			"register":     func(*rapid.T) { m.register(anyone()) },
			"unregister":   func(*rapid.T) { m.unregister(anyone()) },
			"broadcast":    func(*rapid.T) { m.broadcast() },
			"burst":        func(*rapid.T) { m.broadcast(); m.broadcast(); m.broadcast() },
			"crash":        func(*rapid.T) { m.crash() },
			"close itself": func(*rapid.T) { m.closeItself(anyone()) },
			"come anew":    func(*rapid.T) { m.comeAnew(anyone()) },
			"nobody":       func(*rapid.T) { m.h.send(&actors.Unregister{Subscriber: newSub()}) },
		})
		m.check()
	})
}

type registryModel struct {
	rt      *rapid.T
	h       *hub
	subs    []*modelled
	past    []*modelled // connections that were followed by new ones
	marks   *sub        // tells how far the registry is
	mark    int
	texts   int
	crashes int

	mu     sync.Mutex
	events map[actors.Subscriber][]string
}

func newRegistryModel(t *testing.T, rt *rapid.T, round int) *registryModel {
	m := &registryModel{rt: rt, marks: newSub(), events: map[actors.Subscriber][]string{}}
	note := func(what string) func(actors.Subscriber) {
		return func(s actors.Subscriber) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.events[s] = append(m.events[s], what)
		}
	}
	system := actors.System()
	cfg := hubactor.Config{OnConnect: note("+"), OnDisconnect: note("-")}
	pid, err := system.Root.SpawnNamed(hubactor.Props(cfg), fmt.Sprint("model-", round, "-", time.Now().UnixNano()))
	if err != nil {
		rt.Fatal(err)
	}
	m.h = &hub{t, system, pid, actors.ResolveLink(system, pid)}
	m.h.send(&actors.Register{Subscriber: m.marks, Topics: []string{"marks"}})
	for i := range 5 {
		m.subs = append(m.subs, m.newSubscriber(i < 2))
	}
	return m
}

func (m *registryModel) newSubscriber(foreign bool) *modelled {
	if foreign {
		s := newSub()
		return &modelled{Subscriber: s, got: s.got}
	}
	c := newConn(m.h)
	return &modelled{Subscriber: c, got: c.got}
}

func (m *registryModel) end() {
	m.h.send(&actors.Shutdown{})
	m.h.awaitEnd()
}

func (m *registryModel) register(s *modelled) {
	m.h.send(&actors.Register{Subscriber: s.Subscriber})
	switch {
	case s.closed: // it comes and goes
		s.events = append(s.events, "+", "-")
	case !s.member:
		s.member, s.events = true, append(s.events, "+")
	}
}

func (m *registryModel) unregister(s *modelled) {
	m.h.send(&actors.Unregister{Subscriber: s.Subscriber})
	if s.member {
		m.left(s)
	}
}

// left notes the end of a membership. A foreign subscriber may come again, a connection may not.
func (m *registryModel) left(s *modelled) {
	s.member, s.events, s.want = false, append(s.events, "-"), append(s.want, "closed")
	_, s.closed = s.Subscriber.(*conn)
}

func (m *registryModel) broadcast() {
	m.texts++
	text := fmt.Sprint(m.texts)
	m.h.broadcast(text)
	for _, s := range m.subs {
		if s.member {
			s.want = append(s.want, text)
		}
	}
}

func (m *registryModel) crash() {
	if m.crashes++; m.crashes <= 10 { // within the budget
		m.h.crash("registry", "model")
	}
}

// closeItself ends a subscriber without the hub's doing: a connection closes its outbox, a foreign one panics in its next
// Send, which unregisters it. The hub has to be through with what came before, and with this, for the model to know what
// comes when.
func (m *registryModel) closeItself(s *modelled) {
	m.settle()
	wasMember := s.member
	if c, ok := s.Subscriber.(*conn); ok {
		c.Close()
		if !s.closed && !s.member {
			s.closed, s.want = true, append(s.want, "closed")
		}
	} else if s.member {
		f := s.Subscriber.(*sub)
		m.waitFor(s)
		f.onSend = func(string) { f.onSend = nil; panic("enough") }
		m.texts++
		m.h.broadcast(fmt.Sprint(m.texts))
		for _, other := range m.subs {
			if other.member && other != s {
				other.want = append(other.want, fmt.Sprint(m.texts))
			}
		}
	}
	if wasMember {
		m.left(s)
		m.waitFor(s)
	}
}

// comeAnew is what a client does whose connection has ended: it makes another.
func (m *registryModel) comeAnew(s *modelled) {
	if !s.closed {
		return
	}
	m.past = append(m.past, s)
	m.subs[slices.Index(m.subs, s)] = m.newSubscriber(false)
}

// settle waits until the registry has taken all that was sent before, and posted it: to a topic that only marks is in, since when
// one has got what is the hub's, others may be still to get it.
func (m *registryModel) settle() {
	m.mark++
	text := fmt.Sprint("mark ", m.mark)
	m.h.send(&actors.Broadcast{Frame: actors.NewFrame([]byte(text)), Topic: "marks"})
	m.until("the registry has settled", func() bool { return slices.Contains(m.marks.got.all(), text) })
}

// waitFor waits until s has got what it should, and its events were told.
func (m *registryModel) waitFor(s *modelled) {
	var got, events []string
	ok := m.until("", func() bool {
		m.mu.Lock()
		events = slices.Clone(m.events[s.Subscriber])
		m.mu.Unlock()
		got = s.got.all()
		return len(got) >= len(s.want) && len(events) >= len(s.events)
	})
	if !ok || !slices.Equal(got, s.want) || !slices.Equal(events, s.events) {
		m.rt.Fatalf("%T got %q, want %q; events %q, want %q", s.Subscriber, got, s.want, events, s.events)
	}
}

func (m *registryModel) until(what string, ok func() bool) bool { return until(m.rt, what, ok) }

// until waits for ok; what says what is wrong if that takes too long, "" that the caller will.
func until(rt *rapid.T, what string, ok func() bool) bool {
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			if what != "" {
				rt.Fatalf("not within 10 s: %s", what)
			}
			return false
		}
	}
	return true
}

func (m *registryModel) check() {
	m.settle()
	members := 1 // marks
	for _, s := range slices.Concat(m.past, m.subs) {
		m.waitFor(s)
		if s.member {
			members++
		}
	}
	m.until(fmt.Sprint(members, " members"), func() bool { return m.h.count() == members })
	m.end()
	for _, s := range slices.Concat(m.past, m.subs) {
		_, isConn := s.Subscriber.(*conn)
		switch {
		case s.member:
			m.left(s)
		case isConn && !s.closed: // it was there all the same
			s.want = append(s.want, "closed")
		}
		m.waitFor(s)
	}
}
