package actors_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// hall is a hub's gate and roll, with a registry that takes nothing until the test gives a place back.
type hall struct {
	*actors.Gate
	link *actors.Link
}

func newHall(places int, set func(*actors.Link)) *hall {
	pid := actor.NewPID("nonhost", "nobody")
	h := &hall{actors.NewGate(places, places, places, func(actors.Operation) {}), &actors.Link{System: actors.System(), Registry: pid, Connections: pid}}
	if set != nil {
		set(h.link)
	}
	h.link.Roll = actors.NewRoll(h.link, 0, 1)
	h.SetRoll(h.link.Roll)
	h.Open()
	return h
}

// guest is a connection without an actor.
type guest struct{ box *actors.Outbox }

func (*guest) Send([]byte) bool         { return true }
func (*guest) Close()                   {}
func (g *guest) Outbox() *actors.Outbox { return g.box }

func (h *hall) guest(user string) *guest {
	g := &guest{actors.NewOutbox(1)}
	g.box.SetHome(h.link, g)
	g.box.SetUser(user)
	return g
}

// do enters op, which is refused or admitted at once, and taken.
func (h *hall) do(op actors.Operation) error {
	err := h.Enter(op, time.Nanosecond)
	if err == nil {
		h.Leave(op.Op())
	}
	return err
}

// come is what Accept does.
func (h *hall) come(user string) (*guest, error) {
	if err := h.link.Roll.Reserve(user); err != nil {
		return nil, err
	}
	g := h.guest(user)
	err := h.do(&actors.Register{Subscriber: g, Reserved: true})
	if err != nil {
		h.link.Roll.Unreserve(user)
	}
	return g, err
}

// inBubble is synctest.Test with the process' own actors outside.
func inBubble(t *testing.T, test func(t *testing.T)) {
	actors.System()
	synctest.Test(t, func(t *testing.T) {
		test(t)
		time.Sleep(time.Second) // a dead letter leaves a goroutine for a moment
	})
}

func TestAnOperationThatTheRollRefusesTakesNoPlace(t *testing.T) {
	h := newHall(1, nil)
	in, out := h.guest(""), h.guest("")
	expectErr(t, "register", h.do(&actors.Register{Subscriber: in}), nil)
	for range 2 {
		expectErr(t, "join of one that is not registered", h.Enter(&actors.Join{Subscriber: out, Topic: "t"}, time.Nanosecond), actors.ErrNotRegistered)
		expectErr(t, "leave of one that is not registered", h.Enter(&actors.Leave{Subscriber: out, Topic: "t"}, time.Nanosecond), actors.ErrNotRegistered)
	}
	expectErr(t, "join", h.Enter(&actors.Join{Subscriber: in, Topic: "t"}, time.Nanosecond), nil)
	expectErr(t, "leave", h.Enter(&actors.Leave{Subscriber: in, Topic: "t"}, time.Nanosecond), nil)
	expectErr(t, "a join too many at a time", h.Enter(&actors.Join{Subscriber: in, Topic: "t"}, time.Nanosecond), actors.ErrTimeout)
}

// Who waits is judged when there is a place, not before; one that is refused then hands it on.
func TestAnOperationThatIsRefusedAfterAWaitGivesItsPlaceToTheNext(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHall(1, nil)
		in, out, soon := h.guest(""), h.guest(""), h.guest("")
		expectErr(t, "register", h.do(&actors.Register{Subscriber: in}), nil)
		expectErr(t, "join", h.Enter(&actors.Join{Subscriber: in, Topic: "1"}, time.Hour), nil)
		results := map[string]chan error{}
		wait := func(what string, op actors.Operation, submit bool) {
			results[what] = make(chan error, 1)
			if submit {
				h.Submit(op, time.Hour, func(err error) { results[what] <- err })
				return
			}
			go func() { results[what] <- h.Enter(op, time.Hour) }()
			synctest.Wait()
		}
		wait("never registered", &actors.Join{Subscriber: out, Topic: "2"}, false)
		wait("nor this one, submitted", &actors.Join{Subscriber: out, Topic: "2"}, true)
		wait("registered by then", &actors.Join{Subscriber: soon, Topic: "2"}, false)
		wait("behind that", &actors.Join{Subscriber: in, Topic: "3"}, true)
		expectErr(t, "register", h.do(&actors.Register{Subscriber: soon}), nil)
		h.Leave(actors.OpJoin)
		synctest.Wait()
		expectErr(t, "never registered", <-results["never registered"], actors.ErrNotRegistered)
		expectErr(t, "never registered, submitted", <-results["nor this one, submitted"], actors.ErrNotRegistered)
		expectErr(t, "registered by then", <-results["registered by then"], nil)
		select {
		case err := <-results["behind that"]:
			t.Fatal("two at a time have one place:", err)
		default:
		}
		h.Leave(actors.OpJoin)
		expectErr(t, "behind that", <-results["behind that"], nil)
	})
}

