package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/wskit/wskit"
)

const (
	instances = "instances of the dashboard" // the hub on which they hear each other; no tenant of a visitor's has such a name
	silence   = 5 * time.Second              // of one that has gone
)

// neighbours are the other instances at the same Redis. Once a second each says its name to all, on a hub of their own, to which it listens as
// a subscriber does.
type neighbours struct {
	name    string
	tenants *wskit.Tenants
	stop    func() // and wait

	mu     sync.Mutex
	in     bool // the hub, as its subscriber
	heard  map[string]time.Time
	delays []time.Duration // of the last beats that came back through Redis
}

func watchNeighbours(name string, tenants *wskit.Tenants) *neighbours {
	n := &neighbours{name: name, tenants: tenants, heard: map[string]time.Time{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n.stop = func() { cancel(); <-done }
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for ctx.Err() == nil {
			n.beat(ctx)
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}()
	return n
}

// beat says that this instance is there, and takes the time until its own hub has that back from Redis.
func (n *neighbours) beat(ctx context.Context) {
	hub, err := n.tenants.Hub(instances)
	if err != nil {
		return
	}
	n.mu.Lock()
	in := n.in
	n.in = true
	n.mu.Unlock()
	if !in && hub.RegisterContext(ctx, n) != nil {
		n.Close()
		return
	}
	start := time.Now()
	err = hub.BroadcastJSONContext(ctx, "instance", n.name)
	took := time.Since(start)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case err == nil:
		n.delays = append(n.delays[max(0, len(n.delays)-4):], took)
	case errors.Is(err, wskit.ErrLocalOnly):
		n.delays = nil
	}
}

// Send implements wskit.Subscriber: what the others say.
func (n *neighbours) Send(data []byte) bool {
	var e struct{ Type, Payload string }
	if json.Unmarshal(data, &e) == nil && e.Type == "instance" && e.Payload != n.name {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.heard[e.Payload] = time.Now()
	}
	return true
}

// Close implements wskit.Subscriber: the hub has ended, and the next beat has it made anew.
func (n *neighbours) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.in = false
}

// known are the names of those who were heard lately, and the median of the last delays in milliseconds; 0: there is none.
func (n *neighbours) known() (names []string, delay float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	names = []string{}
	for name, at := range n.heard {
		if time.Since(at) < silence {
			names = append(names, name)
		} else {
			delete(n.heard, name)
		}
	}
	slices.Sort(names)
	if len(n.delays) > 0 {
		delay = slices.Sorted(slices.Values(n.delays))[len(n.delays)/2].Seconds() * 1000
	}
	return names, delay
}
