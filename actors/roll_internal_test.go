package actors

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"
)

type visitor struct{ box *Outbox }

func (visitor) Send([]byte) bool  { return true }
func (visitor) Close()            {}
func (v visitor) Outbox() *Outbox { return v.box }

// What is not on the roll any more is not remembered by it either: not one that had ended before it came, nor one that has left.
func TestARollForgetsWhoIsNotOnIt(t *testing.T) {
	pid := actor.NewPID("nonhost", "nobody")
	link := &Link{System: System(), Registry: pid, Connections: pid, Goroutines: NewRunner(0, false)}
	link.Roll = NewRoll(link, 0, 1)
	gate := NewGate(9, 9, 9, func(Operation) {})
	gate.SetRoll(link.Roll)
	enter := func(op Operation) {
		t.Helper()
		if err := gate.Enter(op, 0); err != nil {
			t.Fatal(err)
		}
	}
	check := func(what string, count, remembered int) {
		t.Helper()
		if link.Roll.Count() != count || len(link.Roll.foreign) != remembered {
			t.Errorf("%s: %d counted, %d remembered; want %d and %d", what, link.Roll.Count(), len(link.Roll.foreign), count, remembered)
		}
	}
	ended := visitor{NewOutbox(1)}
	ended.box.Close(&Close{})
	enter(&Register{Subscriber: ended})
	check("one that had ended", 0, 0)

	open := visitor{NewOutbox(1)}
	enter(&Register{Subscriber: open})
	enter(&Register{Subscriber: open})
	check("one that comes twice", 1, 1)
	open.box.Close(&Close{})
	check("one that ends", 0, 0)

	again := visitor{NewOutbox(1)}
	enter(&Register{Subscriber: again})
	enter(&Unregister{Subscriber: again})
	enter(&Unregister{Subscriber: again})
	check("one that leaves", 0, 0)
	enter(&Register{Subscriber: again})
	check("and comes again", 1, 1)
	enter(&Unregister{Subscriber: visitor{}})
	check("one that was never there", 1, 1)
}
