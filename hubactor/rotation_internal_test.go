package hubactor

import (
	"slices"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

func someone() *entry { return &entry{Member: actors.Member{Outbox: actors.NewOutbox(1)}} }

func rotationOf(age, jitter time.Duration) *rotation {
	gate := actors.NewGate(0, 0, 0, func(op actors.Operation) {
		m := op.(*actors.Dismiss)
		m.Outbox.Close(&actors.Close{Reason: m.Reason})
	})
	gate.Open()
	return &rotation{link: &actors.Link{Gate: gate}, age: age, jitter: jitter, began: time.Now()}
}

// Turns of a spread are at equal distances, the first at once, the last one distance before the end; in another order each time.
func TestASpreadGivesEverybodyATurnAtEqualDistances(t *testing.T) {
	const n, window = 100, time.Hour
	all := map[string]*entry{}
	for i := range n {
		all[string(rune('a'+i))] = someone()
	}
	gone := someone()
	gone.Outbox.Close(&actors.Close{})
	all["gone"] = gone
	var orders [2][]*entry
	for i := range orders {
		r := rotationOf(0, 0)
		defer r.clear()
		r.spread(all, r.began.Add(window), 0)
		if len(r.turns) != n {
			t.Fatal(len(r.turns), "turns")
		}
		first := r.turns[0].at
		for k, each := range r.turns {
			want := first + time.Duration(k)*(window-first)/n
			if off := each.at - want; off < -time.Millisecond || off > time.Millisecond {
				t.Errorf("turn %d is at %v, want %v", k, each.at, want)
			}
			orders[i] = append(orders[i], each.entry)
		}
	}
	if slices.Equal(orders[0], orders[1]) {
		t.Error("twice in the same order")
	}
}

// Who comes during a spread has a turn within it, and a second, shorter spread brings everybody's forward.
func TestTurnsKeepWithinTheSpread(t *testing.T) {
	r := rotationOf(time.Millisecond, 0)
	defer r.clear()
	all := map[string]*entry{"a": someone(), "b": someone()}
	r.spread(all, r.began.Add(time.Hour), 0)
	for range 100 {
		r.add(someone(), false, 102)
	}
	for _, each := range r.turns {
		if each.at > time.Hour {
			t.Error(each.at)
		}
	}
	r.spread(all, r.began.Add(time.Minute), 0)
	if len(r.turns) != 2 || r.turns[1].at > time.Minute || r.over() {
		t.Error(r.turns)
	}
	r.spread(all, r.began, 0) // it is over
	if r.tell(); !r.over() {
		t.Error(r.turns)
	}
	for _, e := range all {
		if got := e.Outbox.Reason(); got != actors.ReasonRestart {
			t.Error(got)
		}
	}
}

// Connections that come and go do not pile up; those of the user's own are not looked after, nor is anybody without a greatest age.
func TestARotationForgetsWhoHasGone(t *testing.T) {
	r := rotationOf(time.Hour, time.Hour)
	defer r.clear()
	stays := someone()
	r.add(stays, false, 1)
	r.add(someone(), true, 2)
	for range 10_000 {
		e := someone()
		r.add(e, false, 2)
		e.Outbox.Close(&actors.Close{})
	}
	if len(r.turns) > 100 || !slices.ContainsFunc(r.turns, func(t turn) bool { return t.entry == stays }) {
		t.Error(len(r.turns), "turns")
	}
	for _, each := range r.turns {
		if each.at < time.Hour || each.at > 2*time.Hour+time.Minute {
			t.Error(each.at)
		}
	}
	none := rotationOf(0, time.Hour)
	if none.add(someone(), false, 1); len(none.turns) != 0 || none.timer != nil {
		t.Error("without a greatest age there are turns")
	}
}

func TestTheDrainTimeoutHoldsTheSpreadByDefault(t *testing.T) {
	for _, c := range []struct{ spread, timeout, want time.Duration }{
		{0, 0, actors.DefaultDrainTimeout}, {-1, -1, actors.DefaultDrainTimeout}, {time.Minute, 0, time.Minute + actors.DefaultDrainTimeout},
		{time.Minute, time.Second, time.Second}, {1<<63 - 1, 1<<63 - 1, 365 * 24 * time.Hour},
	} {
		cfg := Config{DrainSpread: c.spread, DrainTimeout: c.timeout}.withDefaults()
		if cfg.DrainTimeout != c.want || cfg.DrainSpread < 0 {
			t.Errorf("%+v: %v, %v", c, cfg.DrainTimeout, cfg.DrainSpread)
		}
	}
}
