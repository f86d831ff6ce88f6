package redisactor

import (
	"math/rand/v2"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

// reconnect is how long the subscriber waits after a connection was lost or not to be had, and before it asks again for a
// channel that Redis has refused.
var reconnect = actors.Backoff{Min: time.Second, Max: 30 * time.Second, Jitter: 0.5}

// subscriber looks after the one subscription connection of a link, as long as there are members. It is the only one who
// tells members about it; each learns that a SUBSCRIBE or a PING is sent before it is, and that the answer came after
// whatever Redis sent before it.
type subscriber struct {
	link    *link
	self    *actor.PID
	session *session            // nil while there is none
	up      bool                // it is connected
	asked   map[string]bool     // the channels it was asked to subscribe to
	expect  map[string]int      // confirmations to come, by channel
	refused map[string]*refusal // channels that Redis refuses, as far as they are wanted
	again   *time.Timer         // for the one that is to be tried next; nil: there is none
	ponged  uint64

	mute     bool   // Redis does not let this user send PING
	doubting uint64 // the PING that somebody's doubt has led to, until a little after its answer; 0: none
	allayed  bool   // it is answered
	doubted  bool   // somebody else is in doubt since

	renewals int    // since echoes came
	apart    uint64 // the epoch that is to be renewed, or was last

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
	// doubt: an answered PUBLISH has had no echo for a while: does one still come?
	doubt struct{}
	// apart: on this connection it does not.
	apart struct{ epoch uint64 }
	// together: echoes come again.
	together struct{}
)

// To the subscriber, from its timers.
type (
	rested  struct{ turn uint64 }
	tick    struct{ *session }
	renew   struct{ *session }
	allayed struct{ *session }
	// verdict on a PING that was sent at, to be spoken at due.
	verdict struct {
		*session
		at  time.Duration
		due time.Time
	}
)

// To a hub's redis actor, from the subscriber, in the order of what comes on the connection; only pinging overtakes what
// waits for the hub. The member says which of its subscriptions is meant.
type (
	// subscribing: the SUBSCRIBE that asks has the number n.
	subscribing struct {
		*member
		epoch, n uint64
	}
	// confirmed: Redis has confirmed it.
	confirmed struct {
		*member
		epoch uint64
	}
	// refused: Redis has not, and says why. It is asked again.
	refused struct {
		*member
		epoch uint64
		err   error
	}
	// lost: the connection is gone, or there was none to be had.
	lost struct {
		*member
		epoch uint64
		err   error
	}
	// pinging: PING number n, or the SUBSCRIBE of that number, is about to be sent.
	pinging struct {
		*member
		n uint64
	}
	// ponged: its answer has come.
	ponged struct {
		*member
		epoch, n uint64
	}
)

func newSubscriber(l *link) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &subscriber{link: l, refused: make(map[string]*refusal)} })
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
	case *denied:
		if m.session == s.session {
			s.refuse(m.channels, m.err)
		}
	case *pong:
		if m.session == s.session {
			s.pong(m.n, m.err)
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
	case *doubt:
		s.doubt()
	case *apart:
		s.renew(m.epoch)
	case *renew:
		if m.session == s.session {
			s.end(errApart)
			s.connect()
		}
	case *allayed:
		if m.session == s.session {
			s.afterDoubt()
		}
	case *together:
		s.renewals = 0
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		s.self = ctx.Self()
		s.look()
	case *actor.Restarting, *actor.Stopping:
		s.rest(0)
		s.end(errCrashed)
		if s.again != nil {
			s.again.Stop()
		}
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
		clear(s.refused)
	case s.session == nil && s.retry == nil:
		s.connect()
	case s.up:
		s.adjust(members, channels)
	}
}

// connect asks for what Redis has not refused yet; the rest follows when the connection is up.
func (s *subscriber) connect() {
	s.rest(0)
	members, channels := s.link.all()
	if len(channels) == 0 {
		return
	}
	epoch := s.link.epochs.Add(1)
	s.up, s.asked, s.expect, s.doubting, s.doubted, s.allayed = false, make(map[string]bool), make(map[string]int), 0, false, false
	n := s.link.numbers.Add(1)
	for _, m := range members {
		s.serve(m, epoch, 0, n)
	}
	first := make([]string, 0, len(channels))
	for _, channel := range channels {
		if s.refused[channel] == nil {
			first = append(first, channel)
		}
	}
	if len(first) == 0 {
		first = channels
	}
	for _, channel := range first {
		s.asked[channel] = true
		s.expect[channel]++
	}
	for _, r := range s.refused {
		r.until = time.Time{} // this may be another server, and we may be another user
	}
	s.session = open(s.link, epoch, s.self, first)
}

// adjust brings a session that is connected up to date.
func (s *subscriber) adjust(members []*member, channels []string) {
	var r request
	for _, m := range members {
		if m.epoch.Load() != s.session.epoch {
			if r.ping == 0 {
				r.ping, r.by = s.number()
			}
			s.serve(m, s.session.epoch, r.ping, r.ping)
		}
	}
	now := time.Now()
	wanted := make(map[string]bool, len(channels))
	var again []string // by itself, lest it is refused once more, and others with it
	for _, channel := range channels {
		wanted[channel] = true
		if s.asked[channel] {
			continue
		}
		if refusal := s.refused[channel]; refusal != nil {
			if now.Before(refusal.until) {
				continue
			}
			again = append(again, channel)
		} else {
			r.subscribe = append(r.subscribe, channel)
		}
		s.asked[channel] = true
		s.expect[channel]++
	}
	for channel := range s.asked {
		if !wanted[channel] {
			delete(s.asked, channel)
			r.unsubscribe = append(r.unsubscribe, channel)
		}
	}
	for channel := range s.refused {
		if !wanted[channel] {
			delete(s.refused, channel)
		}
	}
	s.session.ask(r)
	if len(again) > 0 {
		s.session.ask(request{subscribe: again})
	}
	s.revisit()
	s.tell(members)
}

// serve lets a member have what comes on the connection after the answer to PING number from. n is the number of that
// PING, or else of the SUBSCRIBE.
func (s *subscriber) serve(m *member, epoch, from, n uint64) {
	m.from.Store(from)
	m.epoch.Store(epoch)
	s.send(m, &pinging{m, n})
	m.post(&subscribing{m, epoch, n})
}

// tell tells members that Redis has confirmed their subscription, if it has and they do not know.
func (s *subscriber) tell(members []*member) {
	for _, m := range members {
		epoch := s.session.epoch
		if m.epoch.Load() == epoch && m.told.Load() != epoch && m.from.Load() <= s.ponged && s.subscribed(m.channel) {
			m.told.Store(epoch)
			m.post(&confirmed{m, epoch})
		}
	}
}

// subscribed reports whether Redis has confirmed the channel on this connection.
func (s *subscriber) subscribed(channel string) bool {
	return s.asked[channel] && s.expect[channel] == 0
}

func (s *subscriber) confirm(channel string) {
	s.attempt, s.early = 0, false
	delete(s.refused, channel)
	if s.expect[channel]--; s.expect[channel] <= 0 {
		delete(s.expect, channel)
		s.tell(s.link.listeners(channel))
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
			m.post(&lost{m, epoch, err})
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
