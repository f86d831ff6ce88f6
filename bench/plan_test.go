package main

import (
	"slices"
	"testing"
	"time"
)

func TestEverythingIsMeasuredInHalfAnHourOrSo(t *testing.T) {
	o, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := o.plan.estimate(); d > 35*time.Minute {
		t.Errorf("the estimate is %v", d)
	}
	if got := o.plan.numbers(); !slices.Equal(got, []int{0, 100, 1000, 9000, 10_000}) {
		t.Error(got)
	}
}

func TestAPlanTakesWhatWasAskedForAndCanBeDone(t *testing.T) {
	for _, c := range []struct {
		scenario, system string
		conns            int
		byDefault, asked bool // asked for these numbers of connections
	}{
		{"single", ours, 10_000, true, true},
		{"single", ours, 9000, false, true},
		{"idle", ours, 9000, true, true},
		{"single", oursOne, 1000, true, true},
		{"single", oursOne, 10_000, false, true},
		{"rate", oursOne, 1000, false, false},
		{"rate", ours, 1000, true, true},
		{"rate", ours, 1001, false, false},
		{"stalled", floorName, 1000, false, false},
		{"stalled", textbook, 1000, true, true},
		{"burst-text", oursDeflate, 1000, true, true},
		{"burst-text", "melody", 1000, false, false},
		{"burst", oursDeflate, 1000, false, false},
		{"publish", oursPublish, 0, true, true},
		{"publish", oursPublish, 1000, false, false},
		{"publish", ours, 0, false, false},
		{"single", ours, 0, false, false},
		{"resume", oursStreams, 10_000, true, true},
		{"resume", oursStreams, 0, false, false},
		{"kept", oursStreams, 0, true, true},
		{"publish", oursStreams, 0, false, false},
		{"single", oursHistory, 1000, true, true},
	} {
		sys, sc := findSystem(c.system), findScenario(c.scenario)
		if got := (&plan{}).takes(sys, sc, c.conns); got != c.byDefault {
			t.Errorf("%+v: by default %v", c, got)
		}
		if got := (&plan{conns: []int{c.conns}}).takes(sys, sc, c.conns); got != c.asked {
			t.Errorf("%+v: asked for %v", c, got)
		}
	}
}
