package main

import "testing"

func TestQuickSetsOnlyWhatWasNotGiven(t *testing.T) {
	o, err := parseFlags([]string{"-quick", "-rounds", "2", "-check", "burst<=0.333*textbook"})
	if err != nil {
		t.Fatal(err)
	}
	if o.plan.rounds != 2 || len(o.plan.systems) != 3 || len(o.plan.scenarios) != 2 || len(o.plan.conns) != 1 || len(o.checks) != 1 || o.json != "" || o.plots != "" {
		t.Errorf("%+v", o)
	}
	if got := o.plan.total(); got != 2*3*2 {
		t.Errorf("%d measurements", got)
	}
}

func TestFiguresThatAreReadAreNotWrittenAgain(t *testing.T) {
	if o, err := parseFlags([]string{"-from", "a.json"}); err != nil || o.json != "" || o.plots != resultsPlots {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err := parseFlags(nil); err != nil || o.json != resultsJSON || o.plots != resultsPlots {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestFlagsThatMeanNothingAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-systems", "nobody"}, {"-systems", ""}, {"-scenarios", "single,nothing"}, {"-conns", "0"}, {"-conns", "19001"},
		{"-conns", "many"}, {"-conns", ","}, {"-check", "fast"}, {"more"},
	} {
		if _, err := parseFlags(args); err == nil {
			t.Errorf("%q passed", args)
		}
	}
}
