package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// row sums up one metric of one system in one scenario at one number of connections, over all rounds.
type row struct {
	Scenario   string   `json:"scenario"`
	Metric     string   `json:"metric"`
	Conns      int      `json:"connections"`
	System     string   `json:"system"`
	Median     float64  `json:"median"`
	Min        float64  `json:"min"`
	Max        float64  `json:"max"`
	Valid      int      `json:"valid_runs"`
	Runs       int      `json:"runs"`
	ToFloor    *float64 `json:"to_floor,omitempty"`    // median over the floor's
	ToTextbook *float64 `json:"to_textbook,omitempty"` // median over that of the textbook system of the same protocol
	Invalid    string   `json:"invalid,omitempty"`     // why the last invalid run was
}

// summarize makes the rows, in the order of the tables of scenarios and systems. Invalid runs are counted, not summed up.
func summarize(all []*measurement) []*row {
	var rows []*row
	for i := range scenarios {
		sc := &scenarios[i]
		for _, me := range sc.metrics {
			for _, conns := range connsOf(all, sc.name) {
				rows = append(rows, block(all, sc, me, conns)...)
			}
		}
	}
	return rows
}

func connsOf(all []*measurement, scenario string) (conns []int) {
	for _, m := range all {
		if m.Scenario == scenario && !slices.Contains(conns, m.Conns) {
			conns = append(conns, m.Conns)
		}
	}
	slices.Sort(conns)
	return conns
}

// block is the rows that are compared with each other: one metric, one number of connections, every system.
func block(all []*measurement, sc *scenario, me metric, conns int) (rows []*row) {
	bySystem := map[string]*row{}
	for i := range systems {
		r := &row{Scenario: sc.name, Metric: me.key, Conns: conns, System: systems[i].name}
		var values []float64
		for _, m := range all {
			if m.Scenario != sc.name || m.Conns != conns || m.System != r.System {
				continue
			}
			r.Runs++
			if m.Invalid != "" {
				r.Invalid = m.Invalid
				continue
			}
			values = append(values, m.Values[me.key])
		}
		if r.Runs == 0 {
			continue
		}
		if r.Valid = len(values); r.Valid > 0 {
			r.Median, r.Min, r.Max = median(values), slices.Min(values), slices.Max(values)
		}
		rows, bySystem[r.System] = append(rows, r), r
	}
	for _, r := range rows {
		r.ToFloor = ratio(r, bySystem[floorName])
		r.ToTextbook = ratio(r, bySystem[findSystem(r.System).reference()])
	}
	return rows
}

func ratio(r, to *row) *float64 {
	if to == nil || to.Valid == 0 || r.Valid == 0 || to.Median == 0 {
		return nil
	}
	v := r.Median / to.Median
	return &v
}

// median of a list that is not empty; of an even number, the mean of the middle two.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// writeTables prints the rows, a table for each metric of each scenario.
func writeTables(w io.Writer, rows []*row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var last string
	for _, r := range rows {
		if title := titleOf(r); title != last {
			fmt.Fprintf(tw, "\n%s\n", title)
			fmt.Fprintln(tw, "connections\tsystem\tmedian\tmin-max\tx floor\tx textbook\truns")
			last = title
		}
		runs := fmt.Sprint(r.Runs)
		if r.Valid < r.Runs {
			runs = fmt.Sprintf("%d of %d INVALID: %s", r.Runs-r.Valid, r.Runs, r.Invalid)
		}
		value, spread := "-", "-"
		if r.Valid > 0 {
			value, spread = figure(r.Median), figure(r.Min)+"-"+figure(r.Max)
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Conns, r.System, value, spread, times(r.ToFloor), times(r.ToTextbook), runs)
	}
	return tw.Flush()
}

func titleOf(r *row) string {
	sc := findScenario(r.Scenario)
	for _, me := range sc.metrics {
		if me.key != r.Metric {
			continue
		}
		better := "less is better"
		if me.more {
			better = "more is better"
		}
		return fmt.Sprintf("%s: %s (%s; %s)", sc.name, me.label, sc.about, better)
	}
	return r.Scenario
}

// figure formats with three significant digits, without an exponent.
func figure(v float64) string {
	switch {
	case v >= 100 || v <= -100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.3f", v)
}

func times(v *float64) string {
	if v == nil {
		return "-"
	}
	return figure(*v)
}

// machine says where the figures are from.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

func thisMachine() machine {
	m := machine{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(release))
	}
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return m
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(key) == "model name" {
			m.CPU = strings.TrimSpace(value)
			break
		}
	}
	return m
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, Linux %s, %s", m.CPU, m.Cores, m.Kernel, m.Go)
}

// disturbance says how much of the machine others took while it measured.
func disturbance(all []*measurement) string {
	var cores []float64
	for _, m := range all {
		if v, ok := m.Values[otherCores]; ok {
			cores = append(cores, v)
		}
	}
	if len(cores) == 0 {
		return "Nothing was timed."
	}
	said := fmt.Sprintf("Other processes took %s cores (median of the runs; at most %s).", figure(median(cores)), figure(slices.Max(cores)))
	if median(cores) > 0.05*float64(runtime.NumCPU()) {
		said += " That is much: latencies mean little, and ratios are rough."
	}
	return said
}

// writeJSON writes everything that was measured to a file.
func writeJSON(path string, all []*measurement, rows []*row) error {
	out, err := json.MarshalIndent(struct {
		Machine machine        `json:"machine"`
		Summary []*row         `json:"summary"`
		Runs    []*measurement `json:"runs"`
	}{thisMachine(), rows, all}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o644)
}