func TestASubscriberIsInAsManyTopicsAsItMayBe(t *testing.T) {
	for _, limit := range []int{1, 3, 64, 65, 0} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			h := newHall(1, func(l *actors.Link) { l.MaxTopics = limit })
			if limit == 0 {
				limit = actors.DefaultMaxTopics
			}
			g := h.guest("ann") // her own topic does not count
			expectErr(t, "register", h.do(&actors.Register{Subscriber: g}), nil)
			for i := range limit {
				for range 2 {
					expectErr(t, fmt.Sprint("join ", i), h.do(&actors.Join{Subscriber: g, Topic: fmt.Sprint(i)}), nil)
				}
			}
			one := &actors.Join{Subscriber: g, Topic: "one more"}
			expectErr(t, "one more", h.do(one), actors.ErrTooManyTopics)
			if n := h.link.Roll.CountIn("one more"); n != 0 {
				t.Errorf("%d in the topic that was one too many", n)
			}
			expectErr(t, "one that it is in", h.do(&actors.Join{Subscriber: g, Topic: "0"}), nil)
			expectErr(t, "leave", h.do(&actors.Leave{Subscriber: g, Topic: "0"}), nil)
			expectErr(t, "one more, then", h.do(one), nil)
			if n := len(g.box.TopicsOf()); n != limit {
				t.Errorf("in %d topics, want %d", n, limit)
			}
		})
	}
}

func TestNamesAtConnectAreChecked(t *testing.T) {
	l := &actors.Link{MaxTopics: 2}
	for _, c := range []struct {
		names []string
		want  error
	}{
		{nil, nil}, {[]string{"a", "b"}, nil}, {[]string{"a", "b", "c"}, actors.ErrTooManyTopics}, {[]string{"a", ""}, actors.ErrInvalidTopic},
		{[]string{actors.UserTopic("ann")}, actors.ErrInvalidTopic},
	} {
		expectErr(t, fmt.Sprintf("%q", c.names), l.CheckTopics(c.names), c.want)
	}
}

func TestAUserWhoIsLockedOutComesAgainWhenTheTimeIsOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHall(1, nil)
		roll := h.link.Roll
		first, err := h.come("ann")
		expectErr(t, "come", err, nil)
		expectErr(t, "reserve", roll.Reserve("ann"), nil) // who is about to come
		if n := roll.Disconnect("ann", 0, 10*time.Second, &actors.Close{Reason: actors.ReasonReplaced}); n != 1 {
			t.Errorf("%d disconnected, want 1", n)
		}
		if r := first.box.Reason(); r != actors.ReasonReplaced {
			t.Error(r)
		}
		expectErr(t, "a registration that was on its way", h.do(&actors.Register{Subscriber: h.guest("ann"), Reserved: true}), actors.ErrLockedOut)
		roll.Unreserve("ann")
		expectErr(t, "one that nobody reserved a place for", h.do(&actors.Register{Subscriber: h.guest("ann")}), actors.ErrLockedOut)
		if n, users := roll.Count(), roll.Users(); n != 0 || len(users) != 0 || roll.CountIn(actors.UserTopic("ann")) != 0 {
			t.Errorf("%d counted, users %q", n, users)
		}
		roll.Disconnect("ann", 0, time.Second, &actors.Close{}) // which ends before the other
		_, err = h.come("bob")
		expectErr(t, "another", err, nil)
		time.Sleep(10*time.Second - time.Nanosecond)
		_, err = h.come("ann")
		expectErr(t, "just before the time is over", err, actors.ErrLockedOut)
		time.Sleep(time.Nanosecond)
		again, err := h.come("ann")
		expectErr(t, "when it is over", err, nil)
		for _, none := range []time.Duration{0, -1} {
			roll.Disconnect("ann", 0, none, &actors.Close{})
			again, err = h.come("ann")
			expectErr(t, "without a lockout", err, nil)
		}
		expectErr(t, "registering one that is registered", h.do(&actors.Register{Subscriber: again}), nil)
	})
}

