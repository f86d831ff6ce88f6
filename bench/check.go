package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// check is an assertion about two systems in one scenario, on the scenario's first metric:
//
//	[system:]scenario <= [factor*]system        or with >=
//
// The system on the left is wskit unless it is named, as in "wskit-sse:burst<=0.5*textbook-sse".
type check struct {
	text     string
	system   string
	scenario string
	atMost   bool
	factor   float64
	other    string
}

var checkSyntax = regexp.MustCompile(`^(?:([\w-]+):)?([\w-]+)(<=|>=)(?:([0-9.]+)\*)?([\w-]+)$`)

// parseChecks reads a comma-separated list; the empty list has no check.
func parseChecks(list string) ([]check, error) {
	var checks []check
	for _, text := range splitList(list) {
		c, err := parseCheck(text)
		if err != nil {
			return nil, err
		}
		checks = append(checks, c)
	}
	return checks, nil
}

func parseCheck(text string) (check, error) {
	m := checkSyntax.FindStringSubmatch(strings.ReplaceAll(text, " ", ""))
	if m == nil {
		return check{}, fmt.Errorf("check %q is not of the form [system:]scenario<=[factor*]system", text)
	}
	c := check{text: text, system: m[1], scenario: m[2], atMost: m[3] == "<=", factor: 1, other: m[5]}
	if c.system == "" {
		c.system = ours
	}
	if m[4] != "" {
		var err error
		if c.factor, err = strconv.ParseFloat(m[4], 64); err != nil {
			return check{}, fmt.Errorf("check %q: %w", text, err)
		}
	}
	for _, name := range []string{c.system, c.other} {
		if findSystem(name) == nil {
			return check{}, fmt.Errorf("check %q: no system %q", text, name)
		}
	}
	if findScenario(c.scenario) == nil {
		return check{}, fmt.Errorf("check %q: no scenario %q", text, c.scenario)
	}
	return c, nil
}

// holds compares the medians at every number of connections, and says what it found. It does not hold if nothing was
// measured, or if a run of either system was invalid.
func (c check) holds(rows []*row) (bool, string) {
	metric := findScenario(c.scenario).metrics[0].key
	find := func(system string, conns int) *row {
		for _, r := range rows {
			if r.Scenario == c.scenario && r.Metric == metric && r.System == system && (conns == 0 || r.Conns == conns) {
				return r
			}
		}
		return nil
	}
	if find(c.system, 0) == nil {
		return false, c.text + ": not measured"
	}
	ok, said := true, []string{}
	for _, r := range rows {
		if r.Scenario != c.scenario || r.Metric != metric || r.System != c.system {
			continue
		}
		to := find(c.other, r.Conns)
		switch {
		case to == nil:
			ok, said = false, append(said, fmt.Sprintf("%s was not measured at %d connections", c.other, r.Conns))
		case r.Valid < r.Runs || to.Valid < to.Runs:
			ok, said = false, append(said, fmt.Sprintf("invalid runs at %d connections", r.Conns))
		default:
			limit := c.factor * to.Median
			ok = ok && (c.atMost && r.Median <= limit || !c.atMost && r.Median >= limit)
			said = append(said, fmt.Sprintf("%s against %s at %d connections", figure(r.Median), figure(limit), r.Conns))
		}
	}
	return ok, c.text + ": " + strings.Join(said, ", ")
}
