package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
)

// simulateOne is the role of the process that runs one simTask and prints its simResult.
func simulateOne(arg string) {
	var t simTask
	err := json.Unmarshal([]byte(arg), &t)
	var r simResult
	if err == nil {
		r, err = t.run()
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fatal("sim", err)
	}
}

func (t simTask) run() (r simResult, err error) {
	r.simTask = t
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s := &simulation{size: t.Subscribers, hub: wskit.NewHub()}
	go s.hub.Run(ctx)
	s.link = actors.ResolveLink(actors.System(), s.hub.PID())

	before, err := memoryAtRest()
	if err != nil {
		return r, err
	}
	allBefore, err := statusBytes("VmRSS:")
	if err != nil {
		return r, err
	}
	cpu := cpuTime()
	if err := s.fill(ctx); err != nil {
		return r, err
	}
	r.RegisterMicro = float64((cpuTime() - cpu).Microseconds()) / float64(s.size)
	after, err := memoryAtRest()
	if err != nil {
		return r, err
	}
	r.Bytes = float64(after-before) / float64(s.size)

	if r.Single, err = s.measure(1); err != nil {
		return r, err
	}
	if r.Burst, err = s.measure(burst); err != nil {
		return r, err
	}
	peak, err := statusBytes("VmHWM:")
	if err != nil {
		return r, err
	}
	r.PeakBytes = float64(peak-allBefore) / float64(s.size)
	return r, nil
}

// memoryAtRest is the resident memory after a garbage collection.
func memoryAtRest() (int64, error) {
	runtime.GC() // twice: a sync.Pool survives the first
	debug.FreeOSMemory()
	return residentMemory()
}

// simulation is a hub and its subscribers.
type simulation struct {
	size int
	hub  *wskit.Hub
	link *actors.Link
	subs []*simSubscriber
	want int64 // deliveries so far
	got  [64]struct {
		atomic.Int64
		_ [56]byte // a cache line each: cores shall not wait for each other to count
	}
}

// simSubscriber is a connection without a socket: an Outbox, and an actor that takes what it hands out.
type simSubscriber struct {
	box *actors.Outbox
	got *atomic.Int64
}

func (s *simSubscriber) Outbox() *actors.Outbox { return s.box }
func (s *simSubscriber) Send(data []byte) bool  { return s.box.Send(actors.NewFrame(data)) == nil }
func (s *simSubscriber) Close()                 { s.box.Close(&actors.Close{Reason: actors.ReasonClosed}) }

func (s *simSubscriber) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		s.got.Add(int64(m.Count))
	case *actors.Close:
		s.box.Stop()
	case *actor.Stopped:
		s.box.Discard()
	}
}

// fill registers the subscribers, as Accept does with connections.
func (s *simulation) fill(ctx context.Context) error {
	s.subs = make([]*simSubscriber, s.size)
	for i := range s.subs {
		sub := &simSubscriber{box: actors.NewOutbox(actors.DefaultSendBufSize), got: &s.got[i%len(s.got)].Int64}
		s.subs[i] = sub
		sub.box.SetHome(s.link, sub)
		sub.box.Resume()
		s.link.System.Root.Send(s.link.Connections, &actors.Adopt{Kind: "sim", Subscriber: sub, Outbox: sub.box, Actor: sub})
		if err := s.hub.RegisterContext(ctx, sub); err != nil {
			return err
		}
	}
	// The registry has taken them all, and connections has started their actors, when all have got a message.
	return s.broadcast(1)
}

// simPatience is how long a batch of broadcasts may take.
const simPatience = 2 * time.Minute

// broadcast makes n broadcasts and waits until every subscriber has got them.
func (s *simulation) broadcast(n int) error {
	data := newMessage(0, 0, body{size: 128})
	for range n {
		s.hub.Broadcast(data)
	}
	s.want += int64(n * s.size)
	end := time.Now().Add(simPatience)
	look := max(50*time.Microsecond, time.Duration(s.size)*20*time.Nanosecond) // a few times in a broadcast
	for {
		var got int64
		for i := range s.got {
			got += s.got[i].Load()
		}
		switch {
		case got == s.want:
			return nil
		case got > s.want || time.Now().After(end):
			return fmt.Errorf("%d deliveries instead of %d", got, s.want)
		}
		time.Sleep(look)
	}
}

// measure makes batches of n broadcasts for a second, three at least.
func (s *simulation) measure(n int) (c simCost, err error) {
	if err := s.broadcast(n); err != nil {
		return c, err
	}
	runtime.GC()
	batches, cpu, start := 0, cpuTime(), time.Now()
	for ; batches < 3 || time.Since(start) < time.Second; batches++ {
		if err := s.broadcast(n); err != nil {
			return c, err
		}
	}
	per := func(d time.Duration) float64 { return float64(d) / float64(batches) / float64(n) / float64(s.size) }
	return simCost{CPU: per(cpuTime() - cpu), Wall: per(time.Since(start))}, nil
}
