package wskit

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/wskit/wskit/actors"
)

// Member is what is known of who is connected. *Client and *SSEClient are one; a callback that is given a Subscriber finds out by
// asserting it. All of it is there before OnConnect, and stays when the connection has ended, but for Topics. Its methods may be called
// from any goroutine.
type Member interface {
	Subscriber
	// ID is the connection's own, unique over all instances. It is made when it is first asked for, and stays.
	ID() string
	// User is whose connection it is, by WithUser or the hub's WithAuthenticate; "": nobody's in particular.
	User() string
	// Value is what was given by WithValue, or by an Identity, under that key; nil: nothing was.
	Value(key any) any
	// Request is what outlives the request that was accepted: Method, URL, Host, RemoteAddr and the Header but for what the handshake
	// needs of it, which takes as much memory as http.Server.MaxHeaderBytes lets in. It has no body, and a context that never ends. Each
	// call makes a new one, which is the caller's. nil: the client was made by NewClient or NewSSEClient.
	Request() *http.Request
	// Topics are the names of the topics that it is in now, in order; its user's own is not among them.
	Topics() []string
}

// WithTopics makes the client a member of these topics from its first moment: nothing is missed between its registration and theirs.
// It may be given repeatedly. A name that is none, and more of them than WithMaxTopics allows, is the program's mistake: Accept and the
// like answer 500 and return an error that wraps ErrInvalidTopic or ErrTooManyTopics, and NewClient logs it and returns a closed client.
func WithTopics(names ...string) ClientOption {
	return setting(func(s *settings) { s.as.topics = append(s.as.topics, names...) })
}

// WithUser says whose connection this is: 1 to 255 bytes of UTF-8 without control characters, which are checked as WithTopics' names
// are. All connections of one user are reached by Hub.User. "": nobody's in particular, the default. It counts before the user of an
// Identity.
func WithUser(id string) ClientOption { return setting(func(s *settings) { s.as.user = id }) }

// WithValue gives the client a value, for its Value and that of the context of WithHandler's callback. It may be given repeatedly; of
// one key the last counts, and counts before that of an Identity. As with context.WithValue the key should have a type of its own. One
// that is nil or not comparable is the program's mistake, as in WithTopics, and the error wraps ErrInvalidArgument.
func WithValue(key, value any) ClientOption {
	return setting(func(s *settings) {
		switch g := &s.as; {
		case !isKey(key):
			g.err = fmt.Errorf("%w: the key of WithValue is nil or not comparable", ErrInvalidArgument)
		case g.values == nil:
			g.values = map[any]any{key: value}
		default:
			g.values[key] = value
		}
	})
}

// WithMaxTopics bounds how many topics one subscriber may be in at a time; those of users do not count. Default 128; <= 0: the default.
// The next Join returns ErrTooManyTopics.
func WithMaxTopics(n int) HubOption { return func(h *Hub) { h.cfg.MaxTopics = n } }

// ID implements Member.
func (c *Client) ID() string {
	if c == nil {
		return ""
	}
	return identify(&c.who).id()
}

// User implements Member.
func (c *Client) User() string { return c.identity().person().user }

// Value implements Member.
func (c *Client) Value(key any) any { return c.identity().person().value(key) }

// Request implements Member.
func (c *Client) Request() *http.Request { return c.identity().request() }

// Topics implements Member.
func (c *Client) Topics() []string { return topicsOf(c.Outbox()) }

func (c *Client) identity() *identity {
	if c == nil {
		return nil
	}
	return c.who.Load()
}

// ID implements Member.
func (c *SSEClient) ID() string {
	if c == nil {
		return ""
	}
	return identify(&c.who).id()
}

// User implements Member.
func (c *SSEClient) User() string { return c.identity().person().user }

// Value implements Member.
func (c *SSEClient) Value(key any) any { return c.identity().person().value(key) }

// Request implements Member.
func (c *SSEClient) Request() *http.Request { return c.identity().request() }

// Topics implements Member.
func (c *SSEClient) Topics() []string { return topicsOf(c.Outbox()) }

func (c *SSEClient) identity() *identity {
	if c == nil {
		return nil
	}
	return c.who.Load()
}

func topicsOf(box *actors.Outbox) []string {
	if box == nil {
		return nil
	}
	names := box.TopicsOf()
	slices.Sort(names)
	return names
}

