package actors_test

import (
	"fmt"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

// A client that has ended is kept for as long as somebody refers to it; its outbox keeps nothing of its connection.
func TestADiscardedOutboxLetsGoOfWhatAbortWouldCall(t *testing.T) {
	o, _, d := outbox(8)
	cuts := 0
	o.OnAbort(func() { cuts++ })
	o.Abort()
	equal(t, "cut before", cuts, 1)
	d.drain()
	o.Discard()
	o.Abort()
	equal(t, "cut after", cuts, 1)
}

// protoactor answers a Watch of an actor that has stopped by handing it to that actor, as long as its mailbox still runs.
func TestAWatchThatComesWhileTheLastRunEndsIsAnswered(t *testing.T) {
	o, r, d := outbox(8)
	watch := &actor.Watch{}
	r.hook = func(m any) {
		if m == "stop" {
			o.Discard()
			o.PostSystemMessage(watch)
			o.PostSystemMessage(&actor.Restart{}) // would undo the stop
			o.PostUserMessage("too late")
		}
	}
	o.PostUserMessage("stop")
	d.drain()
	r.expect(t, "stop", watch)
	o.PostSystemMessage(watch)
	equal(t, "runs after the last", d.pending(), 0)
}

// What many connections had queued at once is no measure of what they will need: memory that was needed for that goes back to the
// heap, not to those who share it.
func TestHugeBatchesAndBuffersAreNotKept(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	const keptFrames, keptBytes = 1024, 128 << 10
	o, r, d := outbox(10_000)
	largest := 0
	r.hook = func(m any) { largest = max(largest, cap(m.(*actors.Batch).Frames)) }
	deliver := func(n int) int {
		largest = 0
		o.Pause()
		for range n {
			must(t, o.Send(frame("")))
		}
		o.Resume()
		d.drain()
		return largest
	}
	buffer := func(n int) int {
		b := &actors.Batch{Frames: []*actors.Frame{actors.NewFrame(pattern(n)), frame("x")}}
		g := b.Gather((*actors.Frame).WebSocket)
		defer g.Release()
		return cap(g.Bytes)
	}
	if got := deliver(5000); got < 5000 {
		t.Fatal(fmt.Sprint("a batch for ", got))
	}
	if got := buffer(2 * keptBytes); got < 2*keptBytes {
		t.Fatal(fmt.Sprint("a buffer of ", got))
	}
	for range 100 {
		if got := deliver(1); got > keptFrames {
			t.Fatalf("a batch for %d frames came back", got)
		}
		if got := buffer(1); got > keptBytes {
			t.Fatalf("a buffer of %d bytes came back", got)
		}
	}
}

// The close code is that of the Close that began the end; 1006 when writing failed, since nothing more can be said then; and 0 of what has none.
func TestTheCloseCodeIsThatOfWhatBeganTheEnd(t *testing.T) {
	for _, c := range []struct {
		first actors.Close
		code  uint16
	}{
		{actors.Close{Reason: actors.ReasonClosed}, 1000},
		{actors.Close{Reason: actors.ReasonShutdown}, 1001},
		{actors.Close{Reason: actors.ReasonPing}, 1011},
		{actors.Close{Reason: actors.ReasonWrite}, 1006},
		{actors.Close{Reason: actors.ReasonPeer, Code: 4000}, 4000},
		{actors.Close{Reason: actors.ReasonDisconnected, Code: 4001}, 4001},
	} {
		framed, plain := actors.NewOutbox(1), actors.NewOutbox(1)
		framed.SetTransport(actors.TransportWebSocket)
		for _, box := range []*actors.Outbox{framed, plain} {
			box.Close(&c.first)
			box.Close(&actors.Close{Reason: actors.ReasonDisconnected, Code: 4999})
		}
		if got := framed.CloseCode(); got != c.code || plain.CloseCode() != 0 {
			t.Errorf("%v: %d, want %d; %d", c.first.Reason, got, c.code, plain.CloseCode())
		}
	}
}
