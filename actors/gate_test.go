package actors_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
)

// operation is a message of some kind with a number to know it by.
type operation struct {
	kind actors.Op
	n    int
}

func (o *operation) Op() actors.Op { return o.kind }

// gate is a Gate and what it let through to the registry.
type gate struct {
	*actors.Gate
	mu     sync.Mutex
	posted []int // read directly only when nothing is under way
}

func newGate(register, unregister, broadcast int) *gate {
	g := new(gate)
	g.Gate = actors.NewGate(register, unregister, broadcast, func(op actors.Operation) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.posted = append(g.posted, op.(*operation).n)
	})
	return g
}

func broadcast(n int) *operation { return &operation{actors.OpBroadcast, n} }

const patience = 5 * time.Second

// enter calls Enter on a goroutine of the bubble and returns how to see what it said: errPending until then.
func (g *gate) enter(op *operation, patience time.Duration) (result func() error) {
	said := make(chan error, 1)
	go func() { said <- g.Enter(op, patience) }()
	synctest.Wait()
	err := errPending
	return func() error {
		select {
		case err = <-said:
		default:
		}
		return err
	}
}

var errPending = errors.New("still waiting")

func expectErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if got != want && !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestOpsHaveTheNamesTheContractGivesThem(t *testing.T) {
	for op, want := range map[actors.Op]string{actors.OpRegister: "register", actors.OpUnregister: "unregister", actors.OpBroadcast: "broadcast"} {
		equal(t, "name", op.String(), want)
	}
	equal(t, "Register", (*actors.Register)(nil).Op(), actors.OpRegister)
	equal(t, "Unregister", (*actors.Unregister)(nil).Op(), actors.OpUnregister)
	equal(t, "Broadcast", (*actors.Broadcast)(nil).Op(), actors.OpBroadcast)
}

func TestAGateHasNPlacesOfEachKindApart(t *testing.T) {
	for _, open := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			places := []int{3, 2, 1}
			g := newGate(places[0], places[1], places[2])
			if open {
				g.Open()
			}
			n, outside := 0, []func() error{}
			for kind, free := range places {
				for range free {
					n++
					must(t, g.Enter(&operation{actors.Op(kind), n}, patience))
				}
			}
			for kind := range places {
				outside = append(outside, g.enter(&operation{actors.Op(kind), -1}, patience))
			}
			time.Sleep(patience - time.Nanosecond)
			synctest.Wait()
			for _, err := range outside {
				expectErr(t, "just before the patience is over", err(), errPending)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			for _, err := range outside {
				expectErr(t, "after it", err(), actors.ErrTimeout)
			}
			g.Open()
			equalSlices(t, "posted", g.posted, []int{1, 2, 3, 4, 5, 6})
		})
	}
}

func TestNobodyGetsThroughNoPlacesBeforeOpenAndOneAtATimeAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(0, 0, 0)
		early := g.enter(broadcast(1), patience)
		late := g.enter(broadcast(2), patience)
		expectErr(t, "before Open", early(), errPending)
		g.Open()
		synctest.Wait()
		expectErr(t, "the first after Open", early(), nil)
		expectErr(t, "the second after Open", late(), errPending)
		g.Leave(actors.OpBroadcast)
		synctest.Wait()
		expectErr(t, "the second after Leave", late(), nil)
		equalSlices(t, "posted", g.posted, []int{1, 2})
	})
}

func TestWaitersAreAdmittedInTheOrderTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		g.Open()
		must(t, g.Enter(broadcast(0), patience))
		for i := 1; i <= 5; i++ {
			g.enter(broadcast(i), patience)
		}
		for i := range 5 {
			g.Leave(actors.OpBroadcast)
			equal(t, "admitted", len(g.posted), i+2)
		}
		equalSlices(t, "posted", g.posted, []int{0, 1, 2, 3, 4, 5})
		synctest.Wait()
	})
}

func TestOneWhoComesDoesNotOvertakeOneWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		g.Force(broadcast(0))
		g.Force(broadcast(1)) // one more than there are places
		waiting := g.enter(broadcast(2), patience)
		g.Leave(actors.OpBroadcast)
		expectErr(t, "with the place of the other still taken", waiting(), errPending)
		coming := g.enter(broadcast(3), patience)
		g.Leave(actors.OpBroadcast)
		synctest.Wait()
		expectErr(t, "who waited", waiting(), nil)
		expectErr(t, "who came later", coming(), errPending)
		g.Stop()
		synctest.Wait()
	})
}

func TestAnOperationThatTimedOutIsNeverPosted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		g.Open()
		must(t, g.Enter(broadcast(1), patience))
		impatient := g.enter(broadcast(2), time.Second)
		patient := g.enter(broadcast(3), time.Minute)
		time.Sleep(time.Second)
		synctest.Wait()
		expectErr(t, "who was impatient", impatient(), actors.ErrTimeout)
		g.Leave(actors.OpBroadcast)
		g.Leave(actors.OpBroadcast)
		synctest.Wait()
		expectErr(t, "who was not", patient(), nil)
		time.Sleep(time.Hour)
		equalSlices(t, "posted", g.posted, []int{1, 3})
	})
}

func TestWithoutPatienceAFullGateTurnsAwayAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		must(t, g.Enter(broadcast(1), 0))
		for _, none := range []time.Duration{0, -time.Second} {
			before := time.Now()
			expectErr(t, "full", g.Enter(broadcast(2), none), actors.ErrTimeout)
			equal(t, "waited", time.Since(before), 0)
		}
	})
}

