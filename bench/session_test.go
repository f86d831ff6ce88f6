package main

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestMain lets the test binary be a server process, as the program is.
func TestMain(m *testing.M) {
	if playRole(os.Args[1:]) {
		return
	}
	os.Exit(m.Run())
}

func TestEverySystemTakesPartInItsScenarios(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped by -short: it starts a process for each system")
	}
	for i := range systems {
		sys := &systems[i]
		t.Run(sys.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			p := &plan{conns: []int{20}, systems: []*system{sys}}
			for _, name := range []string{"idle", "single", "burst-16k", "burst-text", "rate", "connect", "publish", "resume"} {
				sc := *findScenario(name)
				sc.time = 50 * time.Millisecond
				p.scenarios = append(p.scenarios, &sc)
			}
			measured := 0
			for _, conns := range p.numbers() {
				if _, err := findRedis(); err != nil && p.needsRedis() {
					t.Log("left out: there is no redis-server")
					continue
				}
				v := visit{plan: p, sys: sys, conns: conns}
				v.run(ctx, func(m *measurement) {
					measured++
					if m.Invalid != "" {
						t.Errorf("%s: %s", m.Scenario, m.Invalid)
						return
					}
					for _, me := range findScenario(m.Scenario).metrics {
						if _, ok := m.Values[me.key]; !ok {
							t.Errorf("%s: no figure for %q", m.Scenario, me.label)
						}
					}
				})
			}
			if measured == 0 && sys.reference == "" {
				t.Error("nothing was measured")
			}
		})
	}
}

func TestARunThatLosesAMessageIsInvalid(t *testing.T) {
	l := newLoad(findSystem(ours), "")
	p := &peer{load: l}
	l.begin(1)
	l.want.Store(3)
	for _, number := range []uint32{1, 3, 4} {
		p.take(newMessage(number, 0, body{size: 64}))
	}
	l.delivered(p.batch)
	if err := l.await(t.Context()); err == nil {
		t.Error("three messages came, and one of them was another one")
	}
	l.begin(5)
	l.want.Store(2)
	p.batch = 0
	for _, number := range []uint32{4, 5, 6} { // the first is of the measurement before
		p.take(newMessage(number, 0, body{size: 64}))
	}
	l.delivered(p.batch)
	if err := l.await(t.Context()); err != nil {
		t.Error(err)
	}
}
