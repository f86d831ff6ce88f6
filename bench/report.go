package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// report is everything that was measured, as the JSON file has it.
type report struct {
	Machine machine        `json:"machine"`
	Goals   []outcome      `json:"goals"`
	Summary []*row         `json:"summary"`
	Runs    []*measurement `json:"runs"`
}

func newReport(all []*measurement) *report {
	rows := summarize(all)
	return &report{Machine: thisMachine(), Goals: outcomes(rows), Summary: rows, Runs: all}
}

// print writes the tables.
func (r *report) print(w io.Writer) error {
	if _, err := fmt.Fprintf(w, "%s\n%s\n", r.Machine, disturbance(r.Runs, r.Machine.Cores)); err != nil {
		return err
	}
	if err := writeTables(w, r.Summary); err != nil {
		return err
	}
	return writeGoals(w, r.Goals)
}

func (r *report) writeJSON(path string) error {
	out, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(out, '\n'), 0o644)
}

// readJSON reads what writeJSON has written, and sums it up anew.
func readJSON(path string) (*report, error) {
	in, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var old report
	if err := json.Unmarshal(in, &old); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := newReport(old.Runs)
	r.Machine = old.Machine
	return r, nil
}

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
	ToTextbook *float64 `json:"to_textbook,omitempty"` // median over that of the plain way: the textbook system of the same protocol
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
		r.ToTextbook = ratio(r, bySystem[findSystem(r.System).plainWay()])
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
		conns := "-"
		if r.Conns > 0 {
			conns = fmt.Sprint(r.Conns)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", conns, r.System, value, spread, times(r.ToFloor), times(r.ToTextbook), runs)
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
