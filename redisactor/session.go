package redisactor

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

// connectWithin bounds dialling, the handshake and asking for the subscriptions.
const connectWithin = 5 * time.Second

var (
	errReconnected = errors.New("wskit: the redis subscription was renewed unasked")
	errSilent      = errors.New("wskit: the redis subscription does not answer a ping")
)

// session is one subscription connection: a goroutine that reads and one that writes. It decides nothing. What happens
// it reports to the subscriber, and messages go straight to the members. Its epoch is in all it says, so what comes late
// from a connection that was given up is ignored.
type session struct {
	link   *link
	epoch  uint64
	to     *actor.PID
	pubsub *redis.PubSub
	ctx    context.Context // ends with the session
	cancel context.CancelFunc
	once   sync.Once
	heard  atomic.Int64 // when something was last read

	mu     sync.Mutex
	todo   []request
	wake   chan struct{}
	unsaid []*question // written, or about to be, and not answered yet, in order
}

// maxNames is how many channels one SUBSCRIBE or UNSUBSCRIBE names at most: Redis carries a command out at one go.
const maxNames = 512

// request is something to write; in this order.
type request struct {
	unsubscribe []string
	ping        uint64 // 0: none
	by          string // the PING is a SUBSCRIBE to this channel, which is subscribed to; "": it is a PING
	subscribe   []string
}

// question is a command that Redis has yet to answer: with a word for each channel, with a pong, or with one error for
// all of it. On a connection answers come in the order of the commands, and an error does not say whose it is.
type question struct {
	kind     string // what its answers are called
	channels []string
	ping     uint64 // 0: it is no PING
}

// To the subscriber, from its session.
type (
	connected struct{ *session }
	// subscribed: Redis confirmed a subscription to channel.
	subscribed struct {
		*session
		channel string
	}
	// pong: PING number n was answered, after whatever Redis sent before it; err is not nil if the answer was an error.
	pong struct {
		*session
		n   uint64
		err error
	}
	// denied: Redis answered a SUBSCRIBE to these channels with an error.
	denied struct {
		*session
		channels []string
		err      error
	}
	broken struct {
		*session
		err error
	}
)

// message is one that Redis sent, from the reader to a hub's redis actor, which gives back the member's credit.
type message struct {
	to    *subscription
	epoch uint64
	*received
}

// received is what several hubs may get. The frame is made when the first asks: of its own messages a hub has one already.
type received struct {
	payload string
	record  *record // nil: it is none
	once    sync.Once
	made    *actors.Frame
}

func (r *received) frame() *actors.Frame {
	r.once.Do(func() {
		if r.record != nil {
			r.made = r.record.frame()
		} else {
			r.made = actors.NewFrame([]byte(r.payload))
		}
	})
	return r.made
}

// IgnoreDeadLetterLogging keeps protoactor silent about a message that arrives just after a hub stopped.
func (*message) IgnoreDeadLetterLogging() {}

// spent is a context that has ended. go-redis looks at the context of Receive, Ping and Subscribe only to dial: with this
// one a PubSub that lost its connection cannot renew it, and the subscriptions, behind our back.
var spent = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// base is what the times of sessions count from.
var base = time.Now()

func sinceBase() int64 { return int64(time.Since(base)) }

// of is whose word a message is that embeds it, or whose time has come.
func (s *session) of() *session { return s }

