package main

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestMain lets the test binary be a server process, as the program is.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == roleServe {
		serve(os.Args[2])
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
			s, err := openSession(ctx, sys, 20, 0, true)
			if err != nil {
				t.Fatal(err)
			}
			defer s.close()
			for _, name := range []string{"idle", "single", "burst-16k", "rate", "connect"} {
				sc := *findScenario(name)
				sc.time = 50 * time.Millisecond
				if !sc.takes(sys, 20) {
					continue
				}
				m, err := sc.run(ctx, s, &sc)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for _, me := range sc.metrics {
					if _, ok := m.Values[me.key]; !ok {
						t.Errorf("%s: no figure for %q", name, me.label)
					}
				}
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
		p.take(newMessage(number, 0, 64))
	}
	l.delivered(p.batch)
	if err := l.await(t.Context()); err == nil {
		t.Error("three messages came, and one of them was another one")
	}
	l.begin(5)
	l.want.Store(2)
	p.batch = 0
	for _, number := range []uint32{4, 5, 6} { // the first is of the measurement before
		p.take(newMessage(number, 0, 64))
	}
	l.delivered(p.batch)
	if err := l.await(t.Context()); err != nil {
		t.Error(err)
	}
}
