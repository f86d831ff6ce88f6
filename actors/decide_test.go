package actors_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wskit/wskit/actors"
)

var noon = time.Date(2025, 1, 1, 12, 0, 0, 0, time.UTC)

// ago are failures that many seconds before noon.
func ago(seconds ...float64) (times []time.Time) {
	for _, s := range seconds {
		times = append(times, noon.Add(-time.Duration(s*float64(time.Second))))
	}
	return times
}

func TestDecide(t *testing.T) {
	permanent := actors.Spec{
		Kind: actors.Permanent, Budget: actors.Budget{Failures: 3, Within: 10 * time.Second},
		Backoff: actors.Backoff{Min: time.Second, Max: 3 * time.Second},
	}
	resumed, none, temporary, at := permanent, permanent, permanent, permanent
	resumed.Recovery = actors.Resume
	none.Budget.Failures = 0
	temporary.Kind = actors.Temporary
	at.Backoff = actors.Backoff{}
	for name, c := range map[string]struct {
		spec     actors.Spec
		failures []time.Time
		want     actors.Decision
	}{
		"the first failure restarts":                {permanent, ago(0), actors.Decision{Action: actors.ActRestart, After: time.Second, Attempt: 1}},
		"the second waits twice as long":            {permanent, ago(1, 0), actors.Decision{Action: actors.ActRestart, After: 2 * time.Second, Attempt: 2}},
		"exactly at the budget it goes on":          {permanent, ago(2, 1, 0), actors.Decision{Action: actors.ActRestart, After: 3 * time.Second, Attempt: 3}},
		"one past the budget gives up":              {permanent, ago(3, 2, 1, 0), actors.Decision{Action: actors.ActGiveUp, Attempt: 4}},
		"one just inside the time counts":           {permanent, ago(9.999, 2, 1, 0), actors.Decision{Action: actors.ActGiveUp, Attempt: 4}},
		"one exactly the time ago does not":         {permanent, ago(10, 2, 1, 0), actors.Decision{Action: actors.ActRestart, After: 3 * time.Second, Attempt: 3}},
		"old ones do not count":                     {permanent, ago(60, 50, 40, 30, 0), actors.Decision{Action: actors.ActRestart, After: time.Second, Attempt: 1}},
		"resume, first":                             {resumed, ago(0), actors.Decision{Action: actors.ActResume, After: time.Second, Attempt: 1}},
		"resume, at the budget":                     {resumed, ago(2, 1, 0), actors.Decision{Action: actors.ActResume, After: 3 * time.Second, Attempt: 3}},
		"resume, past the budget":                   {resumed, ago(3, 2, 1, 0), actors.Decision{Action: actors.ActGiveUp, Attempt: 4}},
		"no failure allowed: the first gives up":    {none, ago(0), actors.Decision{Action: actors.ActGiveUp, Attempt: 1}},
		"temporary: stopped":                        {temporary, ago(0), actors.Decision{Action: actors.ActStop, Attempt: 1}},
		"temporary: stopped however often it fails": {temporary, ago(4, 3, 2, 1, 0), actors.Decision{Action: actors.ActStop, Attempt: 5}},
		"without backoff at once":                   {at, ago(1, 0), actors.Decision{Action: actors.ActRestart, Attempt: 2}},
	} {
		equal(t, name, actors.Decide(c.spec, c.failures, noon, 0), c.want)
	}
}

func TestDecideSlidesItsWindowWithTheClock(t *testing.T) {
	spec := actors.Spec{Kind: actors.Permanent, Budget: actors.Budget{Failures: 2, Within: 10 * time.Second}}
	var failures []time.Time
	for i, c := range []struct {
		at   time.Duration
		want actors.Action
	}{
		{0, actors.ActRestart}, {6 * time.Second, actors.ActRestart}, {10 * time.Second, actors.ActRestart}, {16 * time.Second, actors.ActRestart},
		{19*time.Second + 999*time.Millisecond, actors.ActGiveUp},
	} {
		now := noon.Add(c.at)
		failures = append(failures, now)
		equal(t, "decision "+string(rune('1'+i)), actors.Decide(spec, failures, now, 0).Action, c.want)
	}
}

