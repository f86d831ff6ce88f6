package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// scenario is one thing that is measured.
type scenario struct {
	name     string
	about    string
	body     body
	batch    int           // broadcasts at once
	conns    []int         // numbers of connections, if none are asked for
	maxConns int           // the most that may be asked for; 0: any number
	stalled  int           // one in so many connections never reads; 0: all read
	redis    bool          // it takes a Redis
	alone    bool          // it takes no connections
	later    bool          // it makes the connections itself
	only     []string      // systems that take part; nil: any
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
	cpuPerDelivery    = metric{key: "cpu_us", label: "server CPU per delivery, µs"}
	allocsPerDelivery = metric{key: "allocs", label: "allocations of the server per delivery"}
	cpuPerCycle       = metric{key: "cycle_us", label: "server CPU per connect and disconnect, µs"}
	cyclesPerSec      = metric{key: "cycles_per_s", label: "connects and disconnects per second", more: true}
	publishesPerSec   = metric{key: "publishes_per_s", label: "publishes per second", more: true}
	cpuPerPublish     = metric{key: "publish_us", label: "server CPU per publish, µs"}
	resumeTime        = metric{key: "resume_s", label: "seconds from the first to connect until all have what they missed"}
	connectTime       = metric{key: "connect_s", label: "seconds that it takes the same to connect who have missed nothing"}
	resumeLag         = metric{key: "lag_ms", label: "of these, ms after the last has connected"}
	cpuPerResume      = metric{key: "resume_us", label: "server CPU per resume, µs"}
	readsPerTopic     = metric{key: "reads", label: "reads of streams in Redis per topic"}
	readTime          = metric{key: "read_ms", label: "time that Redis took for them all, ms"}
	bytesPerMessage   = metric{key: "message_b", label: "bytes per message"}
	bytesPerTopic     = metric{key: "topic_b", label: "bytes per topic beside its messages"}
	idleMemory        = metric{key: "idle_kb", label: "resident memory per idle connection, KB"}
	p50               = metric{key: "p50_ms", label: "p50 latency, ms"}
	p99               = metric{key: "p99_ms", label: "p99 latency, ms"}
	p999              = metric{key: "p999_ms", label: "p99.9 latency, ms"}
)

const (
	burst  = 64
	rate   = 100 // broadcasts a second
	normal = 2 * time.Second
	brief  = time.Second
	warmUp = 300 * time.Millisecond
)

// idleConns is the number of connections at which memory is judged.
const idleConns = 9000

var (
	fromFewToMany = []int{100, 1000, 10_000}
	thousand      = []int{1000}
)

var (
	perDelivery = []metric{cpuPerDelivery, allocsPerDelivery}
	latencies   = []metric{p99, p50, p999, cpuPerDelivery}
)

var scenarios = []scenario{
	{name: "idle", about: "connections that got one message and wait", conns: []int{1000, idleConns},
		run: runIdle, metrics: []metric{idleMemory}},
	{name: "single", about: "one broadcast of 128 B at a time", body: body{size: 128}, batch: 1, conns: fromFewToMany,
		time: normal, run: runRounds, metrics: perDelivery},
	{name: "single-1k", about: "one broadcast of 1 KB at a time", body: body{size: 1 << 10}, batch: 1, conns: thousand, maxConns: 1000,
		time: brief, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "single-16k", about: "one broadcast of 16 KB at a time", body: body{size: 16 << 10}, batch: 1, conns: thousand, maxConns: 1000,
		time: brief, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "burst", about: "64 broadcasts of 128 B back to back", body: body{size: 128}, batch: burst, conns: fromFewToMany,
		time: normal, run: runRounds, metrics: perDelivery},
	{name: "burst-1k", about: "64 broadcasts of 1 KB back to back", body: body{size: 1 << 10}, batch: burst, conns: thousand, maxConns: 1000,
		time: brief, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "burst-16k", about: "64 broadcasts of 16 KB back to back", body: body{size: 16 << 10}, batch: burst, conns: thousand, maxConns: 1000,
		time: brief, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "burst-text", about: "64 broadcasts of 1 KB of JSON events back to back", body: body{size: 1 << 10, text: true}, batch: burst,
		conns: thousand, maxConns: 1000, only: []string{ours, oursDeflate, textbook, gorillaName, centrifugal},
		time: normal, run: runRounds, metrics: []metric{cpuPerDelivery}},
	{name: "topics", about: "one message of 128 B to each of 10,000 topics in turn, of 10 members each", body: body{size: 128, topics: true},
		batch: topics, conns: thousand, maxConns: topicConns, only: []string{oursTopics, topicLoop}, time: normal, run: runRounds,
		metrics: perDelivery},
	{name: "rate", about: "100 broadcasts of 128 B a second", body: body{size: 128}, batch: 1, conns: thousand, maxConns: 1000,
		time: 2 * normal, run: runTicks, metrics: latencies},
	{name: "connect", about: "connections come and go beside those that stay", conns: thousand, time: normal,
		run: runConnect, metrics: []metric{cpuPerCycle, cyclesPerSec}},
	{name: "stalled", about: "100 broadcasts of 1 KB a second while one connection in ten does not read; figures of the others",
		body: body{size: 1 << 10}, batch: 1, conns: thousand, maxConns: 1000, stalled: 10, time: 2 * normal, run: runStalled,
		metrics: []metric{p99, p50, cpuPerDelivery}},
	{name: "publish", about: "publishes to Redis from 64 goroutines", redis: true, alone: true,
		only: []string{oursPublish, oursPubLog, plainName},
		time: normal, run: runPublish, metrics: []metric{publishesPerSec, p99, p50, cpuPerPublish}},
	{name: "resume", about: "everybody comes at once, and has missed 5 messages of 128 B in one of 100 topics that keep 100", body: body{size: 128, topics: true},
		conns: []int{10_000}, only: []string{oursRings, oursStreams}, later: true, time: normal, run: runResume,
		metrics: []metric{resumeTime, connectTime, resumeLag, cpuPerResume, readsPerTopic, readTime}},
	{name: "kept", about: "10,000 topics that keep 100 messages of 100 B each", alone: true, only: []string{oursRings, oursStreams}, time: 5 * normal,
		run: runKept, metrics: []metric{bytesPerMessage, bytesPerTopic}},
}

func findScenario(name string) *scenario {
	for i := range scenarios {
		if scenarios[i].name == name {
			return &scenarios[i]
		}
	}
	return nil
}

// admits reports whether the system takes part in the scenario at all.
func (sc *scenario) admits(sys *system) bool {
	return !slices.Contains(sys.skips, sc.name) &&
		(sys.only == nil || slices.Contains(sys.only, sc.name)) &&
		(sc.only == nil || slices.Contains(sc.only, sys.name))
}

func runRounds(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	if err := s.rounds(ctx, sc.batch, sc.body, warmUp, 1); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	return s.measure(ctx, func() (int64, error) {
		err := s.rounds(ctx, sc.batch, sc.body, sc.time, 2)
		return s.load.got.Load(), err
	})
}

func runTicks(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	if err := s.ticks(ctx, rate, sc.body, warmUp); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	m, err := s.measure(ctx, func() (int64, error) {
		err := s.ticks(ctx, rate, sc.body, sc.time)
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
	for _, fill := range []body{{size: 16 << 10}, sc.body} {
		if err := s.rounds(ctx, burst, fill, 0, 6); err != nil {
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
	m, err := s.measure(ctx, func() (int64, error) {
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
