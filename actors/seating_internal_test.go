package actors

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/asynkron/protoactor-go/actor"
)

// seated is a hub's roll with a registry of the test's own.
type seated struct {
	link  *Link
	gate  *Gate
	boxes []*Outbox
}

func newSeated(t *testing.T, subscribers int) *seated {
	pid := actor.NewPID("nonhost", "nobody")
	s := &seated{link: &Link{System: System(), Registry: pid, Connections: pid, MaxTopics: 1000}}
	s.link.Roll = NewRoll(s.link, 0, 1)
	s.gate = NewGate(1, 1, 1, func(Operation) {})
	s.gate.SetRoll(s.link.Roll)
	s.gate.Open()
	for range subscribers {
		v := visitor{NewOutbox(1)}
		v.box.SetHome(s.link, v)
		s.enter(t, &Register{Subscriber: v})
		s.boxes = append(s.boxes, v.box)
	}
	return s
}

func (s *seated) enter(t *testing.T, op Operation) {
	t.Helper()
	if err := s.gate.Enter(op, 0); err != nil {
		t.Fatal(err)
	}
	s.gate.Leave(op.Op())
}

func (s *seated) join(t *testing.T, n Seating, box *Outbox, topic string) {
	t.Helper()
	op := &Join{Subscriber: visitor{box}, Topic: topic}
	s.enter(t, op)
	n.Join(op.Membership())
}

func (s *seated) leave(t *testing.T, n Seating, box *Outbox, topic string) {
	t.Helper()
	op := &Leave{Subscriber: visitor{box}, Topic: topic}
	s.enter(t, op)
	if box, topic := op.Membership(); topic != nil {
		n.Leave(box, topic)
	}
}

// Seats and places keep finding each other, with an index and without one, whoever leaves what in whatever order.
func TestWhoIsInManyTopicsCanLeaveAnyOfThem(t *testing.T) {
	s := newSeated(t, 3)
	const topics = 3 * maxScan
	in := map[string][]*Outbox{}
	random := rand.New(rand.NewPCG(1, 2))
	seating := Seating(1)
	for step := range 6000 {
		name, box := fmt.Sprint(random.IntN(topics)), s.boxes[random.IntN(len(s.boxes))]
		if i := slices.Index(in[name], box); i >= 0 {
			s.leave(t, seating, box, name)
			in[name] = slices.Delete(in[name], i, i+1)
		} else {
			s.join(t, seating, box, name)
			in[name] = append(in[name], box)
		}
		if step%1000 == 999 { // a new incarnation
			seating++
			for _, box := range s.boxes {
				seating.Resume(box)
			}
		}
		if step%100 == 0 {
			for name, want := range in {
				topic := s.link.Roll.topic(name)
				if (topic == nil) != (len(want) == 0) {
					t.Fatalf("%d are in %q, and the topic is %v", len(want), name, topic)
				}
				if topic == nil {
					continue
				}
				got := slices.Collect(seating.Members(topic))
				if len(got) != len(want) || slices.ContainsFunc(want, func(box *Outbox) bool { return !slices.Contains(got, box) }) {
					t.Fatalf("step %d: %d in %q, want %d", step, len(got), name, len(want))
				}
			}
		}
	}
	for _, box := range s.boxes {
		box.Close(&Close{})
		if seating.LeaveAll(box); box.seats != nil {
			t.Errorf("one that has ended keeps %d seats", len(box.seats.list))
		}
	}
	if len(s.link.Roll.topics) != 0 {
		t.Errorf("%d topics of nobody", len(s.link.Roll.topics))
	}
}

func TestWhoHasLeftEveryTopicKeepsNoSeats(t *testing.T) {
	s := newSeated(t, 1)
	for i := range 2 * maxScan {
		s.join(t, 1, s.boxes[0], fmt.Sprint(i))
	}
	for i := range 2 * maxScan {
		s.leave(t, 1, s.boxes[0], fmt.Sprint(i))
	}
	if s.boxes[0].seats != nil {
		t.Error("there are seats")
	}
}

// One that had ended when a registry came back is not resumed; what it had of topics by the registry before takes nothing from others.
func TestOneThatEndedBeforeTheRegistryCameBackTakesNobodysPlace(t *testing.T) {
	s := newSeated(t, 2)
	gone, stays := s.boxes[0], s.boxes[1]
	s.join(t, 1, gone, "room")
	s.join(t, 1, stays, "room")
	topic := s.link.Roll.topic("room")
	gone.Close(&Close{})
	Seating(2).Resume(stays)
	Seating(2).LeaveAll(gone)
	if got := slices.Collect(Seating(2).Members(topic)); !slices.Equal(got, []*Outbox{stays}) {
		t.Errorf("%d members, want the one that stays", len(got))
	}
}

// A topic that many have left does not keep room for them.
func TestATopicThatManyHaveLeftIsSmallAgain(t *testing.T) {
	s := newSeated(t, 1000)
	for _, box := range s.boxes {
		s.join(t, 1, box, "room")
	}
	for _, box := range s.boxes[1:] {
		s.leave(t, 1, box, "room")
	}
	topic := s.link.Roll.topic("room")
	if got := slices.Collect(Seating(1).Members(topic)); !slices.Equal(got, s.boxes[:1]) || cap(topic.members) > 2*leastRoom {
		t.Errorf("%d members and room for %d", len(got), cap(topic.members))
	}
}

// A roll that many topics were on does not keep room for their names, whoever is still in others.
func TestARollOfManyTopicsIsSmallAgain(t *testing.T) {
	s := newSeated(t, 2)
	s.join(t, 1, s.boxes[1], "stays")
	for i := range 1000 {
		s.join(t, 1, s.boxes[0], fmt.Sprint(i))
	}
	for i := range 1000 {
		s.leave(t, 1, s.boxes[0], fmt.Sprint(i))
	}
	if r := s.link.Roll; r.busiest > leastRoom || len(r.topics) != 1 {
		t.Errorf("%d topics, and room for %d", len(r.topics), r.busiest)
	}
}

// Outboxes are of the size class that they had before there were topics, and what is rare is one cache line.
func TestTopicsCostAnOutboxNothing(t *testing.T) {
	if got := unsafe.Sizeof(Outbox{}); got > 208 {
		t.Errorf("an Outbox has %d bytes", got)
	}
	if got := unsafe.Sizeof(rare{}); got > 64 {
		t.Errorf("what is rare has %d bytes", got)
	}
}