// Another hub's order is older than who came since.
func TestDisconnectingThoseOfAnAgeSparesTheYounger(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		h := newHall(1, nil)
		old, _ := h.come("ann")
		time.Sleep(time.Second)
		young, _ := h.come("ann")
		time.Sleep(time.Second)
		if n := h.link.Roll.Disconnect("ann", 2*time.Second, 0, &actors.Close{}); n != 1 {
			t.Errorf("%d disconnected, want 1", n)
		}
		if old.box.Reason() == actors.ReasonNone || young.box.Reason() != actors.ReasonNone {
			t.Error(old.box.Reason(), young.box.Reason())
		}
	})
}

func TestTheNewestConnectionOfAUserIsRefusedAtTheLimit(t *testing.T) {
	h := newHall(1, func(l *actors.Link) { l.MaxPerUser = actors.UserLimit{Max: 2} })
	first, err := h.come("ann")
	expectErr(t, "the first", err, nil)
	expectErr(t, "a place for the second", h.link.Roll.Reserve("ann"), nil)
	_, err = h.come("ann")
	expectErr(t, "the third", err, actors.ErrTooManyConnections)
	_, err = h.come("bob")
	expectErr(t, "another user's", err, nil)
	for range 3 {
		_, err = h.come("")
		expectErr(t, "nobody's in particular", err, nil)
	}
	h.link.Roll.Unreserve("ann")
	_, err = h.come("ann")
	expectErr(t, "the second", err, nil)
	_, err = h.come("ann")
	expectErr(t, "the third again", err, actors.ErrTooManyConnections)
	first.box.Close(&actors.Close{})
	_, err = h.come("ann")
	expectErr(t, "the third when one has ended", err, nil)
	if n := h.link.Roll.CountIn(actors.UserTopic("ann")); n != 2 {
		t.Errorf("%d connections of hers, want 2", n)
	}
}

func TestTheOldestConnectionOfAUserMakesRoomAtTheLimit(t *testing.T) {
	h := newHall(1, func(l *actors.Link) { l.MaxPerUser = actors.UserLimit{Max: 2, CloseOldest: true} })
	other, _ := h.come("bob")
	var all []*guest
	for i := range 5 {
		g, err := h.come("ann")
		expectErr(t, fmt.Sprint("connection ", i), err, nil)
		expectErr(t, "once more", h.do(&actors.Register{Subscriber: g}), nil)
		all = append(all, g)
		for j, each := range append(slices.Clone(all), other) {
			want := actors.ReasonNone
			if j < i-1 {
				want = actors.ReasonReplaced
			}
			if got := each.box.Reason(); got != want {
				t.Fatalf("after connection %d, of number %d: %v, want %v", i, j, got, want)
			}
		}
	}
	if n := h.link.Roll.Count(); n != 3 {
		t.Errorf("%d counted, want 3", n)
	}
}

// Who has come and gone is forgotten as a user too.
func TestPlacesThatAreGivenBackAreNobodys(t *testing.T) {
	h := newHall(1, func(l *actors.Link) { l.MaxPerUser = actors.UserLimit{Max: 1} })
	for range 3 {
		expectErr(t, "reserve", h.link.Roll.Reserve("ann"), nil)
		expectErr(t, "reserve twice", h.link.Roll.Reserve("ann"), actors.ErrTooManyConnections)
		if users := h.link.Roll.Users(); len(users) != 0 {
			t.Errorf("users %q", users)
		}
		h.link.Roll.Unreserve("ann")
	}
	g, err := h.come("ann")
	expectErr(t, "come", err, nil)
	expectErr(t, "a registration of one that is registered gives its place back", h.do(&actors.Register{Subscriber: g}), nil)
	g.box.Close(&actors.Close{})
	_, err = h.come("ann")
	expectErr(t, "come again", err, nil)
	if users := h.link.Roll.Users(); !slices.Equal(users, []string{"ann"}) {
		t.Errorf("users %q", users)
	}
}
