package actors

import (
	"testing"
	"time"
)

func TestWhoeverFinishesAWaiterStopsItsTimer(t *testing.T) {
	for what, finish := range map[string]func(*Gate){
		"admitted": func(g *Gate) { g.Leave(OpBroadcast) },
		"stopped":  func(g *Gate) { g.Stop() },
	} {
		g := NewGate(1, 1, 1, func(Operation) {})
		g.Open()
		if err := g.Enter(&Broadcast{}, 0); err != nil {
			t.Fatal(err)
		}
		told := 0
		g.Submit(&Broadcast{}, time.Hour, func(error) { told++ })
		w := g.line.first
		finish(g)
		if w.stop() || told != 1 || g.line.first != nil {
			t.Errorf("%s: the timer ran on, or done was called %d times, or it still waits", what, told)
		}
	}
}

// A timer may have fired when its waiter is admitted: it comes too late, and changes nothing.
func TestALimitThatComesTooLateChangesNothing(t *testing.T) {
	g := NewGate(1, 1, 1, func(Operation) {})
	g.Open()
	if err := g.Enter(&Broadcast{}, 0); err != nil {
		t.Fatal(err)
	}
	var told []error
	var fire func()
	g.wait(&waiter{op: &Broadcast{}, done: func(err error) { told = append(told, err) }}, func(end func()) func() bool {
		fire = end
		return func() bool { return false }
	})
	g.Submit(&Broadcast{}, time.Hour, func(error) {})
	g.Leave(OpBroadcast)
	fire()
	if len(told) != 1 || told[0] != nil {
		t.Errorf("told %v, want nil once", told)
	}
	if w := g.waiting[OpBroadcast]; w.first == nil || w.first != w.last {
		t.Error("the one behind it has lost its turn")
	}
	g.Stop()
}
