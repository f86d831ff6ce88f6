package redisactor

import (
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

// alone is a redis actor without a mailbox, and what its gate lets through.
func alone(t *testing.T) (a *redisActor, got func() []string) {
	t.Helper()
	var frames []string
	gate := actors.NewGate(1, 1, 100, func(op actors.Operation) { frames = append(frames, string(op.(*actors.Broadcast).Frame.Payload())) })
	gate.Open()
	b := newBooks(nil, "c", &actors.Link{Gate: gate, System: actors.System()})
	b.gate.attend = func() {}
	b.member = newMember(nil, func(*actor.PID, any) {})
	b.own.sub = &subscription{member: b.member, channel: "c", topic: b.own}
	return &redisActor{books: b}, func() []string { return frames }
}

func TestAMessageOfAConnectionThatWasLostIsIgnored(t *testing.T) {
	a, got := alone(t)
	a.ended = 5
	for epoch, payload := range map[uint64]string{4: "older", 5: "late", 6: "new"} {
		a.member.take(&message{a.own.sub, epoch, &received{payload: payload}})
		a.message(&message{a.own.sub, epoch, &received{payload: payload}})
	}
	if g := got(); len(g) != 1 || g[0] != "new" {
		t.Errorf("delivered: %q", g)
	}
	if a.member.credits != 0 {
		t.Errorf("%d credits were not given back", a.member.credits)
	}
}

// A hub that joins a connection in use may have published something before, and delivered it locally: what Redis sent before
// it answered the PING that was sent for the hub may be the echo.
func TestAHubGetsNothingThatTheConnectionBroughtBeforeItJoined(t *testing.T) {
	var got []string
	m := &subscription{member: newMember(nil, func(_ *actor.PID, v any) { got = append(got, v.(*message).payload) })}
	m.epoch.Store(7)
	m.from.Store(3)
	l := &link{by: map[string][]*subscription{"c": {m}}}
	for _, s := range []struct {
		epoch, ponged uint64
		payload       string
	}{{7, 2, "before"}, {6, 9, "on another connection"}, {7, 3, "with the answer"}, {7, 4, "after"}} {
		(&session{link: l, epoch: s.epoch}).deliver(&redis.Message{Channel: "c", Payload: s.payload}, s.ponged)
	}
	if len(got) != 2 || got[0] != "with the answer" || got[1] != "after" {
		t.Errorf("the hub got %q", got)
	}
}

func TestAnEchoOfUnknownFateIsExpectedForTwoRoundsOfPings(t *testing.T) {
	round := func(n uint64) uint64 { return n << roundBits }
	l := newLedger()
	l.Keep("", true)
	l.Pinged(round(1))
	e := l.Enter("", actors.NewFrame([]byte("m")), nil, time.Time{}, false, 0)
	l.Answer(e, answerUnknown)
	for _, n := range []uint64{round(1) + 1, round(1) + 2, round(2), round(2) + 1} { // however many are sent for other reasons
		l.Pinged(n)
		l.Ponged(n, 1)
		if l.Empty() {
			t.Fatalf("forgotten with PING %d of round %d", n%(1<<roundBits), n>>roundBits)
		}
	}
	l.Pinged(round(3))
	if l.Ponged(round(3), 1); !l.Empty() {
		t.Error("it is remembered after two rounds")
	}
}
