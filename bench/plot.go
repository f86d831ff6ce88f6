package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// colors are the lines' own; systems that have none are gray.
var colors = map[string]string{
	ours: "#0057b7", oursServe: "#3f8fe0", oursOne: "#00a3a3", oursDeflate: "#6a3fb5",
	textbook: "#d55e00", gorillaName: "#00845a", "melody": "#b5489a", centrifugal: "#a87900",
	oursSSE: "#0057b7", oursHijack: "#3f8fe0", textbookSSE: "#d55e00", "go-sse": "#8c2d04",
}

// seriesOf is an empty line for a system. Those of SSE are dashed, the floor is dotted.
func seriesOf(sys *system) series {
	s := series{name: sys.name, color: colors[sys.name], bold: sys.isOurs()}
	if s.color == "" {
		s.color = "#6b6b6b"
	}
	switch {
	case sys.proto == sse:
		s.dash = "7 4"
	case sys.name == floorName:
		s.dash = "2 3"
	}
	return s
}

// writePlots writes an SVG file for the CPU time of each scenario that was measured at several numbers of connections, and
// one for each latency distribution.
func writePlots(dir string, all []*measurement, rows []*row) error {
	for i := range scenarios {
		sc := &scenarios[i]
		for _, c := range []struct {
			name  string
			chart chart
		}{
			{"cpu-" + sc.name, cpuChart(sc, rows)},
			{"latency-" + sc.name, latencyChart(sc, all)},
		} {
			if len(c.chart.series) == 0 {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, c.name+".svg"), c.chart.svg(), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// cpuChart is CPU per delivery over the number of connections. A system of which there is only one figure has no line.
func cpuChart(sc *scenario, rows []*row) chart {
	c := chart{title: "Server CPU per delivery: " + sc.about, note: "less is better; both axes logarithmic; dashed: SSE", x: "connections", y: "µs"}
	var numbers []int
	for i := range systems {
		s := seriesOf(&systems[i])
		for _, r := range rows {
			if r.Scenario == sc.name && r.Metric == cpuPerDelivery.key && r.System == s.name && r.Valid > 0 {
				s.points = append(s.points, point{float64(r.Conns), r.Median})
			}
		}
		if len(s.points) < 2 {
			continue
		}
		c.series = append(c.series, s)
		for _, p := range s.points {
			numbers = append(numbers, int(p[0]))
		}
	}
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		c.xTicks = append(c.xTicks, tick{float64(n), grouped(n)})
	}
	return c
}

// grouped writes thousands with a comma.
func grouped(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", grouped(n/1000), n%1000)
}

// latencyChart is the latency at each percentile, at the largest number of connections: of each system, the run whose p99
// is the median.
func latencyChart(sc *scenario, all []*measurement) chart {
	conns := 0
	for _, m := range all {
		if m.Scenario == sc.name && len(m.Latency) > 0 {
			conns = max(conns, m.Conns)
		}
	}
	about, _, _ := strings.Cut(sc.about, ";")
	c := chart{
		title: fmt.Sprintf("Latency, %s connections: %s", grouped(conns), about),
		note:  "less is better; logarithmic; dashed: SSE", x: "percentile of deliveries", y: "ms",
	}
	for _, q := range []string{"50", "90", "99", "99.9", "99.99"} {
		var percent float64
		_, _ = fmt.Sscan(q, &percent)
		c.xTicks = append(c.xTicks, tick{100 / (100 - percent), q})
	}
	for i := range systems {
		run := middleRun(all, sc.name, systems[i].name, conns)
		if run == nil {
			continue
		}
		s := seriesOf(&systems[i])
		for _, p := range run.Latency {
			if p[0] >= 0.5 {
				s.points = append(s.points, point{1 / (1 - p[0]), p[1]})
			}
		}
		c.series = append(c.series, s)
	}
	return c
}

func middleRun(all []*measurement, scenario, system string, conns int) *measurement {
	var values []float64
	var runs []*measurement
	for _, m := range all {
		if m.Scenario == scenario && m.System == system && m.Conns == conns && len(m.Latency) > 0 {
			runs, values = append(runs, m), append(values, m.Values[p99.key])
		}
	}
	if len(runs) == 0 {
		return nil
	}
	mid, best := median(values), runs[0]
	for _, m := range runs {
		if math.Abs(m.Values[p99.key]-mid) < math.Abs(best.Values[p99.key]-mid) {
			best = m
		}
	}
	return best
}