// identity is what a Member knows. Every connection has one, so it is small: what is for few stands behind one pointer.
type identity struct {
	facts  facts
	serial atomic.Uint64 // of ID; 0: nobody has asked
	rare   *person       // nil: it is nobody's in particular
}

// person is the part that only options and hooks fill in. It does not change, but for pending.
type person struct {
	user    string
	values  map[any]any
	cursor  actors.Cursor            // where it goes on when it is registered, without a request
	pending atomic.Pointer[[]string] // topics to be in from the registration, which is still to come
}

// nobody is the person of all who are nobody in particular.
var nobody = new(person)

func (i *identity) person() *person {
	if i == nil || i.rare == nil {
		return nobody
	}
	return i.rare
}

func (p *person) value(key any) any {
	if p.values == nil || !isKey(key) {
		return nil
	}
	return p.values[key]
}

func (i *identity) request() *http.Request {
	if i == nil {
		return nil
	}
	return i.facts.request()
}

// identify is who's identity, which is made if there is none yet.
func identify(who *atomic.Pointer[identity]) *identity {
	if who.Load() == nil {
		who.CompareAndSwap(nil, new(identity))
	}
	return who.Load()
}

var lastSerial atomic.Uint64

func (i *identity) id() string {
	if i.serial.Load() == 0 {
		i.serial.CompareAndSwap(0, lastSerial.Add(1))
	}
	return actors.Instance() + "-" + strconv.FormatUint(i.serial.Load(), 36)
}

// isKey reports whether a value can be the key of a map.
func isKey(key any) bool { return key != nil && reflect.ValueOf(key).Comparable() }

// guest is who a connection is to be for, as options and hooks say.
type guest struct {
	user   string
	topics []string
	values map[any]any
	err    error // an option is not as it must be
}

// check reports what is wrong with g at a hub of these limits, and leaves each topic in it once.
func (g *guest) check(l *actors.Link) error {
	if g.err != nil {
		return g.err
	}
	if g.user != "" {
		if err := actors.CheckTopic(g.user); err != nil {
			return fmt.Errorf("%w: user %.80q", err, g.user)
		}
	}
	if len(g.topics) == 0 {
		return nil
	}
	for _, name := range g.topics {
		if err := actors.CheckTopic(name); err != nil {
			return fmt.Errorf("%w: topic %.80q", err, name)
		}
	}
	g.topics = slices.Clone(g.topics) // options may be for many
	slices.Sort(g.topics)
	if g.topics = slices.Compact(g.topics); len(g.topics) > l.TopicLimit() {
		return ErrTooManyTopics
	}
	return nil
}

// person is g for the time of the connection; nil: it is nobody in particular.
func (g *guest) person() *person {
	if g.user == "" && g.values == nil {
		return nil
	}
	return &person{user: g.user, values: g.values}
}

// welcome gives a client that was made without a request what its options say. With an error it is not to be.
func (h *Hub) welcome(who *atomic.Pointer[identity], box *actors.Outbox, s *settings) error {
	g := s.as
	if err := g.check(h.up()); err != nil {
		return err
	}
	p := g.person()
	if len(g.topics) > 0 {
		if p == nil {
			p = new(person)
		}
		p.pending.Store(&g.topics)
	}
	if c := (actors.Cursor{After: s.cursor, Last: s.replay}); c != (actors.Cursor{}) {
		if p == nil {
			p = new(person)
		}
		p.cursor = c
	}
	if p != nil {
		who.Store(&identity{rare: p})
		box.SetUser(g.user)
	}
	return nil
}

// registration is the message that registers sub, and what to do when that was admitted.
func registration(h *Hub, sub Subscriber) (m *actors.Register, admitted func()) {
	m = &actors.Register{Subscriber: sub}
	var of *Hub
	var who *identity
	switch c := sub.(type) {
	case *Client:
		of, who = c.hub, c.who.Load()
	case *SSEClient:
		of, who = c.hub, c.who.Load()
	}
	p := who.person()
	m.Cursor = p.cursor
	pending := p.pending.Load()
	if pending == nil || of.up() != h.up() { // the same hub may have several facades
		return m, func() {}
	}
	m.Topics = *pending
	return m, func() { p.pending.CompareAndSwap(pending, nil) } // another Register must not undo a Leave
}
