package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"text/tabwriter"
)

// The simulation: a hub with many subscribers, each with an outbox and an actor like a connection, and no socket. It shows
// what the registry and the outboxes cost beside the system calls of real connections.

// simTask is one run, in a process of its own.
type simTask struct {
	Subscribers int `json:"subscribers"`
	Procs       int `json:"gomaxprocs"`
}

// simResult is what a run found. Figures are per subscriber and broadcast unless they say otherwise.
type simResult struct {
	simTask
	Bytes         float64 `json:"bytes_per_subscriber"`      // resident, after a garbage collection
	PeakBytes     float64 `json:"peak_bytes_per_subscriber"` // resident, during the bursts
	RegisterMicro float64 `json:"register_us"`               // CPU per registration
	Single        simCost `json:"single"`                    // one broadcast at a time
	Burst         simCost `json:"burst"`                     // 64 broadcasts back to back
}

type simCost struct {
	CPU  float64 `json:"cpu_ns"`
	Wall float64 `json:"wall_ns"`
}

func simulate(ctx context.Context, args []string) error {
	set := flag.NewFlagSet("bench sim", flag.ContinueOnError)
	sizes := set.String("subscribers", "1000,10000,100000,1000000", "numbers of subscribers")
	procs := set.String("procs", "", "values of GOMAXPROCS; by default 1, 2, 4 and so on up to the number of cores")
	file := set.String("json", "", "file for the figures")
	if err := set.Parse(args); err != nil {
		return err
	}
	if set.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	subscribers, err1 := parseCounts(*sizes)
	cores, err2 := parseCounts(*procs)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if cores == nil {
		for n := 1; n <= runtime.NumCPU(); n *= 2 {
			cores = append(cores, n)
		}
	}
	var results []simResult
	for _, n := range subscribers {
		for _, p := range cores {
			fmt.Fprintf(os.Stderr, "%d subscribers, GOMAXPROCS %d\n", n, p)
			r, err := runTask(ctx, simTask{n, p})
			if err != nil {
				return fmt.Errorf("%d subscribers, GOMAXPROCS %d: %w", n, p, err)
			}
			results = append(results, r)
		}
	}
	if err := writeSim(os.Stdout, thisMachine(), results); err != nil || *file == "" {
		return err
	}
	out, err := json.MarshalIndent(struct {
		Machine machine     `json:"machine"`
		Runs    []simResult `json:"runs"`
	}{thisMachine(), results}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(*file, append(out, '\n'), 0o644)
}

func parseCounts(list string) (counts []int, err error) {
	for _, item := range splitList(list) {
		n, err := strconv.Atoi(item)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q is no positive number", item)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// runTask runs t in a process of its own, so that neither memory nor goroutines of other runs are in its figures.
func runTask(ctx context.Context, t simTask) (r simResult, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	arg, err := json.Marshal(t)
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, roleSim, string(arg))
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(t.Procs))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	return r, err
}

func writeSim(w io.Writer, m machine, results []simResult) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, m)
	fmt.Fprintf(tw, "Subscribers in memory, without sockets. This machine has %d cores: what more of them would do was not measured.\n\n", m.Cores)
	fmt.Fprintln(tw, "\t\tper subscriber\t\t\tsingle, per subscriber and broadcast\t\tburst of 64, per subscriber and broadcast\t")
	fmt.Fprintln(tw, "subscribers\tGOMAXPROCS\tmemory, B\tpeak in bursts, B\tregistering, µs CPU\tns CPU\tns wall\tns CPU\tns wall")
	for _, r := range results {
		fmt.Fprintf(tw, "%d\t%d\t%.0f\t%.0f\t%s\t%s\t%s\t%s\t%s\n", r.Subscribers, r.Procs, r.Bytes, r.PeakBytes, figure(r.RegisterMicro),
			figure(r.Single.CPU), figure(r.Single.Wall), figure(r.Burst.CPU), figure(r.Burst.Wall))
	}
	return tw.Flush()
}
