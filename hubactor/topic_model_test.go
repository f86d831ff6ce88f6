package hubactor_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"pgregory.net/rapid"
)

// TestTopicsBehaveLikeTheirModel drives two hubs through their gates, by one caller: who gets what of the hub's, of topics' and of
// users', in which order and with whom left out, through crashes of the registries; who is counted where after each step; and
// what the link to Redis hears of topics.
func TestTopicsBehaveLikeTheirModel(t *testing.T) {
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := newTopicsModel(t, rt, round)
		defer m.end()
		anyone := func() *peer { return rapid.SampledFrom(m.peers).Draw(rt, "subscriber") }
		anyHub := func() *side { return m.sides[max(rapid.IntRange(-2, 1).Draw(rt, "hub"), 0)] }
		topic := func() string {
			if rapid.Bool().Draw(rt, "busy topic") {
				return m.names[0]
			}
			return rapid.SampledFrom(m.names).Draw(rt, "topic")
		}
		member := func(h *side, topic string) *peer { // anyone, if there is none
			in := slices.DeleteFunc(slices.Clone(m.peers), func(p *peer) bool { return !p.in[h][topic] })
			if len(in) == 0 {
				in = m.peers
			}
			return rapid.SampledFrom(in).Draw(rt, "member")
		}
		rt.Repeat(map[string]func(*rapid.T){
			"register":   func(*rapid.T) { m.register(anyHub(), anyone(), nil) },
			"come":       func(*rapid.T) { m.register(anyHub(), anyone(), []string{topic(), topic()}) },
			"unregister": func(*rapid.T) { m.unregister(anyHub(), anyone()) },
			"close":      func(*rapid.T) { m.close(anyone()) },
			"come anew":  func(*rapid.T) { m.comeAnew(anyone()) },
			"join": func(*rapid.T) {
				h, name := anyHub(), topic()
				for range 3 {
					m.join(h, anyone(), name)
				}
			},
			"join all": func(*rapid.T) {
				h, p := anyHub(), anyone()
				for _, name := range m.names {
					m.join(h, p, name)
				}
			},
			"leave": func(*rapid.T) { m.leave(anyHub(), anyone(), topic()) },
			"part": func(*rapid.T) {
				h, name := anyHub(), topic()
				for range 2 {
					m.leave(h, member(h, name), name)
				}
			},
			"part all": func(*rapid.T) {
				h, p := anyHub(), anyone()
				for _, name := range m.names[:len(m.names)*3/4] {
					m.leave(h, p, name)
				}
			},
			"disconnect": func(*rapid.T) { m.disconnect(anyHub(), rapid.SampledFrom(users).Draw(rt, "user")) },
			"crash":      func(*rapid.T) { m.crash(anyHub()) },
			"broadcast":  func(*rapid.T) { m.broadcast(anyHub(), "", nil) },
			"except":     func(*rapid.T) { m.broadcast(anyHub(), "", anyone()) },
			"to topics": func(*rapid.T) {
				h := anyHub()
				for range 3 {
					m.broadcast(h, topic(), nil)
				}
			},
			"to one except": func(*rapid.T) { m.broadcast(anyHub(), topic(), anyone()) },
			"to a user": func(*rapid.T) {
				m.broadcast(anyHub(), actors.UserTopic(rapid.SampledFrom(users).Draw(rt, "user")), nil)
			},
			"": func(*rapid.T) {
				m.checkCounts()
				m.broadcast(m.sides[0], topic(), nil)
			},
		})
		m.check()
	})
}

var users = []string{"ann", "bob"}

// side is one hub and what its model knows.
type side struct {
	*hub
	letter   string // that its texts begin with
	marks    *sub
	crashes  int
	interest *interests
	wanted   map[string][]bool // what the link to Redis hears of each topic
}

// peer is a subscriber: a connection whose home is one of the hubs, or a foreign one.
type peer struct {
	actors.Subscriber
	got  *inbox[string]
	home *side // nil: foreign
	user string
	in   map[*side]map[string]bool // where it is a member, and of which topics
	want map[*side][]string
	over bool // a connection that has ended
}

// GoString is for what rapid draws.
func (h *side) GoString() string { return h.letter }
func (p *peer) GoString() string { return fmt.Sprintf("%T of %q", p.Subscriber, p.user) }

