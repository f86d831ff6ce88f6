package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// options is what the flags say.
type options struct {
	plan   plan
	from   string
	json   string
	plots  string
	checks []check
}

// Where the results go that nobody has asked for.
const (
	resultsJSON  = "results/bench.json"
	resultsPlots = "results"
)

// quickly is what -quick sets, as far as it is not given.
var quickly = map[string]string{
	"systems": "wskit,floor,textbook", "scenarios": "single,burst", "conns": "1000", "rounds": "5", "json": "", "plots": "",
}

func parseFlags(args []string) (*options, error) {
	o := &options{}
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	systemList := set.String("systems", "all", "systems, separated by commas: "+strings.Join(systemNames(), ","))
	scenarioList := set.String("scenarios", "all", "scenarios: "+strings.Join(scenarioNames(), ","))
	connList := set.String("conns", "", "numbers of connections; by default each scenario has its own")
	rounds := set.Int("rounds", 3, "how often everything is measured")
	quick := set.Bool("quick", false, "in place of the defaults: wskit, floor and textbook, single and burst, 1000 connections, 5 rounds, no files; about 75 s")
	check := set.String("check", "", `fail unless this holds of the medians, such as "burst<=0.333*textbook"; several by commas; "goals" is all goals`)
	profiles := set.String("profile", "", "directory for CPU and memory profiles of the servers, whose figures suffer a little")
	set.StringVar(&o.from, "from", "", "measure nothing: report, plot and check the figures of this file")
	set.StringVar(&o.json, "json", resultsJSON, `file for all figures; "": none`)
	set.StringVar(&o.plots, "plots", resultsPlots, `directory for plots; "": none`)
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	given := map[string]bool{}
	set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if *quick {
		for name, value := range quickly {
			if !given[name] {
				_ = set.Set(name, value)
			}
		}
	}
	if o.from != "" && !given["json"] {
		o.json = ""
	}
	o.plan.rounds, o.plan.profiles = max(*rounds, 1), *profiles
	var errs [4]error
	o.plan.systems, errs[0] = pick(*systemList, systemNames(), findSystem)
	o.plan.scenarios, errs[1] = pick(*scenarioList, scenarioNames(), findScenario)
	o.plan.conns, errs[2] = parseConns(*connList)
	o.checks, errs[3] = parseChecks(*check)
	return o, errors.Join(errs[:]...)
}

// makeDirs makes what results are written to, before anything is measured.
func (o *options) makeDirs() error {
	dirs := []string{o.plots, o.plan.profiles}
	if o.json != "" {
		dirs = append(dirs, filepath.Dir(o.json))
	}
	for _, dir := range dirs {
		if dir == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
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

// parseConns reads a list; the empty string is nil.
func parseConns(list string) (conns []int, err error) {
	if list == "" {
		return nil, nil
	}
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
