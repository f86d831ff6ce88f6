package main

import (
	"strings"
	"testing"
)

// TestEveryGoalIsMeasuredByDefault spares a goal that nobody notices to be missing.
func TestEveryGoalIsMeasuredByDefault(t *testing.T) {
	o, err := parseFlags(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goals {
		c := g.check
		sc := findScenario(c.scenario)
		conns := c.conns
		if conns == 0 && !sc.alone {
			t.Errorf("%s: at which number of connections?", c.text)
		}
		others := []string{c.system}
		if c.other != "" && c.other != allPeers {
			others = append(others, c.other)
		}
		for _, name := range others {
			if !o.plan.takes(findSystem(name), sc, conns) {
				t.Errorf("%s: %s is not measured at %d connections", c.text, name, conns)
			}
		}
		if c.otherConns != 0 && !o.plan.takes(findSystem(c.system), sc, c.otherConns) {
			t.Errorf("%s: not measured at %d connections", c.text, c.otherConns)
		}
	}
}

func TestGoalsSayWhatWasMeasuredAgainstTheirLimit(t *testing.T) {
	list := outcomes(summarize([]*measurement{
		run(ours, 1000, 1), run(gorillaName, 1000, 8), run(textbook, 1000, 40), run(ours, 100, 1), run(ours, 10_000, 2), lostRun(centrifugal, 1000),
	}))
	var got []string
	for _, o := range list {
		got = append(got, strings.Join([]string{o.Limit, o.Measured, map[bool]string{true: "yes", false: "no"}[o.Holds]}, " | "))
	}
	want := []string{
		"<= 0.1 x gorilla | 0.125 x | no",
		"<= 0.2 x centrifuge | invalid runs at 1000 connections | no",
		"<= 0.05 x textbook | 0.025 x | yes",
		"<= 1.5 x wskit at 100 connections | 2.00 x | no",
		"<= 0.05 | 0.000 | yes",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
