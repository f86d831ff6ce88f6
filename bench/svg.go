package main

import (
	"cmp"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// point is a pair of figures; in JSON, [x, y].
type point [2]float64

// series is a named line in a chart.
type series struct {
	name   string
	color  string
	dash   string // of stroke-dasharray; "": solid
	bold   bool
	points []point
}

// chart is a line chart, its axes logarithmic.
type chart struct {
	title, note, x, y string
	series            []series
	// xTicks are the marks of the x axis, whose labels need not be what they stand for.
	xTicks []tick
}

type tick struct {
	at    float64
	label string
}

// The layout of a chart, in pixels.
const (
	width, height            = 860, 480
	left, right, top, bottom = 64, 150, 66, 56
	labelGap                 = 16 // between two labels of lines
)

// svg draws the chart on a light background of its own, so that it can be read on a dark page too.
func (c chart) svg() []byte {
	x, y := c.axes()
	d := &drawing{}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#222">`+"\n", width, height)
	fmt.Fprintf(d, `<rect x="0.5" y="0.5" width="%d" height="%d" rx="6" fill="#fdfdfd" stroke="#d5d5d5"/>`+"\n", width-1, height-1)
	d.text(left, 26, `font-size="15" font-weight="bold"`, c.title)
	d.text(left, 46, `fill="#666"`, c.note)
	d.text((left+width-right)/2, height-16, `text-anchor="middle"`, c.x)
	d.text(left-8, top-10, `text-anchor="end"`, c.y)
	for _, t := range y.ticks() {
		py := y.pixel(t.at)
		d.line(left, py, width-right, py, `stroke="#e4e4e4"`)
		d.text(left-8, py+4, `text-anchor="end"`, t.label)
	}
	for _, t := range c.xTicks {
		px := x.pixel(t.at)
		d.line(px, top, px, height-bottom, `stroke="#e4e4e4"`)
		d.text(px, height-bottom+18, `text-anchor="middle"`, t.label)
	}
	for _, s := range c.series {
		d.series(s, x, y)
	}
	d.labels(c.series, x, y)
	fmt.Fprintln(d, "</svg>")
	return []byte(d.String())
}

type drawing struct{ strings.Builder }

func (d *drawing) text(x, y float64, style, s string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" %s>%s</text>`+"\n", x, y, style, html.EscapeString(s))
}

func (d *drawing) line(x1, y1, x2, y2 float64, style string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" %s/>`+"\n", x1, y1, x2, y2, style)
}

func (d *drawing) series(s series, x, y axis) {
	stroke, style := 1.8, ""
	if s.bold {
		stroke = 3
	}
	if s.dash != "" {
		style = fmt.Sprintf(` stroke-dasharray="%s"`, s.dash)
	}
	var path []string
	for _, p := range s.points {
		px, py := x.pixel(p[0]), y.pixel(p[1])
		path = append(path, fmt.Sprintf("%.1f,%.1f", px, py))
		fmt.Fprintf(d, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>`+"\n", px, py, stroke+0.6, s.color)
	}
	fmt.Fprintf(d, `<polyline points="%s" fill="none" stroke="%s" stroke-width="%.1f"%s/>`+"\n", strings.Join(path, " "), s.color, stroke, style)
}

// labels writes the name of each line beside its end, or as near as it does not touch another.
func (d *drawing) labels(all []series, x, y axis) {
	ends := slices.Clone(all)
	end := func(s series) point { return s.points[len(s.points)-1] }
	slices.SortStableFunc(ends, func(a, b series) int { return cmp.Compare(y.pixel(end(a)[1]), y.pixel(end(b)[1])) })
	var at []float64
	for _, s := range ends {
		at = append(at, y.pixel(end(s)[1]))
	}
	for i, py := range spread(at, labelGap, top, height-bottom) {
		s := ends[i]
		weight := "normal"
		if s.bold {
			weight = "bold"
		}
		const labelAt = width - right + 22
		d.line(x.pixel(end(s)[0])+5, at[i], labelAt-4, py, fmt.Sprintf(`stroke="%s" stroke-opacity="0.45"`, s.color))
		d.text(labelAt, py+4, fmt.Sprintf(`fill="%s" font-weight="%s"`, s.color, weight), s.name)
	}
}

// spread moves ascending positions apart until they are gap apart: those too close to each other around their middle, and
// within lo and hi if they fit.
func spread(at []float64, gap, lo, hi float64) []float64 {
	type cluster struct{ middle, n float64 }
	half := func(c cluster) float64 { return (c.n - 1) / 2 * gap }
	var clusters []cluster
	for _, y := range at {
		c := cluster{y, 1}
		for {
			c.middle = max(min(c.middle, hi-half(c)), lo+half(c))
			last := len(clusters) - 1
			if last < 0 || clusters[last].middle+half(clusters[last])+gap <= c.middle-half(c) {
				break
			}
			both := clusters[last].n + c.n
			c = cluster{(clusters[last].middle*clusters[last].n + c.middle*c.n) / both, both}
			clusters = clusters[:last]
		}
		clusters = append(clusters, c)
	}
	var out []float64
	for _, c := range clusters {
		for i := range int(c.n) {
			out = append(out, c.middle-half(c)+float64(i)*gap)
		}
	}
	return out
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
