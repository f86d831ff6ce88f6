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
	"strconv"
	"strings"
	"syscall"
	"time"
)

// roleServe is the first argument of a server process.
const roleServe = "serve"

func main() {
	if len(os.Args) == 3 && os.Args[1] == roleServe {
		serve(os.Args[2])
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := compare(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		stop()
		os.Exit(1)
	}
}

// options is what the flags say.
type options struct {
	plan   plan
	json   string
	plots  string
	checks []check
}

func parseFlags(args []string) (*options, error) {
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	systemList := set.String("systems", "all", "systems, separated by commas: "+strings.Join(systemNames(), ","))
	scenarioList := set.String("scenarios", "all", "scenarios: "+strings.Join(scenarioNames(), ","))
	connList := set.String("conns", "100,1000,9000", "numbers of connections")
	rounds := set.Int("rounds", 3, "how often everything is measured")
	quick := set.Bool("quick", false, "in place of the defaults: wskit, floor and textbook, single and burst, 1000 connections, 5 rounds; about 75 s")
	check := set.String("check", "", `fail unless this holds of the medians, such as "burst<=0.333*textbook"; several by commas`)
	profiles := set.String("profile", "", "directory for CPU and memory profiles of the servers, whose figures suffer a little")
	o := &options{}
	set.StringVar(&o.json, "json", "", "file for all figures")
	set.StringVar(&o.plots, "plots", "", "directory for plots")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if *quick {
		given := map[string]bool{}
		set.Visit(func(f *flag.Flag) { given[f.Name] = true })
		for name, value := range map[string]string{"systems": "wskit,floor,textbook", "scenarios": "single,burst", "conns": "1000", "rounds": "5"} {
			if !given[name] {
				_ = set.Set(name, value)
			}
		}
	}
	o.plan.rounds, o.plan.profiles = max(*rounds, 1), *profiles
	var errs [4]error
	o.plan.systems, errs[0] = pick(*systemList, systemNames(), findSystem)
	o.plan.scenarios, errs[1] = pick(*scenarioList, scenarioNames(), findScenario)
	o.plan.conns, errs[2] = parseConns(*connList)
	o.checks, errs[3] = parseChecks(*check)
	return o, errors.Join(errs[:]...)
}

func systemNames() (names []string) {
	for _, s := range systems {
		names = append(names, s.name)
	}
	return names
}

func scenarioNames() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// pick finds the members of a list, in the order of all whatever the order of the list.
func pick[T any](list string, all []string, find func(string) *T) (picked []*T, err error) {
	names := splitList(list)
	for _, name := range names {
		if name != "all" && !slices.Contains(all, name) {
			return nil, fmt.Errorf("no %q among %s", name, strings.Join(all, ", "))
		}
	}
	for _, name := range all {
		if slices.Contains(names, "all") || slices.Contains(names, name) {
			picked = append(picked, find(name))
		}
	}
	if len(picked) == 0 {
		return nil, fmt.Errorf("nothing picked among %s", strings.Join(all, ", "))
	}
	return picked, nil
}

// maxConns leaves room below a descriptor limit of 20,000 for what else a process has open.
const maxConns = 19_000

func parseConns(list string) (conns []int, err error) {
	for _, item := range splitList(list) {
		n, err := strconv.Atoi(item)
		if err != nil || n < 1 || n > maxConns {
			return nil, fmt.Errorf("connections: %q is not a number from 1 to %d", item, maxConns)
		}
		conns = append(conns, n)
	}
	if len(conns) == 0 {
		return nil, errors.New("connections: none")
	}
	return conns, nil
}

func splitList(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// compare measures and reports; interrupted, it reports what it has.
func compare(ctx context.Context, args []string) error {
	o, err := parseFlags(args)
	if err != nil {
		return err
	}
	for _, dir := range []string{o.plots, o.plan.profiles} {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	start := time.Now()
	o.plan.progress = func(done, of int, m *measurement) {
		what := "INVALID: " + m.Invalid
		if me := findScenario(m.Scenario).metrics[0]; m.Invalid == "" {
			what = figure(m.Values[me.key]) + " " + me.label
		}
		fmt.Fprintf(os.Stderr, "[%d/%d %v] round %d, %d connections, %s, %s: %s\n",
			done, of, time.Since(start).Round(time.Second), m.Round, m.Conns, m.System, m.Scenario, what)
	}
	all := o.plan.run(ctx)
	return errors.Join(ctx.Err(), o.report(all))
}

// report prints, writes and checks what was measured.
func (o *options) report(all []*measurement) error {
	rows := summarize(all)
	fmt.Println(thisMachine())
	fmt.Println(disturbance(all))
	if err := writeTables(os.Stdout, rows); err != nil {
		return err
	}
	if o.json != "" {
		if err := writeJSON(o.json, all, rows); err != nil {
			return err
		}
	}
	if o.plots != "" {
		if err := writePlots(o.plots, all, rows); err != nil {
			return err
		}
	}
	return verify(o.checks, rows)
}

// verify prints how each check came out, and fails if one does not hold.
func verify(checks []check, rows []*row) error {
	var errs []error
	for _, c := range checks {
		ok, said := c.holds(rows)
		if !ok {
			errs = append(errs, errors.New("check failed: "+said))
			continue
		}
		fmt.Println("check holds:", said)
	}
	return errors.Join(errs...)
}
