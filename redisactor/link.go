package redisactor

import (
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

// links is the directory of all that hubs share: one link for each Redis client of an actor system, from its first user's
// start to its last user's stop.
var links = struct {
	sync.Mutex
	by map[linkKey]*link
}{by: make(map[linkKey]*link)}

type linkKey struct {
	system *actor.ActorSystem
	client *redis.Client
}

// link is what the hubs of one Redis client share: a root actor with the publisher and the subscriber below it, and who
// listens to what. It is the one thing here that several goroutines change, so it owns its lock.
type link struct {
	linkKey
	bounded *redis.Client  // the same, without hooks and with timeouts
	log     *slog.Logger   // its first user's, without what names that
	runner  *actors.Runner // of the publisher: for its mailbox and what it sends
	turns   *actors.Runner // of the hubs' actors
	users   int            // guarded by the directory's lock

	epochs  atomic.Uint64 // number of the last subscription connection
	numbers atomic.Uint64 // of the last PING or SUBSCRIBE; the subscriber's alone to change
	looking atomic.Bool   // a look is on its way to the subscriber
	resting atomic.Bool   // the subscriber waits before it tries again
	prompt  atomic.Bool   // some hub has history: a subscription that was confirmed is renewed at once

	mu                    sync.Mutex
	left                  bool
	root                  *actor.PID                 // nil: a new one is about to be spawned
	publisher, subscriber *actor.PID                 // nil until they run: a PID must not be used before its spawning is over
	backlog               []job                      // for the publisher that does not run yet
	members               map[*member]int            // and how many subscriptions each has
	by                    map[string][]*subscription // by channel; a list is never changed in place, so the reader may go through it without the lock
	changed               map[string]struct{}        // channels whose subscriptions have changed since the subscriber last looked
}

// respawnAfter is how soon a root actor that failed is followed by a new one.
const respawnAfter = 100 * time.Millisecond

// acquire returns the link of client, made on first use. Each acquire needs one release.
func acquire(system *actor.ActorSystem, client *redis.Client, log *slog.Logger) *link {
	links.Lock()
	defer links.Unlock()
	key := linkKey{system, client}
	l := links.by[key]
	if l == nil {
		l = &link{
			linkKey: key, bounded: bound(client, stuckAfter), log: actors.Plain(log).With("redis", client.Options().Addr), changed: make(map[string]struct{}),
			runner: actors.NewRunner(2, false), turns: actors.NewRunner(runtime.GOMAXPROCS(0), true),
		}
		l.forget()
		links.by[key] = l
		l.mu.Lock()
		l.spawn()
		l.mu.Unlock()
	}
	l.users++
	return l
}

func (l *link) release() {
	links.Lock()
	defer links.Unlock()
	if l.users--; l.users > 0 {
		return
	}
	delete(links.by, l.linkKey)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = true
	l.runner.Close()
	l.turns.Close()
	if l.root != nil {
		l.system.Root.Stop(l.root)
	}
}

// spawn starts a root actor. The lock is held.
func (l *link) spawn() {
	props := actor.PropsFromProducer(func() actor.Actor { return &root{link: l} })
	l.root = l.system.Root.SpawnPrefix(props, "redis-link")
}

// up notes that publisher and subscriber run.
func (l *link) up(publisher, subscriber *actor.PID) {
	l.mu.Lock()
	l.publisher, l.subscriber = publisher, subscriber
	if len(l.backlog) > 0 {
		l.system.Root.Send(publisher, &jobs{l.backlog})
		l.backlog = nil
	}
	l.looking.Store(false)
	l.mu.Unlock()
	l.look()
}

// down notes that they stop.
func (l *link) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publisher, l.subscriber = nil, nil
}

// ended follows a root actor that has ended with a new one, unless it was asked to end.
func (l *link) ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.root = nil
	if l.left {
		return
	}
	time.AfterFunc(respawnAfter, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if !l.left {
			l.spawn()
		}
	})
}

// publish hands jobs to the publisher. What it cannot take any more is overdue anyhow when there is room again.
func (l *link) publish(m *jobs) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.publisher != nil:
		l.system.Root.Send(l.publisher, m)
	case len(l.backlog) < maxQueued:
		l.backlog = append(l.backlog, m.list...)
	}
}

// forget begins with nobody. The lock is held.
func (l *link) forget() {
	l.members, l.by = make(map[*member]int), make(map[string][]*subscription)
}

func (l *link) join(subs ...*subscription) {
	l.change(subs, func(s *subscription) {
		l.members[s.member]++
		l.by[s.channel] = append(slices.Clone(l.by[s.channel]), s)
	})
}

func (l *link) leave(subs ...*subscription) {
	l.change(subs, func(s *subscription) {
		rest := slices.DeleteFunc(slices.Clone(l.by[s.channel]), func(o *subscription) bool { return o == s })
		if len(rest) > 0 {
			l.by[s.channel] = rest
		} else {
			delete(l.by, s.channel)
		}
		if l.members[s.member]--; l.members[s.member] == 0 {
			delete(l.members, s.member)
		}
	})
}

