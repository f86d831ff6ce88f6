package redisactor

import (
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

const (
	// pingEvery is how often the subscription connection is pinged, pongWithin how long nothing may be read after that
	// before it counts as dead.
	pingEvery  = 3 * time.Second
	pongWithin = 2 * time.Second
)

// reconnect is how long the subscriber waits after a connection was lost or not to be had.
var reconnect = actors.Backoff{Min: time.Second, Max: 30 * time.Second, Jitter: 0.5}

// subscriber looks after the one subscription connection of a link, as long as there are members. It is the only one who
// tells members about it; each learns that a SUBSCRIBE or a PING is sent before it is, and that the answer came after
// whatever Redis sent before it.
type subscriber struct {
	link    *link
	self    *actor.PID
	session *session        // nil while there is none
	up      bool            // it is connected
	asked   map[string]bool // the channels it was asked to subscribe to
	expect  map[string]int  // confirmations to come, by channel
	ponged  uint64

	attempt  int         // that failed since the last confirmation
	retry    *time.Timer // nil: it does not wait
	turn     uint64      // of the last wait
	failedAt time.Time
	early    bool // the last attempt was not waited for
}

// To the subscriber, from the link.
type (
	// look: members have changed.
	look struct{}
	// alive: Redis has executed a command that was begun after since.
	alive struct{ since time.Time }
)

// To the subscriber, from its timers.
type (
	rested struct{ turn uint64 }
	tick   struct{ *session }
	// verdict on a PING that was sent at.
	verdict struct {
		*session
		at time.Duration
	}
)

// To a hub's redis actor, from the subscriber. The member says which of its subscriptions is meant.
type (
	// subscribing: a SUBSCRIBE is about to be sent.
	subscribing struct {
		*member
		epoch uint64
	}
	// confirmed: Redis has confirmed it.
	confirmed struct {
		*member
		epoch uint64
	}
	// lost: the connection is gone, or there was none to be had.
	lost struct {
		*member
		epoch uint64
		err   error
	}
	// pinging: PING number n is about to be sent.
	pinging struct {
		*member
		n uint64
	}
	// ponged: its answer has come.
	ponged struct {
		*member
		n uint64
	}
)

func newSubscriber(l *link) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &subscriber{link: l} })
}

func (s *subscriber) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	switch m := ctx.Message().(type) {
	case *look:
		s.link.looking.Store(false)
		s.look()
	case *connected:
		if m.session == s.session {
			s.up = true
			s.look()
			s.ping()
		}
	case *subscribed:
		if m.session == s.session {
			s.confirm(m.channel)
		}
	case *pong:
		if m.session == s.session {
			s.pong(m.n)
		}
	case *tick:
		if m.session == s.session {
			s.ping()
		}
	case *verdict:
		if m.session == s.session {
			s.judge(m)
		}
	case *broken:
		if m.session == s.session {
			s.fail(m.err)
		}
	case *rested:
		if m.turn == s.turn {
			s.early = false
			s.connect()
		}
	case *alive:
		s.alive(m.since)
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		s.self = ctx.Self()
		s.look()
	case *actor.Restarting, *actor.Stopping:
		s.rest(0)
		s.end(errCrashed)
	}
}

// look makes the subscription what the members want it to be.
func (s *subscriber) look() {
	members, channels := s.link.all()
	switch {
	case len(members) == 0:
		s.rest(0)
		s.end(nil)
		s.attempt = 0
	case s.session == nil && s.retry == nil:
		s.connect()
	case s.up:
		s.adjust(members, channels)
	}
}

func (s *subscriber) connect() {
	s.rest(0)
	members, channels := s.link.all()
	epoch := s.link.epochs.Add(1)
	s.up, s.asked, s.expect = false, make(map[string]bool), make(map[string]int)
	for _, m := range members {
		s.serve(m, epoch, 0)
	}
	for _, channel := range channels {
		s.asked[channel] = true
		s.expect[channel]++
	}
	if len(channels) > 0 {
		s.session = open(s.link, epoch, s.self, channels)
	}
}

