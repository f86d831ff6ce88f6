package actors_test

import (
	"testing"
	"testing/synctest"

	"github.com/wskit/wskit/actors"
)

func register(n int) *operation { return &operation{actors.OpRegister, n} }

// A gate that retires turns away who is to be registered, who waits for that too, and nobody else.
func TestARetiredGateTurnsAwayRegistrationsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1, 1, 1)
		g.Open()
		equal(t, "it receives", g.Receives(), true)
		equal(t, "a place", g.enter(register(1), patience)(), nil)
		waits := g.enter(register(2), patience)
		equal(t, "no place", waits(), errPending)
		var submitted, behind error = errPending, errPending
		g.Submit(register(3), patience, func(err error) { submitted = err })
		g.Submit(broadcast(4), patience, func(err error) { behind = err })
		equal(t, "behind it in line", behind, errPending)
		g.Retire()
		synctest.Wait()
		expectErr(t, "who waited", waits(), actors.ErrHubStopped)
		expectErr(t, "who was submitted", submitted, actors.ErrHubStopped)
		equal(t, "behind it in line", behind, nil)
		<-g.Retired()
		g.Leave(actors.OpRegister)
		g.Leave(actors.OpBroadcast)
		expectErr(t, "though there is a place", g.enter(register(5), patience)(), actors.ErrHubStopped)
		g.Submit(register(6), patience, func(err error) { submitted = err })
		expectErr(t, "or submitted", submitted, actors.ErrHubStopped)
		equal(t, "a broadcast", g.enter(broadcast(7), patience)(), nil)
		equal(t, "it receives", g.Receives(), false)
		equal(t, "it refuses", g.Refuses(), true)
		equal(t, "it has stopped", g.Stopped(), false)
		g.Retire()
		equal(t, "Stop is the first", g.Stop(), true)
		equal(t, "posted", len(g.posted), 3)
	})
}

func TestAGateThatIsShutOrStoppedReceivesNobody(t *testing.T) {
	g := newGate(1, 1, 1)
	equal(t, "shut", g.Receives(), false)
	equal(t, "shut, it refuses", g.Refuses(), false)
	g.Stop()
	<-g.Retired()
	equal(t, "stopped", g.Receives(), false)
	equal(t, "stopped, it refuses", g.Refuses(), true)
}
