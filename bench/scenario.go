package main

import (
	"context"
	"fmt"
	"time"
)

// scenario is one thing that is measured.
type scenario struct {
	name     string
	about    string
	size     int           // bytes of a message
	batch    int           // broadcasts at once
	maxConns int           // 0: any number
	stalled  int           // one in so many connections never reads; 0: all read
	time     time.Duration // of one measurement
	metrics  []metric      // the first is what checks compare
	run      func(context.Context, *session, *scenario) (*measurement, error)
}

// metric names a figure: its key in the JSON file and its heading in the table. Less is better, unless more is set.
type metric struct {
	key, label string
	more       bool
}

// The metrics.
var (
	cpuPerDelivery = metric{key: "cpu_us", label: "server CPU per delivery, µs"}
	cpuPerCycle    = metric{key: "cycle_us", label: "server CPU per connect and disconnect, µs"}
	cyclesPerSec   = metric{key: "cycles_per_s", label: "connects and disconnects per second", more: true}
	idleMemory     = metric{key: "idle_kb", label: "resident memory per idle connection, KB"}
	p50            = metric{key: "p50_ms", label: "p50 latency, ms"}
	p99            = metric{key: "p99_ms", label: "p99 latency, ms"}
	p999           = metric{key: "p999_ms", label: "p99.9 latency, ms"}
)

const (
	burst  = 64
	rate   = 100 // broadcasts a second
	normal = 2 * time.Second
	warmUp = 300 * time.Millisecond
)

var scenarios = []scenario{
	{name: "idle", about: "connections that got one message and wait", run: runIdle, metrics: []metric{idleMemory}},
	{name: "single", about: "one broadcast of 128 B at a time", size: 128, batch: 1,
		time: normal, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "single-1k", about: "one broadcast of 1 KB at a time", size: 1 << 10, batch: 1, maxConns: 1000,
		time: normal, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "single-16k", about: "one broadcast of 16 KB at a time", size: 16 << 10, batch: 1, maxConns: 1000,
		time: normal, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "burst", about: "64 broadcasts of 128 B back to back", size: 128, batch: burst,
		time: normal, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "burst-1k", about: "64 broadcasts of 1 KB back to back", size: 1 << 10, batch: burst, maxConns: 1000,
		time: normal, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "burst-16k", about: "64 broadcasts of 16 KB back to back", size: 16 << 10, batch: burst, maxConns: 1000,
		time: normal, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "rate", about: "100 broadcasts of 128 B a second", size: 128, batch: 1, maxConns: 1000,
		time: 2 * normal, run: runTicks, metrics: []metric{p99, p50, p999, cpuPerDelivery}},
	{name: "connect", about: "connections come and go beside those that stay", time: normal,
		run: runConnect, metrics: []metric{cpuPerCycle, cyclesPerSec}},
	{name: "stalled", about: "100 broadcasts of 1 KB a second while one connection in ten does not read; figures of the others",
		size: 1 << 10, batch: 1, maxConns: 1000, stalled: 10, time: 2 * normal, run: runStalled, metrics: []metric{p99, p50, cpuPerDelivery}},
}

func findScenario(name string) *scenario {
	for i := range scenarios {
		if scenarios[i].name == name {
			return &scenarios[i]
		}
	}
	return nil
}

// takes reports whether the scenario can be measured with so many connections of this system.
func (sc *scenario) takes(sys *system, conns int) bool {
	for _, skipped := range sys.skips {
		if skipped == sc.name {
			return false
		}
	}
	return sc.maxConns == 0 || conns <= sc.maxConns
}

func runRounds(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	if err := s.rounds(ctx, sc.batch, sc.size, warmUp, 1); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	return s.measure(func() (int64, error) {
		err := s.rounds(ctx, sc.batch, sc.size, sc.time, 3)
		return s.load.got.Load(), err
	})
}

func runTicks(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	if err := s.ticks(ctx, rate, sc.size, warmUp); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	m, err := s.measure(func() (int64, error) {
		err := s.ticks(ctx, rate, sc.size, sc.time)
		return s.load.got.Load(), err
	})
	if err != nil {
		return nil, err
	}
	m.addLatency(s.load.latency.Load())
	return m, nil
}

// runStalled first fills what a stalled connection takes before it is felt: the kernel's send buffer, which on loopback
// grows to some 5 MB, with large messages, then a queue of 256 messages.
func runStalled(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	for _, fill := range []struct{ size, times int }{{16 << 10, 6}, {sc.size, 6}} {
		if err := s.rounds(ctx, burst, fill.size, 0, fill.times); err != nil {
			return nil, fmt.Errorf("filling the stalled connections: %w", err)
		}
	}
	return runTicks(ctx, s, sc)
}

func runIdle(ctx context.Context, s *session, _ *scenario) (*measurement, error) {
	if err := s.awaitCount(ctx, s.conns, false); err != nil {
		return nil, err
	}
	time.Sleep(settle)
	st, err := s.child.stats(true)
	if err != nil {
		return nil, err
	}
	return &measurement{Values: map[string]float64{idleMemory.key: float64(st.RSS-s.base) / 1024 / float64(s.conns)}}, nil
}

func runConnect(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	const atMost = 10_000
	if _, err := s.load.churn(ctx, warmUp, atMost); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	m, err := s.measure(func() (int64, error) {
		cycles, err := s.load.churn(ctx, sc.time, atMost)
		if err == nil {
			err = s.awaitCount(ctx, s.conns, false)
		}
		return int64(cycles), err
	})
	if err != nil {
		return nil, err
	}
	m.Values[cpuPerCycle.key] = m.Values[cpuPerDelivery.key]
	m.Values[cyclesPerSec.key] = m.Values["per_s"]
	delete(m.Values, cpuPerDelivery.key)
	return m, nil
}
