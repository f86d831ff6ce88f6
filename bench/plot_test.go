package main

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestPlotsAreXML(t *testing.T) {
	all := []*measurement{run(ours, 100, 0.1), run(ours, 10000, 0.3), run("melody", 100, 5), run(oursSSE, 100, 0), run(oursSSE, 1000, 0)}
	rated := &measurement{System: ours, Scenario: "rate", Conns: 100, Values: map[string]float64{p99.key: 4}, Latency: []point{{0.5, 1}, {0.99, 4}}}
	for _, c := range []chart{
		cpuChart(findScenario("burst"), summarize(all)),
		latencyChart(findScenario("rate"), append(all, rated)),
	} {
		if len(c.series) == 0 {
			t.Errorf("%s: no series", c.title)
		}
		svg := string(c.svg())
		for _, bad := range []string{"NaN", "Inf"} {
			if strings.Contains(svg, bad) {
				t.Errorf("%s: %s in the plot", c.title, bad)
			}
		}
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", c.title, err)
			}
		}
	}
}

func TestLabelsAreSpreadWithinTheChart(t *testing.T) {
	for _, c := range []struct{ at, want []float64 }{
		{[]float64{10, 50, 90}, []float64{10, 50, 90}},
		{[]float64{30, 32, 90}, []float64{21, 41, 90}},
		{[]float64{-5, 99, 100}, []float64{0, 80, 100}},
		{[]float64{50, 50, 50}, []float64{30, 50, 70}},
		{[]float64{40, 40, 61}, []float64{27, 47, 67}},
		{[]float64{1, 1, 1, 1, 1, 1}, []float64{0, 20, 40, 60, 80, 100}},
		{nil, nil},
	} {
		if got := spread(c.at, 20, 0, 100); !slices.Equal(got, c.want) {
			t.Errorf("%v: %v", c.at, got)
		}
	}
}

func TestASystemWithOneFigureHasNoLine(t *testing.T) {
	c := cpuChart(findScenario("burst"), summarize([]*measurement{run(ours, 100, 1), run(ours, 10_000, 1), run(oursOne, 1000, 1)}))
	if len(c.series) != 1 || len(c.xTicks) != 2 || c.xTicks[1].label != "10,000" {
		t.Errorf("%+v", c)
	}
}
