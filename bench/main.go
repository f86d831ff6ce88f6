// Command bench compares wskit with its peers. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// roleServe and roleSim are the first arguments of processes that this program starts of itself.
const (
	roleServe = "serve"
	roleSim   = "sim-one"
)

func main() {
	if playRole(os.Args[1:]) {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run, args := compare, os.Args[1:]
	if len(args) > 0 && args[0] == "sim" {
		run, args = simulate, args[1:]
	}
	if err := run(ctx, args); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		stop()
		os.Exit(1)
	}
}

// playRole is the whole program in a process that this program started of itself.
func playRole(args []string) bool {
	switch {
	case len(args) == 2 && args[0] == roleServe:
		serve(args[1])
	case len(args) == 2 && args[0] == roleSim:
		simulateOne(args[1])
	default:
		return false
	}
	return true
}

// compare measures, or reads what was measured, and reports; interrupted, it reports what it has.
func compare(ctx context.Context, args []string) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	if err := o.makeDirs(); err != nil {
		return err
	}
	if o.from != "" {
		r, err := readJSON(o.from)
		if err != nil {
			return err
		}
		return o.report(r)
	}
	if _, err := findRedis(); err != nil && o.plan.needsRedis() {
		fmt.Fprintln(os.Stderr, "Skipped: publish, and wskit-streams, since there is no redis-server on the PATH.")
		o.plan.scenarios = slices.DeleteFunc(o.plan.scenarios, func(sc *scenario) bool { return sc.redis })
		o.plan.systems = slices.DeleteFunc(o.plan.systems, func(sys *system) bool { return sys.redis })
	}
	total := o.plan.total()
	if total == 0 {
		return errors.New("nothing to measure: none of the systems takes part in these scenarios")
	}
	fmt.Fprintf(os.Stderr, "%d measurements; on two cores that takes about %v.\n", total, o.plan.estimate().Round(time.Second))
	start, done := time.Now(), 0
	o.plan.progress = func(m *measurement, left time.Duration) {
		done++
		what := "INVALID: " + m.Invalid
		if me := findScenario(m.Scenario).metrics[0]; m.Invalid == "" {
			what = figure(m.Values[me.key]) + " " + me.label
		}
		fmt.Fprintf(os.Stderr, "[%d/%d, %v, %v left] round %d, %d connections, %s, %s: %s\n", done, total,
			time.Since(start).Round(time.Second), left.Round(time.Second), m.Round, m.Conns, m.System, m.Scenario, what)
	}
	all := o.plan.run(ctx)
	return errors.Join(ctx.Err(), o.report(newReport(all)))
}

// report prints, writes and checks what was measured.
func (o *options) report(r *report) error {
	if err := r.print(os.Stdout); err != nil {
		return err
	}
	if o.json != "" {
		if err := r.writeJSON(o.json); err != nil {
			return err
		}
	}
	if o.plots != "" {
		if err := writePlots(o.plots, r.Runs, r.Summary); err != nil {
			return err
		}
	}
	return verify(o.checks, r.Summary)
}

// verify prints how each check came out, and fails if one does not hold.
func verify(checks []check, rows []*row) error {
	var errs []error
	for _, c := range checks {
		result := c.holds(rows)
		if !result.holds {
			errs = append(errs, fmt.Errorf("check failed: %s: %s", c.text, result.said))
			continue
		}
		fmt.Printf("check holds: %s: %s\n", c.text, result.said)
	}
	return errors.Join(errs...)
}