// change calls how, with the lock held, for each of subs, and has the subscriber look at them again.
func (l *link) change(subs []*subscription, how func(*subscription)) {
	l.mu.Lock()
	for _, s := range subs {
		how(s)
		l.changed[s.channel] = struct{}{}
	}
	if len(l.members) == 0 {
		l.forget() // maps keep the room of their busiest hour
	}
	l.mu.Unlock()
	l.look()
}

// listeners returns who is subscribed to channel, not to be changed.
func (l *link) listeners(channel string) []*subscription {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.by[channel]
}

// all returns every member.
func (l *link) all() (ms []*member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := range l.members {
		ms = append(ms, m)
	}
	return ms
}

// wanted is a channel and who is subscribed to it, perhaps nobody any more.
type wanted struct {
	channel string
	subs    []*subscription
}

// changes returns the channels that have changed since it was last called, or with everything all that somebody is subscribed to.
// Hubs' own channels come last: when Redis has confirmed one it has confirmed what was asked for with it.
func (l *link) changes(everything bool) (list []wanted) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if everything {
		list = make([]wanted, 0, len(l.by))
		for channel, subs := range l.by {
			list = append(list, wanted{channel, subs})
		}
	} else {
		list = make([]wanted, 0, len(l.changed))
		for channel := range l.changed {
			list = append(list, wanted{channel, l.by[channel]})
		}
	}
	if len(l.changed) > 0 {
		l.changed = make(map[string]struct{})
	}
	own, n := func(w wanted) bool { return len(w.subs) > 0 && w.subs[0].own() }, len(list)
	for i := 0; i < n; {
		if own(list[i]) {
			n--
			list[i], list[n] = list[n], list[i]
		} else {
			i++
		}
	}
	return list
}

// roundBits are those of a PING's number that say which one it is of its round. A round begins every 3 s, with the PING that is
// sent whether or not somebody wants one; what is sent for a reason follows it at once, or many times.
const roundBits = 20

func (l *link) round() { l.numbers.Store((l.numbers.Load()>>roundBits + 1) << roundBits) }

// look asks the subscriber to compare what it does with what has changed. One such message in its mailbox is enough; if
// it does not run yet, it looks when it starts.
func (l *link) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subscriber != nil && !l.looking.Swap(true) {
		l.system.Root.Send(l.subscriber, &look{})
	}
}

// alive tells a subscriber that waits that Redis has executed a command begun after since.
func (l *link) alive(since time.Time) {
	if l.resting.Load() {
		l.tell(&alive{since})
	}
}

// tell tells the subscriber, if it runs.
func (l *link) tell(message any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subscriber != nil {
		l.system.Root.Send(l.subscriber, message)
	}
}

// root supervises publisher and subscriber. It is never restarted: one that ends without having been asked to is followed
// by another, with new children, and the hubs' actors notice a lost subscription.
type root struct {
	actors.Supervisor
	link     *link
	stopping bool
}

func (r *root) Receive(ctx actor.Context) {
	// What a panic would lead to here is protoactor's choice, not ours; a stop is followed by a new root.
	defer func() {
		if v := recover(); v != nil {
			actors.NewFailed(ctx.Self(), v, actors.Decision{Action: actors.ActStop}).Log(r.link.log)
			ctx.Stop(ctx.Self())
		}
	}()
	switch m := ctx.Message().(type) {
	case *actor.Started:
		r.start(ctx)
	case *actors.Resolve:
		if !r.stopping { // a restart would undo the stop of a child
			r.Handle(ctx, m)
		}
	case *actor.Terminated:
		if !r.stopping {
			r.Ended(m.Who)
		}
	case *actor.Stopping:
		r.stopping = true
		r.Halt()
		r.link.down()
	case *actor.Stopped:
		r.link.ended()
	case *actors.Crash:
		panic(m.Reason)
	}
}

func (r *root) start(ctx actor.Context) {
	system, self := r.link.system, ctx.Self()
	r.Supervisor = actors.Supervisor{Log: r.link.log, GiveUp: func(reason string) {
		r.link.log.Error("wskit: redis link starts anew", "reason", reason)
		system.Root.Stop(self)
	}}
	budget := actors.Budget{Failures: 20, Within: time.Minute}
	backoff := actors.Backoff{Min: 50 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.5}
	if err := r.Start(ctx, []actors.Spec{
		{Name: "publisher", Kind: actors.Permanent, Recovery: actors.Restart, Budget: budget, Backoff: backoff, Props: newPublisher(r.link)},
		{Name: "subscriber", Kind: actors.Permanent, Recovery: actors.Restart, Budget: budget, Backoff: backoff, Props: newSubscriber(r.link)},
	}); err != nil {
		panic(err)
	}
	children := ctx.Children() // in the order they were started
	r.link.up(children[0], children[1])
}
