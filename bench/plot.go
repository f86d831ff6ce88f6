package main

import (
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// point is a pair of figures; in JSON, [x, y].
type point [2]float64

// series is a named line in a chart.
type series struct {
	name   string
	color  string
	points []point
}

// chart is a line chart, its axes logarithmic.
type chart struct {
	title, x, y string
	series      []series
	// xTicks are the marks of the x axis, whose labels need not be what they stand for.
	xTicks []tick
}

type tick struct {
	at    float64
	label string
}

// colors goes by the place in the table of systems, so that a system looks the same in every plot.
var colors = []string{"#0072b2", "#555555", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56b4e9", "#e8743b", "#7b3294"}

func colorOf(systemName string) string {
	for i := range systems {
		if systems[i].name == systemName {
			return colors[i%len(colors)]
		}
	}
	return "black"
}

// writePlots writes an SVG file for the CPU time of each scenario that has it, and one for each latency distribution.
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

// cpuChart is CPU per delivery over the number of connections.
func cpuChart(sc *scenario, rows []*row) chart {
	c := chart{title: sc.name + ": " + sc.about, x: "connections", y: cpuPerDelivery.label}
	seen := map[int]bool{}
	for i := range systems {
		s := series{name: systems[i].name, color: colorOf(systems[i].name)}
		for _, r := range rows {
			if r.Scenario != sc.name || r.Metric != cpuPerDelivery.key || r.System != s.name || r.Valid == 0 {
				continue
			}
			s.points = append(s.points, point{float64(r.Conns), r.Median})
			if !seen[r.Conns] {
				seen[r.Conns] = true
				c.xTicks = append(c.xTicks, tick{float64(r.Conns), fmt.Sprint(r.Conns)})
			}
		}
		if len(s.points) > 0 {
			c.series = append(c.series, s)
		}
	}
	return c
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
	c := chart{title: fmt.Sprintf("%s: %s, %d connections", sc.name, sc.about, conns), x: "percentile", y: "latency, ms"}
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 0.9999} {
		c.xTicks = append(c.xTicks, tick{1 / (1 - q), strings.TrimSuffix(fmt.Sprintf("%.4g", q*100), ".0")})
	}
	for i := range systems {
		run := middleRun(all, sc.name, systems[i].name, conns)
		if run == nil {
			continue
		}
		s := series{name: run.System, color: colorOf(run.System)}
		for _, p := range run.Latency {
			s.points = append(s.points, point{1 / (1 - p[0]), p[1]})
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

// The layout of a chart, in pixels.
const (
	width, height            = 860, 460
	left, right, top, bottom = 70, 190, 50, 60
)

// svg draws the chart.
func (c chart) svg() []byte {
	x, y := c.axes()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width, height)
	text := func(px, py float64, anchor, s string) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", px, py, anchor, html.EscapeString(s))
	}
	line := func(x1, y1, x2, y2 float64, color string) {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>`+"\n", x1, y1, x2, y2, color)
	}
	text(left, top-22, "start", c.title)
	text((left+width-right)/2, height-14, "middle", c.x)
	fmt.Fprintf(&b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (top+height-bottom)/2, html.EscapeString(c.y))
	for _, t := range y.ticks() {
		py := y.pixel(t.at)
		line(left, py, width-right, py, "#e0e0e0")
		text(left-8, py+4, "end", t.label)
	}
	for _, t := range c.xTicks {
		px := x.pixel(t.at)
		line(px, top, px, height-bottom, "#e0e0e0")
		text(px, height-bottom+18, "middle", t.label)
	}
	for i, s := range c.series {
		var path strings.Builder
		for _, p := range s.points {
			fmt.Fprintf(&path, "%.1f,%.1f ", x.pixel(p[0]), y.pixel(p[1]))
			fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x.pixel(p[0]), y.pixel(p[1]), s.color)
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.TrimSpace(path.String()), s.color)
		ly := float64(top + 10 + 20*i)
		line(width-right+20, ly, width-right+44, ly, s.color)
		text(width-right+50, ly+4, "start", s.name)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// axis maps the values from lo to hi onto pixels, logarithmically.
type axis struct{ lo, hi, from, to float64 }

func (c chart) axes() (x, y axis) {
	x, y = axis{math.Inf(1), 0, left, width - right}, axis{math.Inf(1), 0, height - bottom, top}
	for _, s := range c.series {
		for _, p := range s.points {
			x.lo, x.hi = min(x.lo, p[0]), max(x.hi, p[0])
			y.lo, y.hi = min(y.lo, p[1]), max(y.hi, p[1])
		}
	}
	x.lo, x.hi = x.lo*0.9, x.hi*1.1
	y.lo, y.hi = math.Max(y.lo*0.8, 1e-6), y.hi*1.25
	return x, y
}

func (a axis) pixel(v float64) float64 {
	share := math.Log(max(v, a.lo)/a.lo) / math.Log(a.hi/a.lo)
	return a.from + share*(a.to-a.from)
}

// ticks are at 1, 2 and 5 times the powers of ten within the axis.
func (a axis) ticks() (ticks []tick) {
	for exp := math.Floor(math.Log10(a.lo)); exp <= math.Ceil(math.Log10(a.hi)); exp++ {
		for _, digit := range []float64{1, 2, 5} {
			if v := digit * math.Pow(10, exp); v >= a.lo && v <= a.hi {
				ticks = append(ticks, tick{v, fmt.Sprintf("%.6g", v)})
			}
		}
	}
	return ticks
}
