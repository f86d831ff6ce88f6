package soak_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// unregister: subscribers are sent away in the middle of a burst. Each has what was published before, and no gap.
func (a *arena) unregister(i *injection) error {
	hub, probe := i.room.hub, i.room.probe
	var strangers []*stranger
	for range 4 {
		x := a.stranger(i.room)
		x.heard = make(chan []byte, 4096)
		hub.Register(x)
		strangers = append(strangers, x)
	}
	var peers []*peer
	for range 2 {
		p, err := a.victim(i, wskit.WithSendBufSize(1024))
		if err != nil {
			return err
		}
		peers = append(peers, p)
	}
	first := probe.begun() + 1
	var all sync.WaitGroup
	all.Go(func() {
		for range 30 {
			probe.publish(hub)
		}
	})
	var errs [6]error
	check := func(k, must int, got []int) {
		i.count(first, must, got)
		if i.lost+i.double > 0 {
			errs[k] = fmt.Errorf("%d: it was owed %d to %d and got %v", k, first, must, got)
		}
	}
	for k, x := range strangers {
		must := probe.settled(now())
		hub.Unregister(x)
		if !wstest.Poll(patience, func() bool { return x.closes.Load() > 0 }) {
			return errors.New("a subscriber is not closed")
		}
		var got []int
		for len(x.heard) > 0 {
			if id, n, ok := parse(<-x.heard); ok && id == probe.id {
				got = append(got, n)
			}
		}
		check(k, must, got)
	}
	for k, p := range peers {
		must := probe.settled(now())
		hub.Unregister(p.c)
		_ = p.SetReadDeadline(time.Now().Add(patience))
		var got []int
		for {
			f, err := p.Frame()
			if err != nil || f.Op == wstest.Close {
				break
			}
			if id, n, ok := parse([]byte(f.Payload)); ok && id == probe.id {
				got = append(got, n)
			}
		}
		check(4+k, must, got)
		a.dismiss(p)
	}
	i.strike()
	all.Wait()
	return errors.Join(errs[:]...)
}

// count compares what one got with what it was owed; it may have got more, before and after.
func (i *injection) count(first, must int, got []int) {
	have := map[int]bool{}
	for _, n := range got {
		if have[n] {
			i.double++
		}
		have[n] = true
		must = max(must, n)
	}
	for n := first; n <= must; n++ {
		if !have[n] {
			i.lost++
		}
	}
}

// third: a hub of its own stops with messages queued and peers that are silent. It does so in time, and the others get all.
func (a *arena) third(i *injection) error {
	const limit, burst = 400 * time.Millisecond, 100
	opts := []wskit.HubOption{wskit.WithName("soak-third"), wskit.WithDrainTimeout(limit)}
	if i.n%2 == 1 { // on the link of the first instance
		opts = append(opts, wskit.WithRedis(a.rooms[0].redis, "third"))
	}
	hub := wskit.NewHub(opts...)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ran := make(chan struct{})
	a.work.Go(func() { defer close(ran); hub.Run(ctx) })
	if i.n%2 == 1 {
		a.work.Go(func() { hub.SubscribeToRedis(ctx) })
	}
	x := a.stranger(a.rooms[0])
	x.connects.Store(1) // this hub has no callbacks
	x.disconnects.Store(1)
	x.heard = make(chan []byte, 2*burst)
	hub.Register(x)
	// One that reads, two that do not answer the close frame, and two with full sockets.
	var peers []*peer
	defer func() {
		for _, p := range peers {
			a.dismiss(p)
		}
	}()
	for _, addr := range []string{a.wide, a.wide, a.wide, a.narrow, a.narrow} {
		p, err := a.dial(addr, &visit{hub: hub})
		if err != nil {
			return err
		}
		a.peers.Add(1)
		peers = append(peers, p)
		if addr == a.narrow {
			stuff(p.c)
		}
	}
	good := peers[0]
	if !wstest.Poll(patience, func() bool { return hub.SubscriberCount() == 6 }) {
		return fmt.Errorf("%d subscribers, want 6", hub.SubscriberCount())
	}
	for n := range burst {
		hub.Broadcast(fmt.Appendf(nil, "~0.%d~", n+1))
	}
	at := now()
	if i.n%4 < 2 {
		if err := hub.Shutdown(context.Background()); err != nil {
			return err
		}
	} else {
		cancel()
	}
	if err := within(ran, "Run returns"); err != nil {
		return err
	}
	took := now() - at
	i.strikeAt(at)
	var got []int
	_ = good.SetReadDeadline(time.Now().Add(patience))
	for {
		f, err := good.Frame()
		if err != nil {
			return fmt.Errorf("no close frame: %w", err)
		}
		if f.Op == wstest.Close {
			if f.Code() != 1001 {
				return fmt.Errorf("close code %d", f.Code())
			}
			break
		}
		if _, n, ok := parse([]byte(f.Payload)); ok {
			got = append(got, n)
		}
	}
	i.count(1, burst, got)
	if !wstest.Poll(patience, func() bool { return x.closes.Load() > 0 }) {
		return errors.New("the foreign subscriber is not closed")
	}
	got = nil
	for len(x.heard) > 0 {
		_, n, _ := parse(<-x.heard)
		got = append(got, n)
	}
	i.count(1, burst, got)
	if i.lost+i.double > 0 {
		return fmt.Errorf("of %d messages %d were lost, %d came twice", burst, i.lost, i.double)
	}
	if took > limit+2*time.Second {
		return fmt.Errorf("stopping took %v, the drain timeout is %v", took, limit)
	}
	return nil
}
