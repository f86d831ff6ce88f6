package main

import "testing"

func TestQuickSetsOnlyWhatWasNotGiven(t *testing.T) {
	o, err := parseFlags([]string{"-quick", "-rounds", "2", "-check", "burst<=0.333*textbook"})
	if err != nil {
		t.Fatal(err)
	}
	if o.plan.rounds != 2 || len(o.plan.systems) != 3 || len(o.plan.scenarios) != 2 || len(o.plan.conns) != 1 || len(o.checks) != 1 {
		t.Errorf("%+v", o)
	}
	if got := o.plan.total(); got != 2*3*2 {
		t.Errorf("%d measurements", got)
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

func TestSystemsAndScenariosSkipWhatTheyCannotDo(t *testing.T) {
	for _, c := range []struct {
		scenario, system string
		conns            int
		want             bool
	}{
		{"single", ours, 9000, true},
		{"rate", ours, 1000, true},
		{"rate", ours, 1001, false},
		{"stalled", floorName, 100, false},
		{"stalled", textbook, 100, true},
	} {
		if got := findScenario(c.scenario).takes(findSystem(c.system), c.conns); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestResidentMemoryIsReadFromStatus(t *testing.T) {
	if n, err := parseRSS("VmRSS:\t  900 kB\nRssAnon:\t     512 kB\nRssFile:\t 388 kB\n"); err != nil || n != 512<<10 {
		t.Error(n, err)
	}
	if _, err := parseRSS("VmRSS: 900 kB\n"); err == nil {
		t.Error("no RssAnon, no error")
	}
	if n, err := residentMemory(); err != nil || n <= 0 {
		t.Error(n, err)
	}
}
