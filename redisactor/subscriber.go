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
	again   *time.Timer         // for those that are to be tried next; nil: there is none
	due     time.Time           // when that is
	ponged  uint64
	waiting []*subscription // for the answer to the PING from which on they are served, in its order

	later *time.Timer // to look again; nil: it does not wait for that

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

// promptly is how long, more or less, the wait is for hubs with history: they go on where they were.
const promptly = float64(10 * time.Millisecond)

// gather is how long the subscriber waits after it has changed what it is subscribed to: what comes meanwhile goes out together.
const gather = 10 * time.Millisecond

// To the subscriber, from its timers.
type (
	// gathered: it may change it again.
	gathered struct{}
	// revive: a channel that was refused is to be tried again.
	revive  struct{}
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
// waits for the hub. The member, or the subscription, says whether it still concerns the hub.
type (
	// subscribing: the SUBSCRIBE that asks has the number n.
	subscribing struct {
		*subscription
		n uint64
	}
	// confirmed: Redis has confirmed it.
	confirmed struct {
		*subscription
		epoch uint64
	}
	// refused: Redis has not, and says why. It is asked again.
	refused struct {
		*subscription
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
	if m, ok := ctx.Message().(interface{ of() *session }); ok && m.of() != s.session {
		return // of one that was given up
	}
	switch m := ctx.Message().(type) {
	case *look:
		s.link.looking.Store(false)
		s.look()
	case *gathered:
		s.later = nil
		s.look()
	case *revive:
		s.again = nil
		if s.up {
			s.revive()
		}
	case *connected:
		s.up = true
		s.revive()
		s.look()
		s.ping()
	case *subscribed:
		s.confirm(m.channel)
	case *denied:
		s.refuse(m.channels, m.err)
	case *pong:
		s.pong(m.n, m.err)
	case *tick:
		s.ping()
	case *verdict:
		s.judge(m)
	case *broken:
		s.fail(m.err)
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
		s.end(errApart)
		s.connect()
	case *allayed:
		s.afterDoubt()
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
		actors.StopTimers(s.again, s.later)
	}
}

// look makes the subscription what the members want it to be.
func (s *subscriber) look() {
	switch {
	case len(s.link.all()) == 0:
		s.rest(0)
		s.end(nil)
		s.attempt = 0
		clear(s.refused)
	case s.session == nil && s.retry == nil:
		s.connect()
	case s.up && s.later == nil:
		s.adjust()
	}
}

// connect asks for what Redis has not refused yet; the rest follows when the connection is up.
func (s *subscriber) connect() {
	s.rest(0)
	list := s.link.changes(true)
	if len(list) == 0 {
		return
	}
	epoch := s.link.epochs.Add(1)
	s.up, s.asked, s.expect, s.doubting, s.doubted, s.allayed = false, make(map[string]bool, len(list)), make(map[string]int), 0, false, false
	s.waiting = nil
	n := s.link.numbers.Add(1)
	refused := s.refused
	s.refused = make(map[string]*refusal)
	first := make([]string, 0, len(list))
	for _, w := range list {
		for _, each := range w.subs {
			s.serve(each, epoch, 0, n)
		}
		if r := refused[w.channel]; r != nil {
			r.until = time.Time{} // this may be another server, and we may be another user
			s.refused[w.channel] = r
		} else {
			first = append(first, w.channel)
		}
	}
	if len(first) == 0 {
		for _, w := range list {
			first = append(first, w.channel)
		}
	}
	for _, channel := range first {
		s.ask(channel)
	}
	s.session = open(s.link, epoch, s.self, first)
}

func (s *subscriber) ask(channel string) {
	s.asked[channel] = true
	s.expect[channel]++
}

// adjust brings a session that is connected up to date, with what has changed.
func (s *subscriber) adjust() {
	list := s.link.changes(false)
	if len(list) == 0 {
		return
	}
	var r request
	for _, w := range list {
		if len(w.subs) > 0 {
			continue
		}
		delete(s.refused, w.channel)
		if s.asked[w.channel] {
			delete(s.asked, w.channel)
			r.unsubscribe = append(r.unsubscribe, w.channel)
		}
	}
	for _, w := range list {
		for _, each := range w.subs {
			if each.epoch.Load() != s.session.epoch {
				if r.ping == 0 {
					r.ping, r.by = s.number()
				}
				s.serve(each, s.session.epoch, r.ping, r.ping)
				s.waiting = append(s.waiting, each)
			}
		}
		if len(w.subs) > 0 && !s.asked[w.channel] && s.refused[w.channel] == nil {
			s.ask(w.channel)
			r.subscribe = append(r.subscribe, w.channel)
		}
	}
	for _, w := range list {
		s.tell(w.subs)
	}
	if r.ping == 0 && len(r.unsubscribe)+len(r.subscribe) == 0 {
		return
	}
	s.session.ask(r)
	s.later = s.after(gather, &gathered{})
}

// serve lets a hub have what comes on that connection for a subscription of its own after the answer to PING number from. n is the
// number of that PING, or else of the SUBSCRIBE.
func (s *subscriber) serve(to *subscription, epoch, from, n uint64) {
	to.from.Store(from)
	to.epoch.Store(epoch)
	to.member.epoch = epoch
	if to.member.pinged != n { // not for another subscription already
		to.member.pinged = n
		s.send(to.member, &pinging{to.member, n})
	}
	to.post(&subscribing{to, n})
}

// tell tells hubs that Redis has confirmed these subscriptions, if it has and they do not know.
func (s *subscriber) tell(subs []*subscription) {
	for _, each := range subs {
		epoch := s.session.epoch
		if each.epoch.Load() == epoch && each.told.Load() != epoch && each.from.Load() <= s.ponged && s.subscribed(each.channel) {
			each.told.Store(epoch)
			each.post(&confirmed{each, epoch})
		}
	}
}

// served tells those who have waited for the answer to PING number n.
func (s *subscriber) served(n uint64) {
	i := 0
	for i < len(s.waiting) && s.waiting[i].from.Load() <= n {
		i++
	}
	s.tell(s.waiting[:i])
	if s.waiting = s.waiting[i:]; len(s.waiting) == 0 {
		s.waiting = nil // and what it was cut from
	}
}

// subscribed reports whether Redis has confirmed the channel on this connection.
func (s *subscriber) subscribed(channel string) bool {
	return s.asked[channel] && s.expect[channel] == 0
}

// answered notes one answer, and reports whether it was the last that is to come.
func (s *subscriber) answered(channel string) bool {
	if s.expect[channel]--; s.expect[channel] > 0 {
		return false
	}
	delete(s.expect, channel)
	return true
}

func (s *subscriber) confirm(channel string) {
	s.attempt, s.early = 0, false
	delete(s.refused, channel)
	if s.answered(channel) {
		s.tell(s.link.listeners(channel))
	}
}

// fail gives the session up, and tries again after a while.
func (s *subscriber) fail(err error) {
	s.end(err)
	s.attempt++
	s.failedAt = time.Now()
	d := reconnect.Delay(s.attempt, rand.Float64())
	if s.attempt == 1 && s.link.prompt.Load() {
		d = time.Duration(promptly * (1 + rand.Float64()))
	}
	s.rest(d)
}

// end ends the session, if there is one, and tells the members.
func (s *subscriber) end(err error) {
	if s.session == nil {
		return
	}
	s.session.close()
	for _, m := range s.link.all() {
		if m.epoch == s.session.epoch {
			m.post(&lost{m, m.epoch, err})
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
