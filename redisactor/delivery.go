package redisactor

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/wskit/wskit/actors"
)

const (
	// window is how many messages are before the hub's Gate at a time; the rest waits here, in order. So the patience of
	// the gate counts from when a message has come to the front, and what a lost subscription sets free at once, however
	// much it is, is not lost for want of places.
	window = 256

	// maxBehind is how many may wait behind them before what is published without a subscription times out at once.
	maxBehind = 65536
)

// deliverer hands frames to the hub's Gate, and news to its listener. It belongs to the redis actor, but the gate's
// answers come from any goroutine, perhaps with the gate locked.
type deliverer struct {
	hub      *actors.Link
	more     func()      // has the actor call pump, soon; from any goroutine
	forced   bool        // the gate is asked no more
	refusing atomic.Bool // the gate let the last one time out

	mu       sync.Mutex
	queue    []*parcel
	asked    int       // parcels before the gate
	refused  []*parcel // own messages that came when the gate had stopped already
	timeouts int       // OnTimeout calls to make
	calling  bool
}

// parcel is a frame to be delivered. What is the hub's own was accepted before the gate stopped, and goes through at the
// drain.
type parcel struct {
	by        *deliverer
	broadcast actors.Broadcast
	own       bool
	credit    *member // gets a credit back once it is decided; may be nil
}

func (p *parcel) done() {
	if p.credit != nil {
		p.credit.release()
		p.credit = nil
	}
}

// deliver has the registry send a frame to every subscriber, after those before it.
func (d *deliverer) deliver(frame *actors.Frame, own bool, credit *member) {
	p := &parcel{d, actors.Broadcast{Frame: frame}, own, credit}
	if d.forced {
		d.force1(p)
		return
	}
	d.mu.Lock()
	first := len(d.queue) == 0 && d.asked < window
	if first {
		d.asked++
	} else {
		d.queue = append(d.queue, p)
	}
	d.mu.Unlock()
	if first {
		d.ask(p)
	}
}

// full reports whether so much waits that no more should be accepted.
func (d *deliverer) full() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue) >= maxBehind
}

// pump asks the gate for as much as the window allows.
func (d *deliverer) pump() {
	for {
		d.mu.Lock()
		if len(d.queue) == 0 || d.asked >= window {
			d.mu.Unlock()
			return
		}
		p := d.queue[0]
		d.queue[0] = nil
		if d.queue = d.queue[1:]; len(d.queue) == 0 {
			d.queue = nil // and what it was cut from
		}
		d.asked++
		d.mu.Unlock()
		d.ask(p)
	}
}

func (d *deliverer) ask(p *parcel) { d.hub.Gate.Submit(&p.broadcast, d.hub.Patience, p.decided) }

// decided is what the gate answers with.
func (p *parcel) decided(err error) {
	d := p.by
	p.done() // before anybody else can have it
	d.mu.Lock()
	d.asked--
	more := len(d.queue) > 0 && d.asked == window/2 // half a window at a time, not a message for each
	if p.own && errors.Is(err, actors.ErrHubStopped) {
		d.refused = append(d.refused, p)
	}
	d.mu.Unlock()
	if more {
		d.more()
	}
	switch {
	case err == nil:
		if d.refusing.Load() {
			d.refusing.Store(false)
		}
	case errors.Is(err, actors.ErrTimeout):
		d.timedOut()
	}
}

// force delivers what the stopped gate refused and what still waits, and everything from now on, without asking the gate
// for a place. What others published is no longer taken.
func (d *deliverer) force() {
	d.forced = true
	d.mu.Lock()
	refused, queue := d.refused, d.queue
	d.refused, d.queue = nil, nil
	d.mu.Unlock()
	for _, p := range append(refused, queue...) {
		d.force1(p)
	}
}

func (d *deliverer) force1(p *parcel) {
	if p.own {
		d.hub.Gate.Force(&p.broadcast)
	}
	p.done()
}

// timedOut reports the first of several broadcasts that found no place, and has OnTimeout called for each. That is user
// code, which may block and may call the gate: it gets a goroutine, one at a time.
func (d *deliverer) timedOut() {
	if !d.refusing.Swap(true) {
		d.report(actors.ErrTimeout)
	}
	if d.hub.OnTimeout == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeouts++
	if !d.calling {
		d.calling = true
		go d.callOnTimeout()
	}
}

func (d *deliverer) callOnTimeout() {
	for {
		d.mu.Lock()
		if d.timeouts == 0 {
			d.calling = false
			d.mu.Unlock()
			return
		}
		d.timeouts--
		d.mu.Unlock()
		if err := actors.Fence("OnTimeout", func() { d.hub.OnTimeout(actors.OpBroadcast.String()) }); err != nil {
			d.send(&actors.Failed{Op: "OnTimeout", Err: err})
		}
	}
}

// report logs trouble with Redis and tells the listener.
func (d *deliverer) report(err error) { d.send(&actors.Failed{Op: "redis", Err: err}) }

func (d *deliverer) send(f *actors.Failed) {
	f.Log(d.hub.Log)
	d.tell(f)
}

func (d *deliverer) tell(event any) {
	if d.hub.Listener != nil {
		d.hub.System.Root.Send(d.hub.Listener, event)
	}
}
