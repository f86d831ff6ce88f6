package hubactor

import (
	"runtime"
	"strconv"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// crowd is how many subscribers come and go. A map with room for them takes more than a megabyte.
const crowd = 50_000

// grown is by how many bytes of heap visit leaves the process larger.
func grown(visit func()) int64 {
	var before, after runtime.MemStats
	measure := func(m *runtime.MemStats) {
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(m)
	}
	measure(&before)
	visit()
	measure(&after)
	return int64(after.HeapAlloc) - int64(before.HeapAlloc)
}

// Maps keep the room of their busiest hour; those of a hub that everybody has left do not.

func TestARegistryThatEverybodyHasLeftIsSmallAgain(t *testing.T) {
	r := &registry{link: &actors.Link{}, index: map[*actors.Outbox]*member{}}
	if got := grown(func() {
		var all []actors.Member
		for range crowd {
			m := actors.Member{Outbox: actors.NewOutbox(1)}
			r.place(r.know(m))
			all = append(all, m)
		}
		for _, m := range all {
			r.remove(nil, m)
		}
	}); got > 256<<10 {
		t.Errorf("%d KB larger than before", got>>10)
	}
	runtime.KeepAlive(r)
}

func TestConnectionsThatEverybodyHasLeftAreSmallAgain(t *testing.T) {
	c := &connections{link: &actors.Link{}, entries: map[string]*entry{}, foreign: map[actors.Subscriber]*entry{}}
	if got := grown(func() {
		for i := range crowd {
			e := &entry{Member: actors.Member{Subscriber: &counted{i}, Outbox: actors.NewOutbox(1)}}
			c.entries[strconv.Itoa(i)], c.foreign[e.Subscriber] = e, e
		}
		for i := range crowd {
			c.ended(nil, actor.NewPID("", strconv.Itoa(i)))
		}
	}); got > 256<<10 {
		t.Errorf("%d KB larger than before", got>>10)
	}
	runtime.KeepAlive(c)
}

// counted is a foreign subscriber of which no two are the same.
type counted struct{ n int }

func (*counted) Send([]byte) bool { return true }
func (*counted) Close()           {}
