package actors_test

import (
	"testing"

	"github.com/wskit/wskit/actors"
)

func TestAGateStopsForIdlenessOnlyWhenNobodyWouldNotice(t *testing.T) {
	for name, c := range map[string]struct {
		begin func(g *actors.Gate, r *actors.Roll)
		end   func(g *actors.Gate, r *actors.Roll)
	}{
		"held": {func(g *actors.Gate, _ *actors.Roll) { g.Hold() }, func(g *actors.Gate, _ *actors.Roll) { g.Release() }},
		"an operation under way": {
			func(g *actors.Gate, _ *actors.Roll) { _ = g.Enter(broadcast(1), patience) },
			func(g *actors.Gate, _ *actors.Roll) { g.Leave(actors.OpBroadcast) },
		},
		"a place that is reserved": {
			func(_ *actors.Gate, r *actors.Roll) { _ = r.Reserve("") },
			func(_ *actors.Gate, r *actors.Roll) { r.Unreserve("") },
		},
	} {
		g, r := newGate(1, 1, 1).Gate, actors.NewRoll(&actors.Link{}, 0, 1)
		g.SetRoll(r)
		g.Open()
		c.begin(g, r)
		n, now := g.Uses()
		equal(t, name+": in use", now, true)
		equal(t, name+": stops", g.StopIfIdle(n), false)
		c.end(g, r)
		n, now = g.Uses()
		equal(t, name+": in use after its end", now, false)
		g.Hold()
		g.Release()
		equal(t, name+": stops though it was used since", g.StopIfIdle(n), false)
		equal(t, name+": turns away who is to be registered", g.Refuses(), false)
		equal(t, name+": stops when it is idle", g.StopIfIdle(n+1), true)
		equal(t, name+": stops again", g.StopIfIdle(n+1), false)
		equal(t, name+": turns away who is to be registered", g.Refuses(), true)
		equal(t, name+": held after its end", g.Hold(), false)
		expectErr(t, name+": Enter", g.Enter(broadcast(2), patience), actors.ErrHubStopped)
	}
}

func TestAGateThatWasStoppedOtherwiseDoesNotStopForIdleness(t *testing.T) {
	g := newGate(1, 1, 1)
	g.Open()
	g.Stop()
	equal(t, "stops", g.StopIfIdle(0), false)
}

// Who registers has used it, whether or not that held it.
func TestARegistrationIsAUseOfTheGate(t *testing.T) {
	g := newGate(1, 1, 1)
	g.Open()
	must(t, g.Enter(&operation{actors.OpRegister, 1}, patience))
	g.Leave(actors.OpRegister)
	equal(t, "stops", g.StopIfIdle(0), false)
	equal(t, "stops", g.StopIfIdle(1), true)
}
