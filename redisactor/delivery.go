package redisactor

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/wskit/wskit/actors"
)

// maxOwn is how many of the hub's own messages may wait for the gate: they hold no credit. More time out at once.
const maxOwn = 65536

// deliverer hands frames to the hub's Gate, and news to its listener. The gate's answers come from any goroutine, perhaps
// with the gate locked.
type deliverer struct {
	hub      *actors.Link
	refusing atomic.Bool  // the gate let the last one time out
	own      atomic.Int64 // messages of its own that wait for the gate

	mu       sync.Mutex
	forced   bool            // the gate is asked no more
	refused  []*actors.Frame // own messages that came when the gate had stopped already
	timeouts int             // OnTimeout calls to make
	calling  bool
}

// deliver has the registry send frame to every subscriber. release, which may be nil, is called once that is decided.
// What is the hub's own was accepted before the gate stopped, and goes through at the drain.
func (d *deliverer) deliver(frame *actors.Frame, own bool, release func()) {
	d.mu.Lock()
	forced := d.forced
	d.mu.Unlock()
	if forced {
		if own {
			d.hub.Gate.Force(&actors.Broadcast{Frame: frame})
		}
		if release != nil {
			release()
		}
		return
	}
	if own && d.own.Add(1) > maxOwn {
		d.own.Add(-1)
		d.timedOut(actors.ErrTimeout)
		if release != nil {
			release()
		}
		return
	}
	d.hub.Gate.Submit(&actors.Broadcast{Frame: frame}, d.hub.Patience, func(err error) {
		if own {
			d.own.Add(-1)
		}
		switch {
		case err == nil:
			if d.refusing.Load() {
				d.refusing.Store(false)
			}
		case errors.Is(err, actors.ErrTimeout):
			d.timedOut(err)
		case own:
			d.mu.Lock()
			d.refused = append(d.refused, frame)
			d.mu.Unlock()
		}
		if release != nil {
			release()
		}
	})
}

// force delivers what the stopped gate refused, and everything from now on, without asking the gate for a place.
func (d *deliverer) force() {
	d.mu.Lock()
	refused := d.refused
	d.refused, d.forced = nil, true
	d.mu.Unlock()
	for _, frame := range refused {
		d.hub.Gate.Force(&actors.Broadcast{Frame: frame})
	}
}

// timedOut reports the first of several broadcasts that found no place, and has OnTimeout called for each. That is user
// code, which may block and may call the gate: it gets a goroutine, one at a time.
func (d *deliverer) timedOut(err error) {
	if !d.refusing.Swap(true) {
		d.report(err)
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
	if d.hub.Log != nil {
		f.Log(d.hub.Log)
	} else {
		f.Log(slog.New(slog.DiscardHandler))
	}
	d.tell(f)
}

func (d *deliverer) tell(event any) {
	if d.hub.Listener != nil {
		d.hub.System.Root.Send(d.hub.Listener, event)
	}
}
