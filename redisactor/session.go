package redisactor

import (
	"context"
	"errors"
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

	heard, resumed atomic.Int64 // when something was last read, and when the reader last had waited for a hub
	busy           atomic.Bool  // the reader waits for a hub, not for Redis

	mu   sync.Mutex
	todo []request
	wake chan struct{}
}

// request is something to write; in this order.
type request struct {
	unsubscribe []string
	ping        uint64 // 0: none
	subscribe   []string
}

// To the subscriber, from its session.
type (
	connected struct{ *session }
	// subscribed: Redis confirmed a subscription to channel.
	subscribed struct {
		*session
		channel string
	}
	pong struct {
		*session
		n uint64
	}
	broken struct {
		*session
		err error
	}
)

// message is one that Redis sent, from the reader to a hub's redis actor, which gives back the member's credit.
type message struct {
	member *member
	epoch  uint64
	*received
}

// received is what several hubs may get. The frame is made when the first asks: of its own messages a hub has one already.
type received struct {
	payload string
	once    sync.Once
	made    *actors.Frame
}

func (r *received) frame() *actors.Frame {
	r.once.Do(func() { r.made = actors.NewFrame([]byte(r.payload)) })
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

// open connects and subscribes to channels, in the background.
func open(l *link, epoch uint64, to *actor.PID, channels []string) *session {
	s := &session{link: l, epoch: epoch, to: to, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.pubsub = l.client.Subscribe(s.ctx) // to nothing: no connection yet
	s.heard.Store(sinceBase())
	s.resumed.Store(sinceBase())
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

// quiet is how long the reader has waited for Redis in vain, and when it last heard of it.
func (s *session) quiet() (d time.Duration, heard time.Duration) {
	heard = time.Duration(s.heard.Load())
	if s.busy.Load() {
		return 0, heard
	}
	return time.Duration(sinceBase() - max(s.resumed.Load(), int64(heard))), heard
}

func (s *session) run(channels []string) error {
	ctx, cancel := context.WithTimeout(s.ctx, connectWithin)
	err := s.pubsub.Subscribe(ctx, channels...)
	cancel()
	if err != nil {
		return err
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
	if len(r.unsubscribe) > 0 {
		if err := s.pubsub.Unsubscribe(spent, r.unsubscribe...); err != nil {
			return err
		}
	}
	if r.ping > 0 {
		if err := s.pubsub.Ping(spent, strconv.FormatUint(r.ping, 10)); err != nil {
			return err
		}
	}
	if len(r.subscribe) > 0 {
		return s.pubsub.Subscribe(spent, r.subscribe...)
	}
	return nil
}

func (s *session) read() error {
	confirmed := make(map[string]bool)
	ponged := uint64(0)
	for {
		reply, err := s.pubsub.Receive(spent)
		s.heard.Store(sinceBase())
		if err != nil {
			return err
		}
		switch m := reply.(type) {
		case *redis.Message:
			if !s.deliver(m, ponged) {
				return s.ctx.Err()
			}
		case *redis.Pong:
			if n, err := strconv.ParseUint(m.Payload, 10, 64); err == nil {
				ponged = n
				s.report(&pong{s, n})
			}
		case *redis.Subscription:
			switch {
			case m.Kind != "subscribe":
				delete(confirmed, m.Channel)
			case confirmed[m.Channel]:
				return errReconnected
			default:
				confirmed[m.Channel] = true
				s.report(&subscribed{s, m.Channel})
			}
		}
	}
}

// deliver hands m to those who listen. It waits for a credit of each, so that what is on its way to a hub that cannot
// keep up stays with Redis; false means that the session ended meanwhile.
func (s *session) deliver(m *redis.Message, ponged uint64) bool {
	var r *received
	for _, to := range s.link.listeners(m.Channel) {
		if to.epoch.Load() != s.epoch || to.from.Load() > ponged {
			continue
		}
		if !s.credit(to) {
			if s.ctx.Err() != nil {
				return false
			}
			continue
		}
		if r == nil {
			r = &received{payload: m.Payload}
		}
		s.link.system.Root.Send(to.to, &message{to, s.epoch, r})
	}
	return true
}

// credit waits for a credit of a member; false means that the member has left meanwhile, or the session ended.
func (s *session) credit(of *member) (ok bool) {
	select {
	case of.credits <- struct{}{}:
		return true
	default:
	}
	s.busy.Store(true)
	select {
	case of.credits <- struct{}{}:
		ok = true
	case <-of.gone:
	case <-s.ctx.Done():
	}
	s.resumed.Store(sinceBase())
	s.busy.Store(false)
	return ok
}
