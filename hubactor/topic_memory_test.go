package hubactor_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// bytesPerMembership is the most of heap that a membership may cost, the topic included.
const bytesPerMembership = 100

// settledHeap returns what measures the heap when the registry has come to all that was admitted before.
func (h *hub) settledHeap(t *testing.T) func() int64 {
	marks, settled := newSub(), 0
	h.admit(&actors.Register{Subscriber: marks, Topics: []string{"marks"}})
	return func() int64 {
		h.admit(&actors.Broadcast{Frame: actors.NewFrame([]byte("mark")), Topic: "marks"})
		settled++
		marks.got.await(t, settled)
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
}

func TestAMembershipCostsAtMost100BytesOfHeap(t *testing.T) {
	const members = 100_000
	h := spawn(t, hubactor.Config{})
	heap := h.settledHeap(t)
	all := make([]*conn, members)
	for i := range all {
		all[i] = &conn{box: actors.NewOutbox(1)}
		all[i].box.SetHome(h.link, all[i])
		h.admit(&actors.Register{Subscriber: all[i]})
	}
	for _, topics := range []int{1, 10_000} {
		name := func(i int) string { return fmt.Sprint("room:", i%topics) }
		before := heap()
		for i, c := range all {
			h.admit(&actors.Join{Subscriber: c, Topic: name(i)})
		}
		within := heap()
		if each := (within - before) / members; each > bytesPerMembership {
			t.Errorf("%d topics of %d members: %d bytes of heap a membership", topics, members/topics, each)
		} else {
			t.Logf("%d topics of %d members: %d bytes of heap a membership", topics, members/topics, each)
		}
		for i, c := range all {
			h.admit(&actors.Leave{Subscriber: c, Topic: name(i)})
		}
		if left := heap() - before; left > 256<<10 {
			t.Errorf("%d KB of %d topics are left when all have left them", left>>10, topics)
		}
	}
	runtime.KeepAlive(all)
}

// Who has gone is no member of a topic that others are in: neither it nor its place is kept.
func TestATopicKeepsNothingOfThoseWhoHaveGone(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	h.admit(&actors.Register{Subscriber: newSub(), Topics: []string{"room"}})
	heap := h.settledHeap(t)
	visit := func(n int) int64 {
		for range n {
			c := &conn{box: actors.NewOutbox(1)}
			c.box.SetHome(h.link, c)
			h.admit(&actors.Register{Subscriber: c, Topics: []string{"room"}})
			c.Close()
		}
		return heap()
	}
	before := visit(100)
	if after := visit(10_000); after > before+512<<10 {
		t.Errorf("%d KB larger when 10,000 have come and gone", (after-before)>>10)
	}
}
