package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// measurement is what one run of a scenario found.
type measurement struct {
	Round    int                `json:"round"`
	System   string             `json:"system"`
	Scenario string             `json:"scenario"`
	Conns    int                `json:"connections"`
	Count    int64              `json:"count"`             // deliveries, or connects
	Values   map[string]float64 `json:"values"`            // by metric key
	Invalid  string             `json:"invalid,omitempty"` // why it does not count
	Latency  []point            `json:"latency_ms,omitempty"`
}

// measure takes the CPU time of the server, the load generator and everybody else, and the wall time, around run, which
// returns a count.
func (s *session) measure(run func() (int64, error)) (*measurement, error) {
	before, err := s.child.stats(true)
	if err != nil {
		return nil, err
	}
	own, machine, start := cpuTime(), busyTime(), time.Now()
	count, err := run()
	if err != nil {
		return nil, err
	}
	wall := time.Since(start)
	own, machine = cpuTime()-own, busyTime()-machine
	after, err := s.child.stats(false)
	if err != nil {
		return nil, err
	}
	per := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(count) }
	return &measurement{Count: count, Values: map[string]float64{
		cpuPerDelivery.key: per(after.CPU - before.CPU),
		"load_cpu_us":      per(own),
		"per_s":            float64(count) / wall.Seconds(),
		otherCores:         max(0, (machine-own-(after.CPU-before.CPU)).Seconds()/wall.Seconds()),
	}}, nil
}

// otherCores is the key of how many cores were taken by processes that have nothing to do with the measurement.
const otherCores = "other_cores"

// busyTime is what all processes of the machine, and its host, have taken of its CPUs so far; 0 if nobody says.
func busyTime() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	return parseBusy(string(stat))
}

func parseBusy(stat string) time.Duration {
	var user, nice, system, idle, iowait, irq, softirq, steal time.Duration
	if _, err := fmt.Sscanf(stat, "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal); err != nil {
		return 0
	}
	return (user + nice + system + steal) * (time.Second / 100) // in ticks of a hundredth, whatever the kernel's own
}

func (m *measurement) addLatency(h *histogram) {
	ms := func(q float64) float64 { return h.quantile(q).Seconds() * 1000 }
	m.Values[p50.key], m.Values[p99.key], m.Values[p999.key] = ms(0.5), ms(0.99), ms(0.999)
	m.Latency = h.curve()
}

// plan is what is to be measured.
type plan struct {
	systems   []*system
	scenarios []*scenario
	conns     []int
	rounds    int
	profiles  string // directory for profiles of the servers; "": none
	progress  func(done, of int, m *measurement)
}

// run measures everything in the plan, or what it gets done before ctx ends: all systems in each round, so that whatever
// else the machine does meanwhile hits all of them, and starting with another one each time.
func (p *plan) run(ctx context.Context) []*measurement {
	var all []*measurement
	total := p.total()
	for round := range p.rounds {
		for _, conns := range p.conns {
			for i := range p.systems {
				sys := p.systems[(i+round)%len(p.systems)]
				p.visit(ctx, sys, conns, func(m *measurement) {
					m.Round = round + 1
					all = append(all, m)
					p.progress(len(all), total, m)
				})
				if ctx.Err() != nil {
					return all
				}
			}
		}
	}
	return all
}

func (p *plan) total() (n int) {
	for _, sys := range p.systems {
		for _, conns := range p.conns {
			for _, sc := range p.scenarios {
				if sc.takes(sys, conns) {
					n += p.rounds
				}
			}
		}
	}
	return n
}

// visit measures every scenario of one system at one number of connections. A session is shared until a scenario fails,
// and by scenarios with the same share of stalled connections.
func (p *plan) visit(ctx context.Context, sys *system, conns int, found func(*measurement)) {
	var s *session
	var open int // the share of stalled connections in s
	end := func() {
		if s != nil {
			s.close()
		}
		s = nil
	}
	defer end()
	for _, sc := range p.scenarios {
		if !sc.takes(sys, conns) || ctx.Err() != nil {
			continue
		}
		if s != nil && open != sc.stalled {
			end()
		}
		var m *measurement
		var err error
		if s == nil {
			stalled := 0
			if sc.stalled > 0 {
				stalled = conns / sc.stalled
			}
			s, err = openSession(ctx, sys, conns, stalled, sc.name == "idle")
			open = sc.stalled
		}
		if err == nil {
			m, err = p.profiled(s, sc, func() (*measurement, error) { return sc.run(ctx, s, sc) })
		}
		if ctx.Err() != nil {
			return // it was cut short
		}
		if err != nil {
			m = &measurement{Invalid: err.Error()}
			end()
		}
		m.System, m.Scenario, m.Conns = sys.name, sc.name, conns
		found(m)
	}
}

// profiled saves profiles of the server, CPU time over run and memory after it, if the plan asks for them. A failure to do
// so is only told.
func (p *plan) profiled(s *session, sc *scenario, run func() (*measurement, error)) (*measurement, error) {
	if p.profiles == "" {
		return run()
	}
	_, startErr := s.child.get("/profile/start")
	m, runErr := run()
	errs := []error{startErr}
	for kind, path := range map[string]string{"cpu": "/profile/stop", "memory": "/debug/pprof/allocs"} {
		profile, err := s.child.get(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(p.profiles, fmt.Sprintf("%s-%s-%d.%s.pprof", s.sys.name, sc.name, s.conns, kind)), profile, 0o644)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "bench: no profile:", err)
	}
	return m, runErr
}
