package soak_test

import (
	"fmt"
	"sync"

	"github.com/wskit/wskit"
)

// hello is what OnConnect sends at the first instance; filler is what only fills sockets.
const (
	hello  = "hello"
	filler = "filler"
)

// witness is a healthy subscriber: it reads all the time and writes down what it hears. As a Subscriber it is a foreign one.
type witness struct {
	a      *arena
	room   *room
	kind   string
	name   string
	stable bool // from before the first message until after the last

	client   *wskit.Client // of a WebSocket
	cancel   func()        // makes a stream's client leave
	released chan struct{} // closed when it has ended

	mu      sync.Mutex
	from    []int // by stream: what was published from this number on is owed to it; nil: not registered yet
	until   []int // and up to this one; nil: to the end
	seen    [][]uint64
	last    []int
	heard   int
	hellos  int
	early   int // messages before the greeting
	closes  int
	code    int // of the close frame
	end     error
	leaving bool // it was asked to leave
	faults  []string
	doubles []heardAt
}

type heardAt struct{ stream, n int }

func (a *arena) newWitness(kind string, r *room, stable bool) *witness {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := &witness{
		a: a, room: r, kind: kind, stable: stable, name: fmt.Sprintf("%s %d of instance %d", kind, len(a.witnesses), r.index),
		seen: make([][]uint64, len(a.streams)), last: make([]int, len(a.streams)), released: make(chan struct{}),
	}
	a.witnesses = append(a.witnesses, w)
	return w
}

// registered notes that the hub has taken it: what is published from now on is owed to it.
func (w *witness) registered() {
	from := make([]int, len(w.a.streams))
	for i, s := range w.a.streams {
		from[i] = s.begun() + 1
	}
	w.mu.Lock()
	w.from = from
	w.mu.Unlock()
}

// farewell is how long before it leaves a message through Redis must have been published to be owed to one that leaves.
const farewell = slow

// leave notes that it is about to leave: what was published before is owed to it.
func (w *witness) leave() {
	until := make([]int, len(w.a.streams))
	for i, s := range w.a.streams {
		at := now()
		if s.json {
			at -= farewell
		}
		until[i] = s.settled(at)
	}
	w.mu.Lock()
	w.until, w.leaving = until, true
	w.mu.Unlock()
}

func (w *witness) fault(format string, args ...any) {
	if len(w.faults) < 5 {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}

// hear takes one message.
func (w *witness) hear(data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if string(data[:min(len(data), len(filler))]) == filler {
		return // sent to it alone, perhaps before it was greeted
	}
	w.heard++
	if w.closes > 0 {
		w.fault("it got a message after Close")
	}
	if string(data) == hello {
		if w.hellos++; w.hellos > 1 || !w.room.greets {
			w.fault("greeting number %d came as message %d", w.hellos, w.heard)
		}
		return
	}
	if w.hellos == 0 {
		w.early++
	}
	id, n, ok := parse(data)
	if !ok || id >= len(w.a.streams) || w.a.streams[id].at(n) == nil {
		w.fault("it got %.60q, which nobody sent", data)
		return
	}
	s := w.a.streams[id]
	if !s.json && s.home != w.room.index {
		w.fault("a Broadcast of the other instance reached it")
	}
	for len(w.seen[id]) <= n/64 {
		w.seen[id] = append(w.seen[id], 0)
	}
	if w.seen[id][n/64]&(1<<(n%64)) != 0 {
		w.doubles = append(w.doubles, heardAt{id, n})
		return
	}
	w.seen[id][n/64] |= 1 << (n % 64)
	if !s.json && n < w.last[id] {
		w.fault("message %d of publisher %d came after %d", n, id, w.last[id])
	}
	w.last[id] = max(w.last[id], n)
	if w.stable {
		s.arrived(s.at(n), w.room.index, w.room.stable)
	}
}

// Send is how a hub talks to a foreign subscriber.
func (w *witness) Send(data []byte) bool { w.hear(data); return true }

// Close is how it ends one.
func (w *witness) Close() {
	w.mu.Lock()
	w.closes++
	if w.closes == 1 {
		close(w.released)
	} else {
		w.fault("Close was called %d times", w.closes)
	}
	w.mu.Unlock()
}

// over notes how its connection ended.
func (w *witness) over(code int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.code, w.end = code, err
	if !w.leaving && !w.a.closing.Load() {
		w.fault("its connection ended: %d %v", code, err)
	}
	close(w.released)
}

// missing returns what is owed to it of a stream and did not come.
func (w *witness) missing(id int) (ns []int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.from == nil {
		return nil
	}
	to := w.a.streams[id].begun()
	if w.until != nil {
		to = w.until[id]
	}
	for n := w.from[id]; n <= to; n++ {
		if n/64 >= len(w.seen[id]) || w.seen[id][n/64]&(1<<(n%64)) == 0 {
			ns = append(ns, n)
		}
	}
	return ns
}

// complete reports whether it has all that its own instance published, so far.
func (w *witness) complete() bool {
	for id, s := range w.a.streams {
		if s.home == w.room.index && len(w.missing(id)) > 0 {
			return false
		}
	}
	return true
}