func TestDecideIsPure(t *testing.T) {
	failures := ago(2, 1, 0)
	before := slices.Clone(failures)
	spec := actors.Spec{Kind: actors.Permanent, Budget: actors.Budget{Failures: 9, Within: time.Minute}}
	first := actors.Decide(spec, failures, noon, 0.5)
	equal(t, "a second decision", actors.Decide(spec, failures, noon, 0.5), first)
	equalSlices(t, "the failures", failures, before)
}

func TestActionsHaveNames(t *testing.T) {
	for a, want := range map[actors.Action]string{
		actors.ActStop: "stop", actors.ActRestart: "restart", actors.ActResume: "resume", actors.ActGiveUp: "give up",
	} {
		equal(t, "name", a.String(), want)
	}
}

func TestBackoffDoublesUpToItsCap(t *testing.T) {
	b := actors.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	for i, want := range []time.Duration{100, 100, 200, 400, 800, 1000, 1000} {
		equal(t, "delay", b.Delay(i, 0.9), want*time.Millisecond)
	}
	for _, n := range []int{-1, 0, 1} {
		equal(t, "the delay before there was a failure", b.Delay(n, 0), b.Min)
	}
	equal(t, "after a million attempts", b.Delay(1_000_000, 0), b.Max)
	equal(t, "with Min over Max", actors.Backoff{Min: time.Minute, Max: time.Second}.Delay(1, 0), time.Second)
}

func TestBackoffJitterOnlyShortens(t *testing.T) {
	b := actors.Backoff{Min: time.Second, Max: time.Second, Jitter: 0.5}
	equal(t, "none of it", b.Delay(1, 0), time.Second)
	equal(t, "half of it", b.Delay(1, 0.5), 750*time.Millisecond)
	if d := b.Delay(1, math.Nextafter(1, 0)); d < 500*time.Millisecond {
		t.Errorf("all of it: %v", d)
	}
}

func TestTheZeroBackoffNeverWaits(t *testing.T) {
	for n := range 100 {
		equal(t, "delay", actors.Backoff{}.Delay(n, 0.5), 0)
		equal(t, "delay", actors.Backoff{Jitter: 1}.Delay(n, 0.5), 0)
	}
}

func TestABackoffWithoutACapDoesNotOverflow(t *testing.T) {
	b := actors.Backoff{Min: time.Second, Max: math.MaxInt64}
	for n := 1; n < 200; n++ {
		if d, before := b.Delay(n, 0), b.Delay(n-1, 0); d < before {
			t.Fatalf("delay %d is %v, after %v", n, d, before)
		}
	}
	equal(t, "at last", b.Delay(200, 0), b.Max)
}

func TestADelayIsNeverAboveMaxNorBelowMinLessJitter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := actors.Backoff{
			Min:    time.Duration(rapid.Int64Range(1, math.MaxInt64).Draw(t, "min")),
			Jitter: rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		b.Max = time.Duration(rapid.Int64Range(int64(b.Min), math.MaxInt64).Draw(t, "max"))
		random := rapid.Float64Range(0, math.Nextafter(1, 0)).Draw(t, "random")
		n := rapid.IntRange(0, 200).Draw(t, "n")
		d := b.Delay(n, random)
		least := float64(b.Min) * (1 - b.Jitter)
		if d > b.Max || d < 0 || float64(d) < least*(1-1e-12)-1 {
			t.Fatalf("%+v: delay %d is %d, want %v to %d", b, n, d, least, b.Max)
		}
		if whole := b.Delay(n, 0); d > whole || b.Delay(n+1, 0) < whole {
			t.Fatalf("%+v: delay %d does not grow, or jitter lengthens it", b, n)
		}
	})
}