type topicsModel struct {
	rt    *rapid.T
	sides []*side
	peers []*peer
	past  []*peer // connections that were followed by new ones
	names []string
	limit int
	texts int
}

func newTopicsModel(t *testing.T, rt *rapid.T, round int) *topicsModel {
	m := &topicsModel{rt: rt, limit: 4}
	topics := 5
	if rapid.Bool().Draw(rt, "many topics") {
		topics, m.limit = 80, 75
	}
	for i := range topics {
		m.names = append(m.names, fmt.Sprint("t", i))
	}
	for _, letter := range []string{"A", "B"} {
		s := &side{letter: letter, marks: newSub(), interest: &interests{heard: map[string][]bool{}}, wanted: map[string][]bool{}}
		system := actors.System()
		pid, err := system.Root.SpawnNamed(hubactor.Props(hubactor.Config{MaxTopics: m.limit, Redis: s.interest.spec}),
			fmt.Sprint("topics-", letter, round, "-", time.Now().UnixNano()))
		if err != nil {
			rt.Fatal(err)
		}
		s.hub = &hub{t, system, pid, actors.ResolveLink(system, pid)}
		m.enter(s, &actors.Register{Subscriber: s.marks, Topics: []string{"marks"}})
		s.wanted["marks"] = []bool{true}
		m.sides = append(m.sides, s)
	}
	for _, user := range append(users, users[0], "") {
		m.peers = append(m.peers, m.newConnection(m.sides[0], user))
	}
	m.peers = append(m.peers, m.newConnection(m.sides[1], users[0]))
	for _, p := range m.peers {
		m.register(m.sides[0], p, nil)
	}
	for range 2 {
		f := newSub()
		m.peers = append(m.peers, &peer{Subscriber: f, got: f.got, in: map[*side]map[string]bool{}, want: map[*side][]string{}})
	}
	return m
}

func (m *topicsModel) newConnection(home *side, user string) *peer {
	c := &conn{actors.NewOutbox(1 << 16), newInbox[string]()}
	c.box.SetHome(home.link, c)
	c.box.SetUser(user)
	c.box.Resume()
	home.system.Root.Send(home.link.Connections, &actors.Adopt{Kind: "model", Subscriber: c, Outbox: c.box, Actor: actor.ReceiveFunc(c.receive)})
	return &peer{Subscriber: c, got: c.got, home: home, user: user, in: map[*side]map[string]bool{}, want: map[*side][]string{}}
}

func (m *topicsModel) end() {
	for _, h := range m.sides {
		h.send(&actors.Shutdown{})
	}
	for _, h := range m.sides {
		h.awaitEnd()
	}
}

func (m *topicsModel) enter(h *side, op actors.Operation) error {
	err := h.link.Gate.Enter(op, 10*time.Second)
	if errors.Is(err, actors.ErrTimeout) {
		m.rt.Fatal(err)
	}
	return err
}

// count is how many are in a topic; that of a user's own is by who they are.
func (m *topicsModel) count(h *side, topic string) (n int) {
	for _, p := range m.peers {
		if p.in[h][topic] {
			n++
		}
	}
	return n
}

func (m *topicsModel) put(h *side, p *peer, topic string) {
	if !p.in[h][topic] {
		if m.count(h, topic) == 0 {
			h.wanted[topic] = append(h.wanted[topic], true)
		}
		p.in[h][topic] = true
	}
}

func (m *topicsModel) take(h *side, p *peer, topic string) {
	if p.in[h][topic] {
		if m.count(h, topic) == 1 {
			h.wanted[topic] = append(h.wanted[topic], false)
		}
		delete(p.in[h], topic)
	}
}

// gone takes p out of h.
func (m *topicsModel) gone(h *side, p *peer) {
	for topic := range maps.Clone(p.in[h]) {
		m.take(h, p, topic)
	}
	delete(p.in, h)
}

// full reports whether p is in as many topics as it may be. Its user's own does not count.
func (m *topicsModel) full(h *side, p *peer) bool {
	n := len(p.in[h])
	if p.in[h][actors.UserTopic(p.user)] {
		n--
	}
	return n >= m.limit
}