func TestStopTurnsAwayWhoWaitsAndWhoComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 0, 1)
		g.Open()
		must(t, g.Enter(broadcast(1), patience))
		waiters := []func() error{g.enter(broadcast(2), patience), g.enter(broadcast(3), patience)}
		equal(t, "stopped before", g.Stopped(), false)
		equal(t, "the first Stop", g.Stop(), true)
		equal(t, "the second Stop", g.Stop(), false)
		equal(t, "stopped after", g.Stopped(), true)
		synctest.Wait()
		for _, err := range waiters {
			expectErr(t, "who waited", err(), actors.ErrHubStopped)
		}
		expectErr(t, "who comes", g.Enter(broadcast(4), patience), actors.ErrHubStopped)
		g.Leave(actors.OpBroadcast)
		g.Open()
		expectErr(t, "who comes to a free place", g.Enter(broadcast(5), patience), actors.ErrHubStopped)
		equalSlices(t, "posted", g.posted, []int{1})
	})
}

func TestOpenPostsWhatIsInsideInOrderAndOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2, 2, 2)
		kinds := []actors.Op{actors.OpBroadcast, actors.OpRegister, actors.OpUnregister, actors.OpRegister, actors.OpBroadcast}
		for i, kind := range kinds {
			must(t, g.Enter(&operation{kind, i}, patience))
		}
		g.enter(broadcast(5), patience)
		equal(t, "posted before", len(g.posted), 0)
		g.Open()
		g.Open()
		equalSlices(t, "posted", g.posted, []int{0, 1, 2, 3, 4})
		g.Leave(actors.OpBroadcast)
		synctest.Wait()
		equalSlices(t, "posted", g.posted, []int{0, 1, 2, 3, 4, 5})
	})
}

func TestSubmitTellsWhatEnterWouldHaveAndDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		submit := func(n int) (results chan error) {
			results = make(chan error, 2) // room for one too many
			g.Submit(broadcast(n), patience, func(err error) { results <- err })
			return results
		}
		expect := func(what string, results chan error, want ...error) {
			t.Helper()
			var got []error
			for len(results) > 0 {
				got = append(got, <-results)
			}
			equalSlices(t, what, got, want)
		}
		expect("at a shut gate with a place", submit(1), nil)
		expect("at a shut gate without", submit(2), actors.ErrTimeout)
		g.Open()
		third, fourth, fifth := submit(3), submit(4), submit(5)
		expect("at a full gate", third)
		g.Leave(actors.OpBroadcast)
		expect("with a place given back", third, nil)
		expect("the next", fourth)
		time.Sleep(patience)
		synctest.Wait()
		expect("after the patience", fourth, actors.ErrTimeout)
		expect("after the patience", fifth, actors.ErrTimeout)
		sixth := submit(6)
		g.Stop()
		expect("after Stop", sixth, actors.ErrHubStopped)
		expect("at a stopped gate", submit(7), actors.ErrHubStopped)
		time.Sleep(time.Hour)
		expect("told once", third)
		expect("told once", fourth)
		expect("told once", sixth)
		equalSlices(t, "posted", g.posted, []int{1, 3})
	})
}

func TestForceAdmitsWithoutAPlaceAndIsGivenBackLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		must(t, g.Enter(broadcast(1), 0))
		g.Force(broadcast(2))
		equal(t, "posted while shut", len(g.posted), 0)
		g.Open()
		g.Force(broadcast(3))
		equalSlices(t, "posted", g.posted, []int{1, 2, 3})
		g.Leave(actors.OpBroadcast)
		g.Leave(actors.OpBroadcast)
		expectErr(t, "with one of three left", g.Enter(broadcast(4), 0), actors.ErrTimeout)
		g.Leave(actors.OpBroadcast)
		expectErr(t, "with none left", g.Enter(broadcast(5), 0), nil)
		g.Stop()
		g.Force(broadcast(6))
		equalSlices(t, "posted", g.posted, []int{1, 2, 3, 5, 6})
	})
}

// An actor that drives the hub by messages has gone on by the time its operation waits: nothing it submits later may overtake.
func TestWhatIsSubmittedIsAdmittedInOrderAcrossKinds(t *testing.T) {
	var posted []actors.Operation
	g := actors.NewGate(1, 1, 8, func(op actors.Operation) { posted = append(posted, op) })
	g.Open()
	var told []error
	submit := func(op actors.Operation) { g.Submit(op, time.Hour, func(err error) { told = append(told, err) }) }
	ops := []actors.Operation{&operation{actors.OpRegister, 0}, &operation{actors.OpRegister, 0}, broadcast(1), &operation{actors.OpUnregister, 0}, broadcast(2)}
	for _, op := range ops {
		submit(op)
	}
	equal(t, "admitted while the second registration waits", len(posted), 1)
	g.Leave(actors.OpRegister)
	equal(t, "admitted when it has its place", len(posted), len(ops))
	for i := range ops {
		if posted[i] != ops[i] || told[i] != nil {
			t.Errorf("operation %d: %T, told %v", i, posted[i], told[i])
		}
	}
}

func TestOneThatTimesOutNoLongerHoldsUpTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		posted := 0
		g := actors.NewGate(1, 1, 8, func(actors.Operation) { posted++ })
		g.Open()
		var told []error
		note := func(err error) { told = append(told, err) }
		g.Submit(&operation{actors.OpRegister, 0}, time.Second, note)
		g.Submit(&operation{actors.OpRegister, 0}, time.Second, note)
		g.Submit(broadcast(1), time.Hour, note)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		equal(t, "told", len(told), 3)
		equal(t, "posted in the end", posted, 2)
	})
}
