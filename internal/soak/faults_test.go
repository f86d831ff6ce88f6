package soak_test

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// full is the length of a run in which each fault happens as often as it says.
const full = 2 * time.Minute

// fault is one row of the table.
type fault struct {
	name   string
	times  int // in a run of full length, and in proportion in any that is not short
	once   int // at least, in a short one
	outage bool
	inject func(i *injection) error // nil: torment does it
}

// injection is one fault that happened.
type injection struct {
	a      *arena
	fault  *fault
	room   *room
	n      int           // how many there were before
	at     time.Duration // when it struck; 0: not yet
	probes [2]int        // the next message of each instance, by number
	lost   int           // of subscribers that were part of it, not of the healthy ones
	double int
}

// strike is for right after the harm was done: what is published now shall reach every healthy subscriber.
func (i *injection) strike() { i.strikeAt(now()) }

func (i *injection) strikeAt(at time.Duration) {
	if i.at > 0 {
		return
	}
	i.at = at
	for k, r := range i.a.rooms {
		i.probes[k] = r.probe.publish(r.hub)
	}
}

func (a *arena) fault(name string, times, once int, inject func(*injection) error) *fault {
	f := &fault{name: name, times: times, once: once, inject: inject}
	a.faults = append(a.faults, f)
	return f
}

// least is how often a fault has to happen.
func (a *arena) least(f *fault) int {
	switch {
	case a.plan.short:
		return f.once
	case a.plan.length >= full:
		return min(20, f.times)
	}
	return 1
}

// catalogue lists the faults that happen at any time, each in a goroutine of its own.
func (a *arena) catalogue() {
	const often = 25
	a.fault("connect and vanish (TCP RST)", often, 1, a.vanish)
	a.fault("connect and stall, never read", often, 1, a.stall)
	a.fault("stall, then resume", often, 1, a.resume)
	a.fault("garbage frames", often, 5, a.garbage)
	a.fault("oversized message", often, 2, a.oversized)
	a.fault("ping flood", often, 2, a.flood)
	a.fault("peer never answers a close", often, 2, a.silentPeer)
	a.fault("slow-loris upgrade", often, 1, a.loris)
	for _, place := range places {
		a.fault("panic in "+place, often, 1, func(i *injection) error { return a.deed(i, place, panics) })
	}
	a.fault("runtime.Goexit in a callback", 2*often, len(places), func(i *injection) error { return a.deed(i, places[i.n%len(places)], exits) })
	a.fault("a callback blocks", 2*often, len(places), func(i *injection) error { return a.deed(i, places[i.n%len(places)], blocks) })
	a.fault("a callback calls the hub", 2*often, len(places), func(i *injection) error { return a.deed(i, places[i.n%len(places)], reenters) })
	for _, who := range []string{"listener", "connections", "registry"} {
		a.fault("crash of the "+who, often, 1, func(i *injection) error {
			at := now()
			crash("soak-" + fmt.Sprint(i.room.index) + "/" + who)
			i.strikeAt(at)
			return nil
		})
	}
	a.fault("crash of a connection's actor", often, 1, a.crashConnection)
	a.fault("crash of the hub's redis actor", often, 2, func(i *injection) error {
		i.outage(func() { crash("soak-" + fmt.Sprint(i.room.index) + "/redis") })
		return nil
	}).outage = true
	a.fault("crash of the link's publisher", often, 2, func(i *injection) error {
		i.outage(func() { crash(i.room.link + "/publisher") })
		return nil
	}).outage = true
	a.fault("Unregister during broadcasts", often, 1, a.unregister)
	a.fault("Shutdown of a third hub", often, 2, a.third)
}

func crash(id string) {
	system().Root.Send(actor.NewPID(system().Address(), id), &actors.Crash{Reason: onPurpose{id}})
}

