package actors

import (
	"runtime"
	"testing"
)

type passerby struct{ n int }

func (*passerby) Send([]byte) bool { return true }
func (*passerby) Close()           {}

// A map keeps the room of its busiest hour; that of a roll that everybody has left does not.
func TestARollThatEverybodyHasLeftIsSmallAgain(t *testing.T) {
	const crowd = 50_000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	r := NewRoll(&Link{}, 0, 1)
	before := heap()
	func() {
		boxes := map[Subscriber]*Outbox{}
		for i := range crowd {
			v := &passerby{i}
			boxes[v], _ = r.foreigner(v)
			_ = r.add(NewOutbox(1), false)
		}
		for v, box := range boxes {
			r.remove(v, box)
		}
	}()
	if grown := heap() - before; grown > 256<<10 {
		t.Errorf("%d KB larger than before", grown>>10)
	}
	if n := r.Count(); n != 0 {
		t.Errorf("%d on the roll", n)
	}
}
