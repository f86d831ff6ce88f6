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
// An error that Redis answers with is not a broken connection: it concerns the hub whose channel or message it is about, is
// reported to that one, and touches no other. Neither does a hub that takes its messages slowly: they wait for it, up to a
// bound, and the reader goes on.
package redisactor

import (
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

var errRestarted = errors.New("wskit: the redis actor was restarted")

// Spec returns what makes a hub's redis child from the hub's Link: an actor that takes actors.Publish, actors.Subscribe,
// actors.Unsubscribe and actors.Drain, delivers through the Link's Gate, and reports actors.Subscribed and actors.Failed
// to the Link's Listener. Spec may be called from any goroutine; client stays the caller's, who closes it after the hub
// has stopped.
func Spec(client *redis.Client, channel string) func(*actors.Link) actors.Spec {
	return func(hub *actors.Link) actors.Spec {
		// Whoever wakes this mailbox is seldom alone with its message: the callers that a pipeline has answered publish
		// again, and echoes come in crowds too. Taken together they cost one run, and travel on together.
		b := &books{client: client, channel: channel, hub: hub, runner: actors.NewRunner(1, true), ledger: newLedger()}
		b.gate.hub = hub
		return actors.Spec{
			Name:     "redis",
			Kind:     actors.Permanent,
			Recovery: actors.Restart,
			Budget:   actors.Budget{Failures: 20, Within: time.Minute},
			Backoff:  actors.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.5},
			Props:    actor.PropsFromProducer(func() actor.Actor { return &redisActor{books: b} }, actor.WithDispatcher(b.runner)),
		}
	}
}

// books is what one incarnation of a hub's redis actor leaves to the next, so that a crash forgets nothing.
type books struct {
	client  *redis.Client
	channel string
	hub     *actors.Link
	runner  *actors.Runner
	gate    deliverer
	ledger  *ledger
	link    *link // nil before the first start and after the stop
	jobs    []job // for the publisher, as soon as what waits in the mailbox has been looked at

	wanted    int       // Subscribes without Unsubscribe
	member    *member   // nil while there are none
	confirmed bool      // Redis confirmed the subscription, and it was not lost since
	on        uint64    // on the connection of this epoch
	ended     uint64    // epoch of the last connection that was lost
	apart     bool      // echoes do not come, though Redis confirmed: own messages are not kept waiting for them
	outage    time.Time // since when there is trouble, which was reported; zero: all is well

	drain   *actors.Drain // nil until the hub stops
	lingers bool          // all is answered, and late echoes get a last chance
	drained bool
}

// redisActor is one incarnation.
type redisActor struct {
	*books
	self    *actor.PID
	origin  *origin
	overdue *time.Timer // for the caller who waits longest; nil: nobody waits
	doubt   *time.Timer // for an echo that is late; nil: none is
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
	case *subscribing:
		if m.member == a.member {
			a.ledger.Subscribing(m.n)
		}
	case *confirmed:
		if m.member == a.member && m.epoch > a.ended {
			a.confirm(m.epoch)
		}
	case *refused:
		if m.member == a.member && m.epoch > a.ended {
			a.trouble(fmt.Errorf("wskit: redis refuses the subscription: %w", m.err))
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
		a.origin = &origin{a.channel, a.self}
		a.fenced(a.start)
	case *actor.Restarting:
		a.stopTimers()
	case *actor.Stopping:
		a.stopTimers()
		a.fenced(a.stop)
	case *actor.Stopped:
		a.runner.Close()
	}
	if curious := !a.ledger.Empty(); a.member != nil && a.member.curious.Load() != curious {
		a.member.curious.Store(curious)
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
		return
	}
	// The message that the crash came with is gone and may have been anything: take it for a lost subscription. The
	// connection has not changed, so the echoes come all the same.
	if a.confirmed {
		a.interrupt()
		a.gap(errRestarted)
	}
	if a.member != nil {
		a.member.told.Store(0)
		a.link.look()
	}
	a.gate.attended()
	a.sendOff()
	a.arm()
	if a.ledger.Doubtful() > 0 {
		a.armDoubt()
	}
	a.setDrainTimers()
}

