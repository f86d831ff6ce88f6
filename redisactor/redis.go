// Package redisactor links hubs to Redis, so that what one publishes reaches the subscribers of every hub on the same
// channel, in this process and in others. It is the only package that knows go-redis.
//
// Each hub has one redis actor, made by Spec. The actors of all hubs that were given the same *redis.Client share a link:
// one subscription connection for all their channels, and one publisher.
//
// Every message reaches each local subscriber once. While the subscription is confirmed that is by its echo, so that all
// instances see Redis' order; otherwise it is at once, and an echo that comes all the same is skipped. When the
// subscription is lost, or a PUBLISH fails, or an echo has not come within 2 s, what awaited its echo is delivered then; and
// soon when a PUBLISH was answered and a PING behind it on the subscription proves that its echo cannot come. Then
// subscription and publisher are on different servers: the subscription is renewed, and until echoes come own messages are
// delivered at once.
// Messages of other instances are lost while the subscription is down: that is reported as actors.ErrRedisGap.
// A PUBLISH is never sent twice, and not sent at all once its 2 s are over.
//
// A topic of a hub is a channel of its own, which the hub is subscribed to while somebody is in the topic, and for 2 s after. All of
// a hub's messages keep one order, that of Redis. What hubs tell each other is on one more channel.
//
// In a hub with history each message has its position, by which it is known again: it is delivered when it comes back, and what a lost
// subscription missed is read from the streams. See history.
//
// An error that Redis answers with is not a broken connection: it concerns the hub whose channel or message it is about, is
// reported to that one, and touches no other. Neither does a hub that takes its messages slowly: they wait for it, up to a
// bound, and the reader goes on.
package redisactor

import (
	"container/list"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

var errRestarted = errors.New("wskit: the redis actor was restarted")

// Spec returns what makes a hub's redis child from the hub's Link: an actor that takes actors.Publish, actors.Subscribe,
// actors.Unsubscribe, actors.Interest, actors.Load, actors.Announce and actors.Drain, delivers through the Link's Gate, reports
// actors.RedisChanged, actors.Subscribed, for the hub's own channel, and actors.Failed to the Link's Listener, and hands actors.Announced and
// actors.Announcing to the Link's Connections. Spec may be called from any goroutine; client stays the caller's, who closes it
// after the hub has stopped.
//
// The channel of a topic is channel + ":" + its name, with one colon more in front of a name that begins with one; a user's own
// topic has channel + "::user:" + the id, and what hubs tell each other channel + "::control". With history there are keys too, all of
// which begin with "{wskit:" + channel + "}".
func Spec(client *redis.Client, channel string) func(*actors.Link) actors.Spec {
	return func(hub *actors.Link) actors.Spec {
		// Whoever wakes this mailbox is seldom alone with its message: the callers that a pipeline has answered publish
		// again, and echoes come in crowds too. Taken together they cost one run, and travel on together.
		b := newBooks(client, channel, hub)
		return actors.Spec{
			Name:     "redis",
			Kind:     actors.Permanent,
			Recovery: actors.Restart,
			Budget:   actors.Budget{Failures: 20, Within: time.Minute},
			Backoff:  actors.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.5},
			Props:    actor.PropsFromProducer(func() actor.Actor { return &redisActor{books: b} }, actor.WithDispatcher(&b.turns)),
		}
	}
}

// books is what one incarnation of a hub's redis actor leaves to the next, so that a crash forgets nothing.
type books struct {
	client *redis.Client
	hub    *actors.Link
	turns  turns
	gate   deliverer
	ledger *ledger // of a hub without history
	link   *link   // nil before the first start and after the stop
	jobs   []job   // for the publisher, as soon as what waits in the mailbox has been looked at

	history *history // nil: the hub has none

	own    *topic            // the hub itself
	topics map[string]*topic // that somebody is in, or was within the linger
	idle   list.List         // those that nobody is in any more, in that order

	control    string        // the channel of what hubs tell each other
	controlSub *subscription // nil while there is no member, or nothing that it would be for
	heeds      bool          // there was: a user, or something to announce
	announced  []*entry      // what was published there and is not answered

	wanted int                 // Subscribes without Unsubscribe
	member *member             // nil while there are none
	heard  uint64              // epoch of the last connection on which Redis confirmed a topic's subscription, or the hub's
	ended  uint64              // epoch of the last connection that was lost
	apart  bool                // echoes do not come, though Redis confirmed: own messages are not kept waiting for them
	up     bool                // the hub was told so
	outage time.Time           // since when there is trouble, which was reported; zero: all is well
	barred map[string]struct{} // channels that Redis refuses, but for the hub's own, which was reported; nil: none

	drain   *actors.Drain // nil until the hub stops
	waits   bool          // all is answered, and late echoes get a last chance
	drained bool

	warned bool // of a record that cannot be read
}

