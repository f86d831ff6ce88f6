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
		w := g.line[0]
		finish(g)
		if w.stop() || told != 1 || len(g.line) != 0 {
			t.Errorf("%s: the timer ran on, or done was called %d times, or %d still wait", what, told, len(g.line))
		}
	}
}