func (a *redisActor) stop() {
	a.sendOff()
	a.finish()
	a.drained = true
	a.hangUp(time.Now(), actors.ErrHubStopped)
	a.leave()
	if a.link != nil {
		a.link.release()
		a.link = nil
	}
}

func (a *redisActor) stopTimers() {
	for _, t := range []*time.Timer{a.overdue, a.doubt, a.draining, a.lingering} {
		if t != nil {
			t.Stop()
		}
	}
}

// message takes what Redis sent. The member's credit goes back when the gate has answered, or now.
func (a *redisActor) message(m *message) {
	credit := m.member
	defer func() {
		if credit != nil {
			credit.release()
		}
	}()
	if m.member != a.member || m.epoch <= a.ended {
		return
	}
	own, deliver := a.ledger.Echo(m.payload)
	if own != nil && a.apart {
		a.together()
	}
	if !deliver {
		return
	}
	credit = nil
	if own != nil {
		a.gate.deliver(own.frame, own, m.member)
	} else {
		a.gate.deliver(m.frame(), nil, m.member)
	}
}

func (a *redisActor) subscribe() {
	if a.wanted++; a.wanted > 1 || a.drain != nil {
		return
	}
	a.ledger.Keep(true)
	a.member = newMember(a.channel, a.self, a.hub.System.Root.Send)
	a.link.join(a.member)
}

func (a *redisActor) unsubscribe() {
	if a.wanted == 0 {
		return
	}
	if a.wanted--; a.wanted == 0 {
		a.leave()
	}
}

// leave ends the subscription, if there is one. What awaits its echo is delivered now.
func (a *redisActor) leave() {
	if a.member == nil {
		return
	}
	a.link.leave(a.member)
	a.member, a.confirmed, a.apart, a.outage = nil, false, false, time.Time{}
	a.flush()
	a.ledger.Keep(false)
}

// epoch is the connection that echoes come on; 0: none.
func (a *redisActor) epoch() uint64 {
	if !a.confirmed {
		return 0
	}
	return a.on
}

func (a *redisActor) confirm(epoch uint64) {
	a.on = epoch
	if !a.apart {
		a.well()
	}
	if !a.confirmed {
		a.confirmed = true
		a.gate.tell(&actors.Subscribed{Channel: a.channel})
	}
}

func (a *redisActor) lost(epoch uint64, err error) {
	a.ended = epoch
	switch {
	case a.confirmed && a.apart && errors.Is(err, errApart): // it was told that echoes do not come there
		a.interrupt()
	case a.confirmed:
		a.interrupt()
		a.gap(err)
	default:
		a.trouble(err)
	}
}

// interrupt is for when there may be no echoes any more. What awaits one is delivered now.
func (a *redisActor) interrupt() {
	a.confirmed = false
	a.flush()
}

// missed is for when messages have come that this hub had no room for, its own among them.
func (a *redisActor) missed(n int) {
	a.flush()
	a.gate.report(fmt.Errorf("%w: %d were left out, which came faster than this hub takes them", actors.ErrRedisGap, n))
}

// ponged delivers what a PING's answer has shown to have no echo.
func (a *redisActor) ponged(n, epoch uint64) {
	list, apart := a.ledger.Ponged(n, epoch)
	for _, e := range list {
		a.deliverOwn(e)
	}
	if !apart {
		return
	}
	if !a.apart {
		a.apart = true
		a.gap(errApart)
	}
	a.link.apart(epoch)
}

func (a *redisActor) together() {
	a.apart = false
	a.link.together()
	if a.confirmed {
		a.well()
	}
}

func (a *redisActor) deliverOwn(e *entry) { a.gate.deliver(e.frame, e, nil) }

func (a *redisActor) flush() {
	for _, e := range a.ledger.Interrupt() {
		a.deliverOwn(e)
	}
}

func (a *redisActor) after(d time.Duration, message any) *time.Timer {
	self, system := a.self, a.hub.System
	return time.AfterFunc(d, func() { system.Root.Send(self, message) })
}