func newBooks(client *redis.Client, channel string, hub *actors.Link) *books {
	b := &books{
		client: client, hub: hub, ledger: newLedger(),
		own: &topic{origin: &origin{channel: channel}, members: true}, control: channel + controlSuffix,
	}
	b.gate.hub = hub
	if hub.History != nil {
		b.history = newHistory(channel, *hub.History)
	}
	return b
}

// redisActor is one incarnation.
type redisActor struct {
	*books
	self    *actor.PID
	overdue *time.Timer // for the caller who waits longest; nil: nobody waits
	doubt   *time.Timer // for an echo that is late; nil: none is
	silence *time.Timer // for the oldest announcement; nil: there is none
	lingers *time.Timer // for topics that nobody is in any more; nil: there is none
	watch   *time.Timer // for messages of a hub with history; nil: there are none
	reread  *time.Timer // for a read that has failed; nil: none has, or it was tried again
	draining,
	lingering *time.Timer
}

// To itself, from its timers, its gate and publish.
type (
	timeIsUp  struct{}
	doubtful  struct{ last uint64 }
	drainOver struct{}
	attend    struct{}
	sendOff   struct{}
)

func (a *redisActor) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	switch m := ctx.Message().(type) {
	case *message:
		a.message(m)
	case *actors.Publish:
		a.publish(m)
	case sendOff:
		a.sendOff()
	case *answered:
		a.answered(m.results)
	case *attend:
		a.gate.attended()
	case *timeIsUp:
		a.giveUp(time.Now())
	case *doubtful:
		a.doubtful(m.last)
	case *actors.Subscribe:
		a.subscribe()
	case *actors.Unsubscribe:
		a.unsubscribe()
	case *actors.Interest:
		a.interest(m)
	case *lingered:
		a.lingered(time.Now())
	case *actors.Load:
		a.load(m.Topics)
	case *gotten:
		a.gotten(m)
	case *readAgain:
		a.reread = nil
		a.proceed()
	case *watch:
		a.watchOver(time.Now())
	case *actors.Announce:
		a.announce(m)
	case *silent:
		a.silence = nil
		a.hush(time.Now().Add(-answerWithin), errNoAnswer)
		a.armSilence()
	case *subscribing:
		if !m.left && m.topic != nil {
			a.ledger.Subscribing(m.topic.name, m.n)
		}
	case *confirmed:
		if !m.left && m.epoch > a.ended {
			a.confirm(m.subscription, m.epoch)
		}
	case *refused:
		if !m.left && m.epoch > a.ended {
			a.refused(m.subscription, fmt.Errorf("wskit: redis refuses the subscription: %w", m.err))
		}
	case *lost:
		if m.member == a.member && m.epoch > a.ended {
			a.lost(m.epoch, m.err)
		}
	case *missed:
		if m.member == a.member {
			a.missed(m.n)
		}
	case *pinging:
		if m.member == a.member {
			a.ledger.Pinged(m.n)
		}
	case *ponged:
		if m.member == a.member && m.epoch > a.ended {
			a.ponged(m.n, m.epoch)
		}
	case *actors.Drain:
		a.startDrain(m)
	case *drainOver:
		a.finish()
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		a.self = ctx.Self()
		a.own.origin = &origin{a.own.channel, a.self}
		a.fenced(a.start)
	case *actor.Restarting:
		a.stopTimers()
	case *actor.Stopping:
		a.stopTimers()
		a.fenced(a.stop)
	}
	if curious := !a.ledger.Empty() || a.history != nil && a.history.reading != nil; a.member != nil && a.member.curious.Load() != curious {
		a.member.curious.Store(curious)
		if a.ledger.Empty() {
			a.ledger.Rest()
		}
	}
	a.goOnDraining()
}