// adjust brings a session that is connected up to date.
func (s *subscriber) adjust(members []*member, channels []string) {
	var r request
	for _, m := range members {
		if m.epoch.Load() != s.session.epoch {
			if r.ping == 0 {
				r.ping = s.link.numbers.Add(1)
			}
			s.serve(m, s.session.epoch, r.ping)
		}
	}
	wanted := make(map[string]bool, len(channels))
	for _, channel := range channels {
		wanted[channel] = true
		if !s.asked[channel] {
			s.asked[channel] = true
			s.expect[channel]++
			r.subscribe = append(r.subscribe, channel)
		}
	}
	for channel := range s.asked {
		if !wanted[channel] {
			delete(s.asked, channel)
			r.unsubscribe = append(r.unsubscribe, channel)
		}
	}
	s.session.ask(r)
	s.tell(members)
}

// serve lets a member have what comes on the connection after the answer to PING number from.
func (s *subscriber) serve(m *member, epoch, from uint64) {
	m.from.Store(from)
	m.epoch.Store(epoch)
	s.send(m, &subscribing{m, epoch})
}

// tell tells members that Redis has confirmed their subscription, if it has and they do not know.
func (s *subscriber) tell(members []*member) {
	for _, m := range members {
		epoch := s.session.epoch
		if m.epoch.Load() == epoch && m.told.Load() != epoch && m.from.Load() <= s.ponged &&
			s.asked[m.channel] && s.expect[m.channel] == 0 {
			m.told.Store(epoch)
			s.send(m, &confirmed{m, epoch})
		}
	}
}

func (s *subscriber) confirm(channel string) {
	s.attempt, s.early = 0, false
	if s.expect[channel]--; s.expect[channel] <= 0 {
		delete(s.expect, channel)
		s.tell(s.link.listeners(channel))
	}
}

func (s *subscriber) ping() {
	n := s.link.numbers.Add(1)
	members, _ := s.link.all()
	for _, m := range members {
		if m.curious.Load() {
			s.send(m, &pinging{m, n})
		}
	}
	at := time.Since(base) // before the writer has it: the pong may be here before ask returns
	s.session.ask(request{ping: n})
	s.after(pongWithin, &verdict{s.session, at})
}

func (s *subscriber) pong(n uint64) {
	s.ponged = n
	members, _ := s.link.all()
	s.tell(members)
	for _, m := range members {
		if m.curious.Load() {
			s.send(m, &ponged{m, n})
		}
	}
}

// judge looks at what came after a PING. A reader that waits for a hub says nothing about Redis.
func (s *subscriber) judge(v *verdict) {
	quiet, heard := s.session.quiet()
	switch {
	case heard > v.at:
		s.after(pingEvery-pongWithin, &tick{s.session})
	case quiet >= pongWithin:
		s.fail(errSilent)
	default:
		s.after(pongWithin-quiet, v)
	}
}

// fail gives the session up, and tries again after a while.
func (s *subscriber) fail(err error) {
	s.end(err)
	s.attempt++
	s.failedAt = time.Now()
	s.rest(reconnect.Delay(s.attempt, rand.Float64()))
}

// end ends the session, if there is one, and tells the members.
func (s *subscriber) end(err error) {
	if s.session == nil {
		return
	}
	s.session.close()
	members, _ := s.link.all()
	for _, m := range members {
		if epoch := s.session.epoch; m.epoch.Load() == epoch {
			s.send(m, &lost{m, epoch, err})
		}
	}
	s.session, s.up = nil, false
}

// rest waits for d before the next attempt; 0 ends the wait.
func (s *subscriber) rest(d time.Duration) {
	if s.retry != nil {
		s.retry.Stop()
		s.retry = nil
	}
	s.turn++
	s.link.resting.Store(d > 0)
	if d > 0 {
		s.retry = s.after(d, &rested{s.turn})
	}
}

// alive ends the wait: Redis is back. Only once between two attempts that were waited for, lest a Redis that takes
// PUBLISH and refuses SUBSCRIBE is asked as often as somebody publishes.
func (s *subscriber) alive(since time.Time) {
	if s.retry != nil && !s.early && since.After(s.failedAt) {
		s.early = true
		s.connect()
	}
}

func (s *subscriber) after(d time.Duration, message any) *time.Timer {
	self, system := s.self, s.link.system
	return time.AfterFunc(d, func() { system.Root.Send(self, message) })
}

func (s *subscriber) send(m *member, message any) { s.link.system.Root.Send(m.to, message) }