func (m *topicsModel) register(h *side, p *peer, topics []string) {
	if err := m.enter(h, &actors.Register{Subscriber: p.Subscriber, Topics: topics}); err != nil {
		m.rt.Fatal(err)
	}
	if p.over {
		return
	}
	if p.in[h] == nil {
		p.in[h] = map[string]bool{}
		if p.home == h && p.user != "" {
			m.put(h, p, actors.UserTopic(p.user))
		}
	}
	for _, topic := range topics {
		if !m.full(h, p) {
			m.put(h, p, topic)
		}
	}
}

func (m *topicsModel) unregister(h *side, p *peer) {
	member := p.in[h] != nil
	if member && len(p.in) > 1 && p.home != nil { // its end in this hub is its end in the other, some time
		m.settle()
		m.waitFor(p)
	}
	if err := m.enter(h, &actors.Unregister{Subscriber: p.Subscriber}); err != nil {
		m.rt.Fatal(err)
	}
	switch {
	case !member:
	case p.home == nil:
		m.gone(h, p)
	default:
		m.ended(p)
	}
}

// close has a connection end by itself. What was broadcast before is to be there: of what is not, nobody can say how much is.
func (m *topicsModel) close(p *peer) {
	if p.home == nil || p.over {
		return
	}
	m.settle()
	m.waitFor(p)
	p.Close()
	m.ended(p)
}

// ended notes the end of a connection, and awaits it: only then is it known that it can come no more.
func (m *topicsModel) ended(p *peer) {
	p.over = true
	for _, h := range m.sides {
		m.gone(h, p)
	}
	m.until("a connection ends", func() bool { return slices.Contains(p.got.all(), "closed") })
}

func (m *topicsModel) comeAnew(p *peer) {
	if p.over {
		m.past = append(m.past, p)
		m.peers[slices.Index(m.peers, p)] = m.newConnection(p.home, p.user)
	}
}

func (m *topicsModel) join(h *side, p *peer, topic string) {
	want := error(nil)
	switch {
	case p.in[h] == nil:
		want = actors.ErrNotRegistered
	case !p.in[h][topic] && m.full(h, p):
		want = actors.ErrTooManyTopics
	default:
		m.put(h, p, topic)
	}
	if err := m.enter(h, &actors.Join{Subscriber: p.Subscriber, Topic: topic}); err != want {
		m.rt.Fatalf("join: %v, want %v", err, want)
	}
}

func (m *topicsModel) leave(h *side, p *peer, topic string) {
	want := error(nil)
	if p.in[h] == nil {
		want = actors.ErrNotRegistered
	} else {
		m.take(h, p, topic)
	}
	if err := m.enter(h, &actors.Leave{Subscriber: p.Subscriber, Topic: topic}); err != want {
		m.rt.Fatalf("leave: %v, want %v", err, want)
	}
}

func (m *topicsModel) disconnect(h *side, user string) {
	m.settle()
	var all []*peer
	for _, p := range m.peers {
		if p.user == user && p.home == h && p.in[h] != nil {
			m.waitFor(p)
			all = append(all, p)
		}
	}
	if n := h.link.Roll.Disconnect(user, 0, 0, &actors.Close{Reason: actors.ReasonClosed}); n != len(all) {
		m.rt.Fatalf("%d of %s's connections disconnected, want %d", n, user, len(all))
	}
	for _, p := range all {
		m.ended(p)
	}
}

func (m *topicsModel) crash(h *side) {
	if h.crashes++; h.crashes <= 9 { // within the budget
		h.hub.crash("registry", "model")
	}
}

func (m *topicsModel) broadcast(h *side, topic string, except *peer) {
	m.texts++
	text := fmt.Sprint(h.letter, m.texts)
	op := &actors.Broadcast{Frame: actors.NewFrame([]byte(text)), Topic: topic}
	if except != nil {
		op.Except = except.Subscriber
	}
	if err := m.enter(h, op); err != nil {
		m.rt.Fatal(err)
	}
	for _, p := range m.peers {
		if p != except && p.in[h] != nil && (topic == "" || p.in[h][topic]) {
			p.want[h] = append(p.want[h], text)
		}
	}
}

