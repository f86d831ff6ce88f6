package actors_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/wskit/wskit/actors"
)

// Whoever asks, and by whatever method: of one kind, places are given in the order in which they were asked for.
func TestPlacesAreGivenInTurnWhoeverAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		g.Open()
		must(t, g.Enter(broadcast(0), patience))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var want []int
		for i := 1; i <= 12; i++ {
			switch i % 3 {
			case 0:
				g.enter(broadcast(i), time.Hour)
			case 1:
				g.Submit(broadcast(i), time.Hour, func(error) {})
			case 2:
				go func() { _ = g.EnterContext(ctx, broadcast(i)) }()
			}
			synctest.Wait()
			want = append(want, i)
		}
		for range want {
			g.Leave(actors.OpBroadcast)
		}
		synctest.Wait()
		equalSlices(t, "posted", g.posted, append([]int{0}, want...))
	})
}

// More goroutines wait in Enter than there are places, and each comes again at once: what is submitted has its turn after
// those that wait.
func TestWhatIsSubmittedHasItsTurnAmongManyThatEnter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const places, crowd = 4, 100
		g := newGate(1, 1, places)
		g.Open()
		for range crowd {
			go func() {
				for g.Enter(broadcast(0), time.Hour) == nil {
				}
			}()
		}
		synctest.Wait()
		admitted := false
		g.Submit(broadcast(1), time.Hour, func(err error) { admitted = err == nil })
		for range crowd { // who got in has come again
			g.Leave(actors.OpBroadcast)
			synctest.Wait()
			equal(t, "admitted before its turn", admitted, false)
		}
		g.Leave(actors.OpBroadcast)
		equal(t, "admitted in its turn", admitted, true)
		g.Stop()
		synctest.Wait()
	})
}

// A place that is free is nobody's to take while somebody of its kind waits for one of another kind, which was submitted before.
func TestOneWhoComesWaitsBehindOneThatWaitsForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 2)
		g.Open()
		must(t, g.Enter(&operation{actors.OpRegister, 0}, patience))
		g.Submit(&operation{actors.OpRegister, 1}, time.Hour, func(error) {})
		g.Submit(broadcast(2), time.Hour, func(error) {})
		third := g.enter(broadcast(3), time.Hour)
		expectErr(t, "with a free place, and two before it", third(), errPending)
		g.Leave(actors.OpRegister)
		synctest.Wait()
		expectErr(t, "with nobody before it", third(), nil)
		equalSlices(t, "posted", g.posted, []int{0, 1, 2, 3})
	})
}

func TestWithoutALimitWhatIsSubmittedWaitsUntilItIsAdmittedOrTheGateStops(t *testing.T) {
	for _, unlimited := range []time.Duration{0, -time.Second} {
		synctest.Test(t, func(t *testing.T) {
			g := newGate(1, 1, 0)
			told := map[int]error{}
			submit := func(n int) { g.Submit(broadcast(n), unlimited, func(err error) { told[n] = err }) }
			for n := range 4 {
				submit(n)
			}
			time.Sleep(1000 * time.Hour)
			equal(t, "told at a shut gate", len(told), 0)
			g.Open()
			time.Sleep(1000 * time.Hour)
			equal(t, "told with one place", len(told), 1)
			g.Leave(actors.OpBroadcast)
			g.Leave(actors.OpBroadcast)
			g.Leave(actors.OpBroadcast)
			g.Stop()
			submit(4)
			equal(t, "told", fmt.Sprint(told), fmt.Sprint(map[int]error{0: nil, 1: nil, 2: nil, 3: nil, 4: actors.ErrHubStopped}))
			equalSlices(t, "posted", g.posted, []int{0, 1, 2, 3})
		})
	}
}

func TestAnEndedContextEntersNothing(t *testing.T) {
	g := newGate(1, 1, 1)
	g.Open()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	expectErr(t, "at a gate with a free place", g.EnterContext(ctx, broadcast(1)), context.Canceled)
	equal(t, "posted", len(g.posted), 0)
}

// What was admitted before Open is the registry's afterwards: a frame is not kept for as long as the hub lives.
func TestAnOpenGateKeepsNothingOfWhatWasInside(t *testing.T) {
	g := actors.NewGate(1, 1, 1, func(actors.Operation) {})
	inside := func() weak.Pointer[operation] {
		op := broadcast(1)
		must(t, g.Enter(op, patience))
		return weak.Make(op)
	}()
	runtime.GC()
	if inside.Value() == nil {
		t.Fatal("gone before Open")
	}
	g.Open()
	for range 100 {
		if runtime.GC(); inside.Value() == nil {
			break
		}
	}
	if inside.Value() != nil {
		t.Error("still kept after Open")
	}
	runtime.KeepAlive(g)
}