// lane injects one fault again and again.
func (a *arena) lane(f *fault) {
	every := full / time.Duration(f.times) // not more often in a shorter run: crashes have budgets
	if a.plan.short {
		every = a.plan.length / time.Duration(f.once)
	}
	first := time.NewTimer(rand.N(min(every, a.plan.length)))
	defer first.Stop()
	select {
	case <-first.C:
	case <-a.tormenting.Done():
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	hard := time.NewTimer(3 * a.plan.length) // a callback that publishes in an outage takes 2 s
	defer hard.Stop()
	for n := 0; ; n++ {
		if !a.injectOne(f, n, a.rooms[n%2]) {
			return // it would wait in vain again and again
		}
		if a.tormenting.Err() != nil && n+1 >= a.least(f) {
			return
		}
		over := a.tormenting.Done()
		if a.tormenting.Err() != nil {
			over = nil // the time is over, but it has not happened often enough
		}
		select {
		case <-tick.C:
		case <-over:
			if n+1 >= a.least(f) {
				return
			}
		case <-hard.C:
			return
		}
	}
}

func (a *arena) injectOne(f *fault, n int, r *room) bool {
	i := &injection{a: a, fault: f, room: r, n: n}
	err := f.inject(i)
	if err != nil {
		a.fail("%s, number %d: %v", f.name, n, err)
	}
	i.strike()
	a.note(i)
	return err == nil
}

func (a *arena) note(i *injection) {
	a.mu.Lock()
	a.injections = append(a.injections, i)
	a.mu.Unlock()
}

// places is where user code runs.
var places = [...]string{"OnConnect", "OnDisconnect", "OnMessage", "OnError", "OnDrop", "Send", "Close"}

// A misdeed is what user code does in the fault called for.
type misdeed func(i *injection, place string) func()

func panics(_ *injection, place string) func() { return func() { panic(onPurpose{place}) } }

// deed has something bad done in a callback, and waits until that is over.
func (a *arena) deed(i *injection, place string, what misdeed) error {
	struck, ended := make(chan struct{}), make(chan struct{})
	do := what(i, place)
	hook := func() { close(struck); defer close(ended); do() }
	clean, err := a.arrange(i, place, hook)
	if err != nil {
		return err
	}
	defer clean()
	if err := within(struck, "the callback "+place+" is called"); err != nil {
		return err
	}
	i.strike()
	return within(ended, "the callback "+place+" ends")
}

func within(ch <-chan struct{}, what string) error {
	select {
	case <-ch:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("not within %v: %s", patience, what)
	}
}

// arrange makes the hub call hook in a place of user code, soon. What it returns cleans up.
func (a *arena) arrange(i *injection, place string, hook func()) (clean func(), err error) {
	hub := i.room.hub
	switch place {
	case "OnMessage":
		p, err := a.victim(i, wskit.WithSendBufSize(1024))
		if err != nil {
			return nil, err
		}
		i.room.onMessage.Store(p.c, hook)
		_, err = p.Write(wstest.Masked(wstest.Text, "do it"))
		return func() { a.dismiss(p) }, err
	case "OnDrop":
		v := &visit{hub: hub, mute: true, opts: []wskit.ClientOption{wskit.WithSendBufSize(1), wskit.WithWriteWait(time.Second)}}
		p, err := a.dial(a.wide, v)
		if err != nil {
			return nil, err
		}
		a.peers.Add(1)
		i.room.onDrop.Store(p.c, hook)
		return func() { a.dismiss(p) }, nil
	case "OnError":
		i.room.onError <- hook
		x := a.stranger(i.room)
		x.hooks["OnConnect"] = func() { panic(onPurpose{"OnConnect, for OnError"}) }
		hub.Register(x)
		return func() { hub.Unregister(x) }, nil
	}
	x := a.stranger(i.room)
	x.hooks[place] = hook
	hub.Register(x)
	if place == "OnDisconnect" || place == "Close" {
		hub.Unregister(x)
	}
	return func() { hub.Unregister(x) }, nil
}

// victim dials an ordinary client that something will happen to.
func (a *arena) victim(i *injection, opts ...wskit.ClientOption) (*peer, error) {
	a.peers.Add(1)
	return a.dial(a.wide, &visit{hub: i.room.hub, opts: opts})
}

// dismiss ends a peer and checks that the server lets go of it.
func (a *arena) dismiss(p *peer) {
	p.Reset()
	if err := p.v.gone(patience); err != nil {
		a.fail("a peer that was reset: %v", err)
	}
}

// stranger is a foreign subscriber that misbehaves.
type stranger struct {
	a     *arena
	room  *room
	hooks map[string]func() // by place, once; set before it is registered

	connects, disconnects, closes, late atomic.Int32
	heard                               chan []byte // nil: it does not listen
	done                                [len(places)]atomic.Bool
}

func (a *arena) stranger(r *room) *stranger {
	x := &stranger{a: a, room: r, hooks: map[string]func(){}}
	a.mu.Lock()
	a.strangers = append(a.strangers, x)
	a.mu.Unlock()
	return x
}

func (x *stranger) do(place string) {
	for k, p := range places {
		if p == place && x.hooks[p] != nil && !x.done[k].Swap(true) {
			x.hooks[p]()
		}
	}
}

func (x *stranger) Send(data []byte) bool {
	if x.closes.Load() > 0 {
		x.late.Add(1)
	}
	if x.heard != nil {
		select {
		case x.heard <- data:
		default:
			x.late.Add(1)
		}
	}
	x.do("Send")
	return true
}

func (x *stranger) Close() {
	x.closes.Add(1)
	x.do("Close")
}