// settle waits until both registries have taken all that was admitted before.
func (m *topicsModel) settle() {
	for _, h := range m.sides {
		m.broadcast(h, "marks", nil) // which nobody else is in: when one gets the hub's, others may be still to get it
		text := fmt.Sprint(h.letter, m.texts)
		m.until("the registry has settled", func() bool { return slices.Contains(h.marks.got.all(), text) })
	}
}

// waitFor waits until p has got what it should. Of two hubs neither waits for the other.
func (m *topicsModel) waitFor(p *peer) {
	for _, h := range m.sides {
		var got []string
		m.until("", func() bool {
			got = slices.DeleteFunc(p.got.all(), func(text string) bool { return !strings.HasPrefix(text, h.letter) })
			return len(got) >= len(p.want[h])
		})
		if !slices.Equal(got, p.want[h]) {
			m.rt.Fatalf("%T of %q got %q, want %q", p.Subscriber, p.user, got, p.want[h])
		}
	}
}

func (m *topicsModel) until(what string, ok func() bool) { until(m.rt, what, ok) }

func (m *topicsModel) checkCounts() {
	for _, h := range m.sides {
		members, topics, present := 1, []string{"marks"}, []string{}
		for _, p := range m.peers {
			if p.in[h] == nil {
				continue
			}
			members++
			if p.home == h && p.user != "" && !slices.Contains(present, p.user) {
				present = append(present, p.user)
			}
		}
		for _, topic := range append(slices.Clone(m.names), actors.UserTopic(users[0]), actors.UserTopic(users[1])) {
			n := m.count(h, topic)
			if got := h.link.Roll.CountIn(topic); got != n {
				m.rt.Fatalf("%d in %q, want %d", got, topic, n)
			}
			if _, own := actors.TopicUser(topic); n > 0 && !own {
				topics = append(topics, topic)
			}
		}
		slices.Sort(topics)
		slices.Sort(present)
		if got := h.link.Roll.Count(); got != members {
			m.rt.Fatalf("%d counted, want %d", got, members)
		}
		if got := slices.Sorted(slices.Values(h.link.Roll.Topics())); !slices.Equal(got, topics) {
			m.rt.Fatalf("topics %q, want %q", got, topics)
		}
		if got := h.link.Roll.Users(); !slices.Equal(got, present) {
			m.rt.Fatalf("users %q, want %q", got, present)
		}
	}
	for _, p := range m.peers {
		if p.home == nil {
			continue
		}
		want := slices.DeleteFunc(slices.Sorted(maps.Keys(p.in[p.home])), func(topic string) bool { return topic[0] != 't' })
		if got := slices.Sorted(slices.Values(p.Subscriber.(*conn).box.TopicsOf())); !slices.Equal(got, want) {
			m.rt.Fatalf("in topics %q, want %q", got, want)
		}
	}
}

func (m *topicsModel) check() {
	m.settle()
	for _, p := range slices.Concat(m.past, m.peers) {
		m.waitFor(p)
	}
	for _, h := range m.sides {
		m.until("", func() bool { return maps.EqualFunc(h.interest.all(), h.wanted, slices.Equal) })
		if got := h.interest.all(); !maps.EqualFunc(got, h.wanted, slices.Equal) {
			m.rt.Fatalf("interest in %v, want %v", got, h.wanted)
		}
	}
	for _, p := range m.peers {
		for h := range p.in {
			m.unregister(h, p)
		}
	}
	m.checkCounts()
}

// interests is a link to Redis that only writes down what it is to be subscribed to.
type interests struct {
	mu    sync.Mutex
	heard map[string][]bool
}

func (i *interests) spec(*actors.Link) actors.Spec {
	return actors.Spec{Name: "redis", Kind: actors.Permanent, Budget: actors.Budget{Failures: 1, Within: time.Second}, Props: actor.PropsFromFunc(i.receive)}
}

func (i *interests) receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Interest:
		i.mu.Lock()
		i.heard[m.Topic] = append(i.heard[m.Topic], m.Wanted)
		i.mu.Unlock()
	case *actors.Drain:
		m.Done <- struct{}{}
	}
}

func (i *interests) all() map[string][]bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := map[string][]bool{}
	for topic, heard := range i.heard {
		all[topic] = slices.Clone(heard)
	}
	return all
}
