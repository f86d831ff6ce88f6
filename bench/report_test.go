package main

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func run(system string, conns int, cpu float64) *measurement {
	return &measurement{System: system, Scenario: "burst", Conns: conns, Values: map[string]float64{cpuPerDelivery.key: cpu}}
}

func lostRun(system string, conns int) *measurement {
	return &measurement{System: system, Scenario: "burst", Conns: conns, Invalid: "delivered 63 of 64"}
}

func TestMedian(t *testing.T) {
	for want, list := range map[float64][]float64{3: {3}, 2.5: {4, 1}, 5: {9, 1, 5}} {
		if got := median(list); got != want {
			t.Errorf("median of %v: %v", list, got)
		}
	}
}

func TestRowsSumUpValidRunsAndRelateThemToTheReferences(t *testing.T) {
	rows := summarize([]*measurement{
		run(ours, 1000, 1), run(ours, 1000, 3), run(ours, 1000, 2), lostRun(ours, 1000),
		run(floorName, 1000, 4), run(textbook, 1000, 8), run(oursSSE, 1000, 5), run(textbookSSE, 1000, 10),
		run(ours, 100, 7), lostRun("melody", 1000),
	})
	var got []string
	for _, r := range rows {
		if r.Metric != cpuPerDelivery.key {
			continue
		}
		got = append(got, strings.Join([]string{
			r.System, figure(r.Median), figure(r.Min), figure(r.Max), times(r.ToFloor), times(r.ToTextbook)}, " "))
	}
	want := []string{
		"wskit 7.00 7.00 7.00 - -",
		"wskit 2.00 1.00 3.00 0.500 0.250",
		"floor 4.00 4.00 4.00 1.00 0.500",
		"textbook 8.00 8.00 8.00 2.00 1.00",
		"melody 0.000 0.000 0.000 - -",
		"wskit-sse 5.00 5.00 5.00 1.25 0.500",
		"textbook-sse 10.0 10.0 10.0 2.50 1.00",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheTableShowsInvalidRuns(t *testing.T) {
	var b strings.Builder
	if err := writeTables(&b, summarize([]*measurement{run(ours, 1000, 2), lostRun(ours, 1000), lostRun("melody", 1000)})); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"burst: server CPU per delivery, µs (64 broadcasts of 128 B back to back; less is better)\n",
		"1000         wskit   2.00    2.00-2.00  -        -           1 of 2 INVALID: delivered 63 of 64\n",
		"1000         melody  -       -          -        -           1 of 1 INVALID: delivered 63 of 64\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestAFailedWriteOfTheTableIsReported(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	if err := writeTables(w, summarize([]*measurement{run(ours, 1000, 2)})); !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

func TestOthersOnTheMachineAreMentioned(t *testing.T) {
	with := func(cores float64) *measurement { return &measurement{Values: map[string]float64{otherCores: cores}} }
	if s := disturbance([]*measurement{with(0.01), with(0.02), {Invalid: "lost"}}, 2); s != "Other processes took 0.015 cores (median of the runs; at most 0.020)." {
		t.Error(s)
	}
	if s := disturbance([]*measurement{with(0.2)}, 2); !strings.Contains(s, "That is much") {
		t.Error(s)
	}
	if s := disturbance(nil, 2); s != "Nothing was timed." {
		t.Error(s)
	}
	if d := parseBusy("cpu  100 20 3 999 999 5 5 7 0 0\ncpu0 1 1 1 1"); d != 1300*time.Millisecond {
		t.Error(d)
	}
	if parseBusy("nonsense") != 0 || busyTime() <= 0 {
		t.Error("nonsense has no busy time, and this machine has some")
	}
}

func TestAReportOutlivesItsFile(t *testing.T) {
	r := newReport([]*measurement{run(ours, 1000, 1), run("gorilla", 1000, 20), lostRun(ours, 100)})
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := r.writeJSON(path); err != nil {
		t.Fatal(err)
	}
	again, err := readJSON(path)
	if err != nil {
		t.Fatal(err)
	}
	var before, after strings.Builder
	if err := errors.Join(r.print(&before), again.print(&after)); err != nil {
		t.Fatal(err)
	}
	if before.String() != after.String() {
		t.Errorf("before\n%s\nafter\n%s", before.String(), after.String())
	}
	if !strings.Contains(after.String(), "<= 0.1 x gorilla  0.050 x   yes") {
		t.Errorf("no goal in\n%s", after.String())
	}
}