// fenced runs fn, part of a lifecycle handler: protoactor would take a panic there as a reason to restart.
func (a *redisActor) fenced(fn func()) {
	if err := actors.Fence("redis", fn); err != nil {
		a.gate.report(err)
	}
}

func (a *redisActor) start() {
	if a.link == nil {
		self, system := a.self, a.hub.System
		a.gate.attend = func() { system.Root.Send(self, &attend{}) }
		a.link = acquire(a.hub.System, a.client, a.log())
		a.turns.shared.Store(a.link.turns)
		if a.history != nil {
			a.link.prompt.Store(true)
		}
		return
	}
	// The message that the crash came with is gone and may have been anything: take it for a lost subscription. The
	// connection has not changed, so the echoes come all the same.
	if a.heard > a.ended {
		a.interrupt()
		a.gone(errRestarted)
	}
	if a.history != nil {
		a.stopReading()
		a.proceed()
		a.armWatch()
	}
	if a.member != nil {
		a.link.change(a.subscriptions(), func(s *subscription) { s.told.Store(0) })
	}
	a.gate.attended()
	a.sendOff()
	a.arm()
	if a.ledger.Doubtful() > 0 {
		a.armDoubt()
	}
	a.armLinger()
	a.armSilence()
	a.setDrainTimers()
}

func (a *redisActor) stop() {
	a.sendOff()
	a.finish()
	a.drained = true
	a.hangUp(time.Now(), actors.ErrHubStopped)
	a.hangUpLogged(actors.ErrHubStopped)
	a.hush(time.Now(), actors.ErrHubStopped)
	a.leave()
	if a.history != nil {
		a.stopReading()
	}
	if a.link != nil {
		a.link.release()
		a.link = nil
	}
}

func (a *redisActor) stopTimers() {
	actors.StopTimers(a.overdue, a.doubt, a.silence, a.lingers, a.watch, a.reread, a.draining, a.lingering)
}

// message takes what Redis sent. The member's credit goes back when the gate has answered, or now.
func (a *redisActor) message(m *message) {
	credit := m.to.member
	defer func() {
		if credit != nil {
			credit.release()
		}
	}()
	if m.to.left || m.epoch <= a.ended {
		return
	}
	t := m.to.topic
	if t == nil {
		a.tellConnections(&actors.Announced{Payload: []byte(m.payload)})
		return
	}
	if a.history != nil {
		if a.messageLogged(t, m) {
			credit = nil
		}
		return
	}
	if m.record != nil || isRecord(m.payload) { // of a hub with history
		if m.record == nil {
			a.warnOf(t.channel)
		} else if t.members {
			credit = nil
			a.gate.deliver(actors.Broadcast{Frame: m.frame(), Topic: t.name}, nil, m.to.member)
		}
		return
	}
	own, deliver := a.ledger.Echo(t.name, m.payload)
	if own != nil && a.apart {
		a.together()
	}
	switch {
	case !deliver:
	case own != nil && t.members:
		credit = nil
		a.gate.deliver(own.broadcast(), own, m.to.member)
	case own != nil:
		own.caller.place(nil)
	case t.members:
		credit = nil
		a.gate.deliver(actors.Broadcast{Frame: m.frame(), Topic: t.name}, nil, m.to.member)
	}
}

// deliverOwn delivers one of the hub's own messages to those who are in its topic, if anybody is.
func (a *redisActor) deliverOwn(e *entry) {
	if t := a.topicOf(e.account.topic); t == nil || !t.members {
		e.caller.place(nil)
		return
	}
	a.gate.deliver(e.broadcast(), e, nil)
}

// broadcast is what is delivered in place of an entry's echo, or for it.
func (e *entry) broadcast() actors.Broadcast {
	return actors.Broadcast{Frame: e.frame, Topic: e.account.topic, Except: e.except}
}

func (a *redisActor) flush() {
	if a.history != nil {
		a.flushLogged(func(*publication) bool { return true })
	}
	for _, e := range a.ledger.Interrupt() {
		a.deliverOwn(e)
	}
}

func (a *redisActor) after(d time.Duration, message any) *time.Timer {
	self, system := a.self, a.hub.System
	return time.AfterFunc(d, func() { system.Root.Send(self, message) })
}
