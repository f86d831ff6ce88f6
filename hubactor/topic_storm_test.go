package hubactor_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// Many goroutines join, leave, register, close and broadcast on the same topics, some with the same subscribers, while the registry
// crashes. When all have gone, nothing is left of the topics: in no roll, in no outbox, and not on the heap.
func TestNothingIsLeftOfTopicsWhenAllHaveGone(t *testing.T) {
	h := spawn(t, hubactor.Config{MaxTopics: 100})
	heap := h.settledHeap(t)
	const crowd, topics = 400, 300
	all := make([]*counter, crowd) // which keep what they have
	for i := range all {
		all[i] = &counter{&conn{box: actors.NewOutbox(256)}, new(tally)}
		all[i].box.SetHome(h.link, all[i])
		all[i].box.Resume()
		h.system.Root.Send(h.link.Connections, &actors.Adopt{Kind: "storm", Subscriber: all[i], Outbox: all[i].box, Actor: all[i]})
		all[i].box.SetUser(fmt.Sprint("user ", i%50))
	}
	before := heap()
	var storm sync.WaitGroup
	for n := range 8 {
		storm.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range 3000 {
				who, topic := &actors.Register{Subscriber: all[random.IntN(crowd)]}, fmt.Sprint(random.IntN(topics))
				var op actors.Operation
				switch random.IntN(10) {
				case 0:
					op = who
				case 1:
					who.Topics = []string{topic}
					op = who
				case 2, 3, 4, 5, 6:
					op = &actors.Join{Subscriber: who.Subscriber, Topic: topic}
				case 7, 8:
					op = &actors.Leave{Subscriber: who.Subscriber, Topic: topic}
				default:
					op = &actors.Broadcast{Frame: actors.NewFrame([]byte(topic)), Topic: topic, Except: who.Subscriber}
				}
				if err := h.link.Gate.Enter(op, 10*time.Second); err != nil && !errors.Is(err, actors.ErrNotRegistered) && !errors.Is(err, actors.ErrTooManyTopics) {
					t.Errorf("%T: %v", op, err)
					return
				}
				if random.IntN(100) == 0 {
					who.Subscriber.Close()
				}
			}
		})
	}
	for range 8 { // within the budget
		heap()
		h.crash("registry", "in a storm")
	}
	storm.Wait()
	for i, c := range all {
		if i%2 == 0 {
			c.Close()
		} else if err := h.link.Gate.Enter(&actors.Unregister{Subscriber: c}, 10*time.Second); err != nil {
			t.Error(err)
		}
	}
	if n := h.count(); n != 1 {
		t.Errorf("%d counted, want marks alone", n)
	}
	for deadline := time.Now().Add(10 * time.Second); len(h.tree()) > 5; { // marks' is one
		if time.Now().After(deadline) {
			t.Fatalf("%d actors", len(h.tree()))
		}
	}
	if left := heap() - before; left > 400<<10 { // names in protoactor's process registry, for one
		t.Errorf("%d KB larger than before", left>>10)
	}
	for _, c := range all {
		if names := c.box.TopicsOf(); names != nil {
			t.Errorf("one that has gone is in %q", names)
		}
	}
	if topics, users := h.link.Roll.Topics(), h.link.Roll.Users(); len(topics) != 1 || len(users) != 0 {
		t.Errorf("topics %q, users %q", topics, users)
	}
}

// A member that connections does not know is none of a registry that has crashed. When it comes again it is where it was.
func TestAMemberThatComesAgainAfterACrashIsInItsTopics(t *testing.T) {
	h := spawn(t, hubactor.Config{})
	marks := newSub()
	h.admit(&actors.Register{Subscriber: marks, Topics: []string{"room", "hall"}})
	c := &conn{box: actors.NewOutbox(256)} // which no actor serves
	c.box.SetHome(h.link, c)
	h.admit(&actors.Register{Subscriber: c, Topics: []string{"room", "hall"}})
	h.crash("registry", "told to")
	h.admit(&actors.Register{Subscriber: c})
	h.admit(&actors.Broadcast{Frame: actors.NewFrame([]byte("1")), Topic: "room"})
	h.admit(&actors.Leave{Subscriber: c, Topic: "room"})
	h.admit(&actors.Broadcast{Frame: actors.NewFrame([]byte("2")), Topic: "room"})
	h.admit(&actors.Broadcast{Frame: actors.NewFrame([]byte("3")), Topic: "hall"})
	h.admit(&actors.Broadcast{Frame: actors.NewFrame([]byte("4")), Topic: "room"}) // when marks has it, the one before has been posted
	marks.got.await(t, 4)
	if n := c.box.UserMessageCount(); n != 2 {
		t.Errorf("%d messages for it, want 1 and 3", n)
	}
}
