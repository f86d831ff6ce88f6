package redisactor

import (
	"errors"
	"sync"

	"github.com/wskit/wskit/actors"
)

const (
	// window is how many messages are before the hub's Gate at a time; the rest waits here, in order. So the patience of
	// the gate counts from when a message has come to the front, and what a lost subscription sets free at once, however
	// much it is, is not lost for want of places.
	window = 256

	// maxBehind and maxBehindBytes are how many of the hub's own messages, and bytes of theirs, may wait behind them
	// before no more are taken.
	maxBehind      = 65536
	maxBehindBytes = 64 << 20

	// unlimited is the patience with which own messages wait for the gate: they were accepted.
	unlimited = 0
)

// deliverer hands frames to the hub's Gate, and news to its listener. It belongs to the redis actor, but the gate's
// answers come from any goroutine, perhaps with the gate locked: there they are only noted, and the actor is told.
type deliverer struct {
	hub    *actors.Link
	attend func() // has the actor call attended, soon; from any goroutine
	forced bool   // the gate is asked no more

	mu        sync.Mutex
	queue     []*parcel
	bytes     int       // of the queue
	asked     int       // parcels before the gate
	refused   []*parcel // own messages that came when the gate had stopped already
	attending bool      // the actor has been told, and did not come yet
	lost      int       // messages that timed out, not reported yet
	refusing  bool      // the gate let the last one time out
	timeouts  int       // OnTimeout calls to make
	calling   bool
}

// parcel is a frame to be delivered, or what became of the log. What is the hub's own was accepted before the gate stopped, and goes
// through at the drain.
type parcel struct {
	by        *deliverer
	broadcast actors.Broadcast
	logged    *actors.Logged // in place of the broadcast; nil: it is that
	own       *entry         // nil: somebody else's
	credit    *member        // gets a credit back once it is decided; may be nil
	patient   bool           // it is somebody else's, and yet must not time out
}

// op is what passes the gate.
func (p *parcel) op() actors.Operation {
	if p.logged != nil {
		return p.logged
	}
	return &p.broadcast
}

func (p *parcel) size() int {
	if p.logged != nil {
		return 0
	}
	return p.broadcast.Frame.Len()
}

func (p *parcel) done() {
	if p.credit != nil {
		p.credit.release()
		p.credit = nil
	}
}

// deliver has the registry send a frame to those it is for, after those before it. own is the entry of this hub's own.
func (d *deliverer) deliver(b actors.Broadcast, own *entry, credit *member) {
	d.pass(&parcel{by: d, broadcast: b, own: own, credit: credit})
}

// place is deliver for what has a position: it is waited for however long it takes.
func (d *deliverer) place(b actors.Broadcast, own *entry, credit *member) {
	d.pass(&parcel{by: d, broadcast: b, own: own, credit: credit, patient: true})
}

// logged has the registry learn what became of the log, after what was delivered before.
func (d *deliverer) logged(m *actors.Logged) { d.pass(&parcel{by: d, logged: m, patient: true}) }

func (d *deliverer) pass(p *parcel) {
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
		d.bytes += p.size()
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
	return len(d.queue) >= maxBehind || d.bytes >= maxBehindBytes
}

// behind reports whether anything waits for the window.
func (d *deliverer) behind() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue) > 0
}

// attended is for the actor: it asks the gate for as much as the window allows, and reports what timed out.
func (d *deliverer) attended() {
	d.mu.Lock()
	d.attending = false
	lost, first := d.lost, d.lost > 0 && !d.refusing
	d.lost, d.refusing = 0, d.refusing || first
	d.mu.Unlock()
	if first {
		d.report(actors.ErrTimeout)
	}
	d.callOnTimeout(lost)
	d.pump()
}

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
		d.bytes -= p.size()
		d.asked++
		d.mu.Unlock()
		d.ask(p)
	}
}

func (d *deliverer) ask(p *parcel) {
	patience := d.hub.Patience
	if p.own != nil || p.patient {
		patience = unlimited
	}
	d.hub.Gate.Submit(p.op(), patience, p.decided)
}

// decided is what the gate answers with.
func (p *parcel) decided(err error) {
	d := p.by
	p.done() // before anybody else can have it
	d.mu.Lock()
	d.asked--
	attend := len(d.queue) > 0 && d.asked == window/2 // half a window at a time, not a message for each
	switch {
	case err == nil:
		d.refusing = false
	case errors.Is(err, actors.ErrTimeout):
		d.lost++
		attend = true
	case p.own != nil: // it waits for the drain, and so does its caller
		d.refused = append(d.refused, p)
	}
	attend = attend && !d.attending
	d.attending = d.attending || attend
	d.mu.Unlock()
	if attend {
		d.attend()
	}
	if p.own != nil && !errors.Is(err, actors.ErrHubStopped) {
		p.own.caller.place(err)
	}
}

// force delivers what the stopped gate refused and what still waits, and everything from now on, without asking the gate
// for a place. What others published is no longer taken.
func (d *deliverer) force() {
	d.forced = true
	d.mu.Lock()
	refused, queue := d.refused, d.queue
	d.refused, d.queue, d.bytes = nil, nil, 0
	d.mu.Unlock()
	for _, p := range append(refused, queue...) {
		d.force1(p)
	}
}

func (d *deliverer) force1(p *parcel) {
	if p.own != nil {
		d.hub.Gate.Force(&p.broadcast)
		p.own.caller.place(nil)
	}
	p.done()
}

// timedOut is for the actor, when it does not take a message.
func (d *deliverer) timedOut() {
	d.mu.Lock()
	d.lost++
	d.mu.Unlock()
	d.attended()
}

// callOnTimeout has OnTimeout called so many times. That is user code, which may block and may call the gate: it gets a
// goroutine, one at a time.
func (d *deliverer) callOnTimeout(times int) {
	if d.hub.OnTimeout == nil || times == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeouts += times
	if !d.calling {
		d.calling = true
		go d.makeCalls()
	}
}

func (d *deliverer) makeCalls() {
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
