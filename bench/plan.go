package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// plan is what is to be measured.
type plan struct {
	systems   []*system
	scenarios []*scenario
	conns     []int // nil: those of each scenario
	rounds    int
	profiles  string // directory for profiles of the servers; "": none
	progress  func(m *measurement, left time.Duration)
}

// run measures everything in the plan, or what it gets done before ctx ends: all systems in each round, so that whatever
// else the machine does meanwhile hits all of them, and starting with another one each time.
func (p *plan) run(ctx context.Context) []*measurement {
	var all []*measurement
	start, done, total := time.Now(), time.Duration(0), p.estimate()
	for round := range p.rounds {
		for _, conns := range p.numbers() {
			for i := range p.systems {
				sys := p.systems[(i+round)%len(p.systems)]
				v := &visit{plan: p, sys: sys, conns: conns}
				v.run(ctx, func(m *measurement) {
					m.Round = round + 1
					all = append(all, m)
					done += findScenario(m.Scenario).estimate(conns)
					p.progress(m, time.Duration(float64(time.Since(start))/float64(done)*float64(total-done)))
				})
				if ctx.Err() != nil {
					return all
				}
			}
		}
	}
	return all
}

// numbers is every number of connections of the plan, from few to many. 0 is for scenarios that take none.
func (p *plan) numbers() (numbers []int) {
	for _, sc := range p.scenarios {
		switch {
		case sc.alone:
			numbers = append(numbers, 0)
		case p.conns != nil:
			numbers = append(numbers, p.conns...)
		default:
			numbers = append(numbers, sc.conns...)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// takes reports whether the plan has this measurement.
func (p *plan) takes(sys *system, sc *scenario, conns int) bool {
	switch {
	case !sc.admits(sys):
		return false
	case sc.alone || conns == 0:
		return sc.alone && conns == 0
	case p.conns != nil:
		return slices.Contains(p.conns, conns) && (sc.maxConns == 0 || conns <= sc.maxConns)
	}
	return slices.Contains(sc.conns, conns) && (sys.conns == nil || slices.Contains(sys.conns, conns))
}

// needsRedis reports whether any measurement of the plan takes a Redis.
func (p *plan) needsRedis() bool {
	needs := false
	p.each(func(sys *system, sc *scenario, _ int) { needs = needs || sc.redis || sys.redis })
	return needs
}

// each calls do for every measurement of one round.
func (p *plan) each(do func(sys *system, sc *scenario, conns int)) {
	for _, conns := range p.numbers() {
		for _, sys := range p.systems {
			for _, sc := range p.scenarios {
				if p.takes(sys, sc, conns) {
					do(sys, sc, conns)
				}
			}
		}
	}
}

// total is the number of measurements.
func (p *plan) total() (n int) {
	p.each(func(*system, *scenario, int) { n += p.rounds })
	return n
}

// estimate is how long the plan takes on a machine with two cores.
func (p *plan) estimate() (d time.Duration) {
	p.each(func(_ *system, sc *scenario, conns int) { d += time.Duration(p.rounds) * sc.estimate(conns) })
	return d
}

// estimate is how long a measurement takes, with its share of the session.
func (sc *scenario) estimate(conns int) time.Duration {
	each := conns
	if sc.body.topics {
		each = topicMembers
	}
	batches := time.Duration(3 * sc.batch * each) // with the warm-up
	return time.Second/2 + sc.time + time.Duration(conns)*time.Second/5000 + batches*5*time.Microsecond
}

// visit is all that is measured of one system at one number of connections. A session is shared until a scenario fails, and
// by scenarios that want the same of it.
type visit struct {
	plan    *plan
	sys     *system
	conns   int
	session *session // nil: none is open
	open    setup    // of session
}

func (v *visit) run(ctx context.Context, found func(*measurement)) {
	defer v.end()
	for _, sc := range v.plan.scenarios {
		if !v.plan.takes(v.sys, sc, v.conns) || ctx.Err() != nil {
			continue
		}
		m, err := v.measure(ctx, sc)
		if ctx.Err() != nil {
			return // it was cut short
		}
		if err != nil {
			m = &measurement{Invalid: err.Error()}
			v.end()
		}
		m.System, m.Scenario, m.Conns = v.sys.name, sc.name, v.conns
		found(m)
	}
}

func (v *visit) measure(ctx context.Context, sc *scenario) (m *measurement, err error) {
	want := setup{base: sc.name == "idle", redis: sc.redis || v.sys.redis, later: sc.later}
	if sc.stalled > 0 {
		want.stalled = v.conns / sc.stalled
	}
	if v.session != nil && (want.stalled != v.open.stalled || want.redis != v.open.redis || want.later != v.open.later) {
		v.end()
	}
	if v.session == nil {
		if v.session, err = openSession(ctx, v.sys, v.conns, want); err != nil {
			return nil, err
		}
		v.open = want
	}
	return v.profiled(sc, func() (*measurement, error) { return sc.run(ctx, v.session, sc) })
}

func (v *visit) end() {
	if v.session != nil {
		v.session.close()
	}
	v.session = nil
}

// profiled saves profiles of the server, CPU time over run and memory after it, if the plan asks for them. A failure to do
// so is only told.
func (v *visit) profiled(sc *scenario, run func() (*measurement, error)) (*measurement, error) {
	if v.plan.profiles == "" {
		return run()
	}
	child := v.session.child
	_, startErr := child.get("/profile/start")
	m, runErr := run()
	errs := []error{startErr}
	for kind, path := range map[string]string{"cpu": "/profile/stop", "memory": "/debug/pprof/allocs"} {
		profile, err := child.get(path)
		if err == nil {
			file := fmt.Sprintf("%s-%s-%d.%s.pprof", v.sys.name, sc.name, v.conns, kind)
			err = os.WriteFile(filepath.Join(v.plan.profiles, file), profile, 0o644)
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "bench: no profile:", err)
	}
	return m, runErr
}