// open connects and subscribes to channels, in the background.
func open(l *link, epoch uint64, to *actor.PID, channels []string) *session {
	s := &session{link: l, epoch: epoch, to: to, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pubsub = l.bounded.Subscribe(s.ctx) // to nothing: no connection yet
	s.heard.Store(sinceBase())
	s.fenced(func() error { return s.run(channels) })
	return s
}

// fenced runs fn, which runs hooks of the client, in a goroutine. The session ends with it.
func (s *session) fenced(fn func() error) {
	go func() {
		var err error
		if crash := actors.Fence("redis subscription", func() { err = fn() }); crash != nil {
			err = crash
		}
		s.close()
		s.report(&broken{s, err})
	}()
}

// close ends the session, without waiting for that.
func (s *session) close() {
	s.once.Do(func() {
		s.cancel()
		go func() { _ = s.pubsub.Close() }() // waits for a dial or a write under way
	})
}

func (s *session) report(message any) { s.link.system.Root.Send(s.to, message) }

// ask has r written by and by.
func (s *session) ask(r request) {
	s.mu.Lock()
	s.todo = append(s.todo, r)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *session) run(channels []string) error {
	first := channels[:min(len(channels), maxNames)]
	ctx, cancel := context.WithTimeout(s.ctx, connectWithin)
	s.expect(&question{kind: "subscribe", channels: first})
	err := s.pubsub.Subscribe(ctx, first...)
	cancel()
	if err != nil {
		return err
	}
	if rest := channels[len(first):]; len(rest) > 0 {
		s.ask(request{subscribe: rest}) // before the subscriber, which does not know yet that it may, asks for more
	}
	s.report(&connected{s})
	s.fenced(s.write)
	return s.read()
}

func (s *session) write() error {
	for {
		select {
		case <-s.ctx.Done():
			return s.ctx.Err()
		case <-s.wake:
		}
		s.mu.Lock()
		todo := s.todo
		s.todo = nil
		s.mu.Unlock()
		for _, r := range todo {
			if err := s.send(r); err != nil {
				return err
			}
		}
	}
}

func (s *session) send(r request) error {
	for names := range slices.Chunk(r.unsubscribe, maxNames) {
		s.expect(&question{kind: "unsubscribe", channels: names})
		if err := s.pubsub.Unsubscribe(spent, names...); err != nil {
			return err
		}
	}
	if r.ping > 0 {
		if err := s.ping(r); err != nil {
			return err
		}
	}
	for names := range slices.Chunk(r.subscribe, maxNames) {
		s.expect(&question{kind: "subscribe", channels: names})
		if err := s.pubsub.Subscribe(spent, names...); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) ping(r request) error {
	if r.by != "" {
		s.expect(&question{kind: "subscribe", channels: []string{r.by}, ping: r.ping})
		return s.pubsub.Subscribe(spent, r.by)
	}
	s.expect(&question{kind: "pong", ping: r.ping})
	return s.pubsub.Ping(spent, strconv.FormatUint(r.ping, 10))
}

// expect notes a question, before it is written: its answer may be here before the writer goes on.
func (s *session) expect(q *question) {
	q.channels = slices.Clone(q.channels)
	s.mu.Lock()
	s.unsaid = append(s.unsaid, q)
	s.mu.Unlock()
}

// first is the question that is answered next; nil: none.
func (s *session) first() *question {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsaid) == 0 {
		return nil
	}
	return s.unsaid[0]
}

// answered notes that the first question is.
func (s *session) answered() {
	s.mu.Lock()
	s.unsaid = slices.Delete(s.unsaid, 0, 1)
	s.mu.Unlock()
}

// read reads until the connection breaks, or Redis says what nobody has asked for: then go-redis, or something between it
// and Redis, has renewed the subscription, and nobody knows what was missed.
func (s *session) read() error {
	ponged := uint64(0)
	for {
		reply, err := s.pubsub.Receive(spent)
		s.heard.Store(sinceBase())
		if err == nil {
			if m, ok := reply.(*redis.Message); ok {
				s.deliver(m, ponged)
				continue
			}
		} else if !said(err) {
			return err
		}
		q := s.first()
		if q == nil || !s.settle(q, reply, err) {
			if err != nil {
				return err
			}
			return errReconnected
		}
		if q.ping > 0 {
			ponged = q.ping
			s.report(&pong{s, q.ping, err})
		}
	}
}

// settle takes reply, or the error that Redis gave in its place, for an answer to q; false: it is none.
func (s *session) settle(q *question, reply any, err error) bool {
	if err != nil {
		s.answered()
		if q.kind == "subscribe" && q.ping == 0 {
			s.report(&denied{s, q.channels, err})
		}
		return true
	}
	switch m := reply.(type) {
	case *redis.Pong:
		if q.kind != "pong" || m.Payload != strconv.FormatUint(q.ping, 10) {
			return false
		}
	case *redis.Subscription:
		i := slices.Index(q.channels, m.Channel)
		if m.Kind != q.kind || i < 0 {
			return false
		}
		q.channels[i] = q.channels[0] // most often it is the first
		q.channels = q.channels[1:]
		if q.kind == "subscribe" && q.ping == 0 {
			s.report(&subscribed{s, m.Channel})
		}
		if len(q.channels) > 0 {
			return true
		}
	}
	s.answered()
	return true
}

// deliver hands m to those who listen.
func (s *session) deliver(m *redis.Message, ponged uint64) {
	var list []received
	for _, to := range s.link.listeners(m.Channel) {
		if to.epoch.Load() != s.epoch || to.from.Load() > ponged {
			continue
		}
		if list == nil {
			list = receive(m.Payload)
		}
		for i := range list {
			to.take(&message{to, s.epoch, &list[i]})
		}
	}
}

// receive is what was published with one PUBLISH.
func receive(payload string) []received {
	records, ok := parseRecords(payload, false)
	if !ok {
		return []received{{payload: payload}}
	}
	list := make([]received, len(records))
	for i := range records {
		list[i].payload, list[i].record = records[i].payload, &records[i]
	}
	return list
}
