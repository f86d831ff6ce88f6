package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// check is an assertion about medians:
//
//	[system:]scenario[/metric][@connections] <= [factor*]reference        or with >=
//
// The system is wskit unless it is named, the metric the scenario's first, and it has to hold at every number of
// connections at which the scenario was measured, unless one is given. The reference is another system in the same
// scenario, as in "wskit-sse:burst<=0.5*textbook-sse"; peers, which is the best one for the same protocol; @connections,
// which is the same system at another number of them; or a number.
type check struct {
	text     string
	system   string
	scenario string
	metric   metric
	conns    int // 0: all
	atMost   bool
	factor   float64
	// One of these is the reference, or none: then it is 1.
	other      string
	otherConns int
}

// allPeers is the reference to the best peer.
const allPeers = "peers"

var checkSyntax = regexp.MustCompile(`^(?:([\w-]+):)?([\w-]+)(?:/(\w+))?(?:@(\d+))?(<=|>=)(?:([0-9.]+)\*)?(?:@(\d+)|([0-9.]+)|([\w-]+))$`)

// parseChecks reads a comma-separated list; the empty list has no check. "goals" stands for the checks of all goals.
func parseChecks(list string) ([]check, error) {
	var checks []check
	for _, text := range splitList(list) {
		if text == "goals" {
			for _, g := range goals {
				checks = append(checks, g.check)
			}
			continue
		}
		c, err := parseCheck(text)
		if err != nil {
			return nil, err
		}
		checks = append(checks, c)
	}
	return checks, nil
}

func parseCheck(text string) (check, error) {
	fail := func(why string) (check, error) { return check{}, fmt.Errorf("check %q: %s", text, why) }
	m := checkSyntax.FindStringSubmatch(strings.ReplaceAll(text, " ", ""))
	if m == nil {
		return fail("not of the form [system:]scenario[/metric][@connections]<=[factor*]reference")
	}
	c := check{text: text, system: m[1], scenario: m[2], atMost: m[5] == "<=", factor: 1, other: m[9]}
	if c.system == "" {
		c.system = ours
	}
	sc := findScenario(c.scenario)
	if sc == nil {
		return fail("no scenario " + c.scenario)
	}
	i := 0
	if m[3] != "" {
		i = slices.IndexFunc(sc.metrics, func(me metric) bool { return me.key == m[3] })
	}
	if i < 0 {
		return fail("no metric " + m[3] + " of " + c.scenario)
	}
	c.metric = sc.metrics[i]
	if findSystem(c.system) == nil {
		return fail("no system " + c.system)
	}
	if c.other != "" && c.other != allPeers && findSystem(c.other) == nil {
		return fail("no system " + c.other)
	}
	c.conns, _ = strconv.Atoi(m[4]) // digits, or nothing
	c.otherConns, _ = strconv.Atoi(m[7])
	for _, number := range []string{m[6], m[8]} {
		if number == "" {
			continue
		}
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return fail(err.Error())
		}
		c.factor *= v
	}
	return c, nil
}

// result is how a check came out.
type result struct {
	holds    bool
	missing  bool    // something was not measured
	compared bool    // there was something to compare
	ratio    float64 // the last median over its reference; the median itself if that is a number
	said     string
}

// holds compares the medians. A check does not hold if nothing was measured, or if a run that it looks at was invalid.
func (c check) holds(rows []*row) result {
	all := result{holds: true}
	var said []string
	for _, r := range rows {
		if r.Scenario != c.scenario || r.Metric != c.metric.key || r.System != c.system || c.conns != 0 && r.Conns != c.conns {
			continue
		}
		one := c.compare(r, rows)
		all.holds, all.compared, all.ratio = all.holds && one.holds, all.compared || one.compared, one.ratio
		all.missing = all.missing || one.missing
		said = append(said, one.said)
	}
	if said == nil {
		return result{missing: true, said: "not measured"}
	}
	all.said = strings.Join(said, ", ")
	return all
}

func (c check) compare(r *row, rows []*row) result {
	to, at := c.reference(r, rows), ""
	if r.Conns > 0 {
		at = fmt.Sprintf(" at %d connections", r.Conns)
	}
	switch {
	case math.IsNaN(to):
		return result{missing: true, said: c.otherName() + " was not measured" + at}
	case math.IsInf(to, 0) || r.Valid < r.Runs:
		return result{said: "invalid runs" + at}
	}
	limit := c.factor * to
	return result{
		holds:    c.atMost && r.Median <= limit || !c.atMost && r.Median >= limit,
		compared: true,
		ratio:    r.Median / to,
		said:     fmt.Sprintf("%s against %s%s", figure(r.Median), figure(limit), at),
	}
}

// reference is the median that r is compared with; NaN if there is none, and infinite if a run of it was invalid.
func (c check) reference(r *row, rows []*row) float64 {
	if c.isAbsolute() {
		return 1
	}
	best := math.NaN()
	for _, to := range rows {
		same := to.Scenario == r.Scenario && to.Metric == r.Metric
		switch {
		case !same:
			continue
		case c.otherConns != 0:
			same = to.System == r.System && to.Conns == c.otherConns
		case c.other == allPeers:
			same = to.Conns == r.Conns && findSystem(to.System).isPeerOf(findSystem(r.System))
		default:
			same = to.Conns == r.Conns && to.System == c.other
		}
		switch {
		case !same:
		case to.Valid < to.Runs && c.other != allPeers:
			return math.Inf(1)
		case to.Valid == 0: // a peer that cannot do it is no measure
		case math.IsNaN(best), !c.metric.more && to.Median < best, c.metric.more && to.Median > best:
			best = to.Median
		}
	}
	return best
}

// isAbsolute reports whether the reference is a number.
func (c check) isAbsolute() bool { return c.other == "" && c.otherConns == 0 }

func (c check) otherName() string {
	switch {
	case c.otherConns != 0:
		return fmt.Sprintf("%s at %d connections", c.system, c.otherConns)
	case c.other == allPeers:
		return "the best peer"
	}
	return c.other
}
