package main

import (
	"strings"
	"testing"
)

func TestASimulationReachesEverySubscriber(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped by -short: it takes some seconds")
	}
	r, err := runTask(t.Context(), simTask{Subscribers: 500, Procs: 2})
	if err != nil {
		t.Fatal(err)
	}
	if r.Subscribers != 500 || r.Procs != 2 || r.Bytes <= 0 || r.RegisterMicro <= 0 || r.Single.CPU <= 0 || r.Burst.Wall <= 0 {
		t.Errorf("%+v", r)
	}
	var b strings.Builder
	if err := writeSim(&b, machine{Cores: 2}, []simResult{r}); err != nil || !strings.Contains(b.String(), "This machine has 2 cores") {
		t.Error(b.String(), err)
	}
}

func TestSimulationsThatMeanNothingAreRefused(t *testing.T) {
	for _, args := range [][]string{{"-subscribers", "0"}, {"-procs", "many"}, {"-subscribers", "1", "more"}} {
		if err := simulate(t.Context(), args); err == nil {
			t.Errorf("%q passed", args)
		}
	}
}
