package actors_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

func TestAnOutboxTakesNFramesAndDropsTheNext(t *testing.T) {
	for _, limit := range []int{-1, 0, 1, 2, 64} {
		o, r, d := outbox(limit)
		n := max(limit, 1)
		var want []string
		for i := range n {
			must(t, o.Send(frame(fmt.Sprint(i))))
			want = append(want, fmt.Sprint(i))
		}
		if err := o.Send(frame("one too many")); !errors.Is(err, actors.ErrSendBufferFull) {
			t.Errorf("limit %d: frame %d: %v", limit, n+1, err)
		}
		o.PostUserMessage(frame("and a broadcast")) // dropped too, silently for the sender
		equal(t, "messages waiting", o.UserMessageCount(), n)
		d.drain()
		r.expect(t, want)
		must(t, o.Send(frame("again")))
		d.drain()
		r.expect(t, &actors.Overflowed{Count: 2}, []string{"again"})
	}
}

func TestADroppingEpisodeIsReportedOnceWithItsNumber(t *testing.T) {
	o, r, d := outbox(2)
	for episode := 1; episode <= 3; episode++ {
		for range 2 + episode {
			o.PostUserMessage(frame("x"))
		}
		d.drain()
		must(t, o.Send(frame("y")))
		d.drain()
		r.expect(t, []string{"x", "x"}, &actors.Overflowed{Count: episode}, []string{"y"})
		must(t, o.Send(frame("z")))
		d.drain()
		r.expect(t, []string{"z"})
	}
}

func TestCloseReportsAnEpisodeThatIsStillOpen(t *testing.T) {
	o, r, d := outbox(1)
	o.PostUserMessage(frame("x"))
	o.PostUserMessage(frame("dropped"))
	o.Close(&actors.Close{Reason: actors.ReasonPeer})
	d.drain()
	r.expect(t, &actors.Overflowed{Count: 1}, &actors.Close{Reason: actors.ReasonPeer}, []string{"x"})
}

func TestControlIsUnboundedAndGoesBeforeFrames(t *testing.T) {
	o, r, d := outbox(1)
	must(t, o.Send(frame("frame")))
	var want []any
	for i := range 10 {
		o.PostUserMessage(i)
		want = append(want, i)
	}
	equal(t, "messages waiting", o.UserMessageCount(), 11)
	d.drain()
	r.expect(t, append(want, []string{"frame"})...)
	equal(t, "messages waiting", o.UserMessageCount(), 0)
}

func TestControlPostedBetweenBatchesGoesBeforeTheNextBatch(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(m any) {
		if _, ok := m.(*actors.Batch); ok && len(r.got) == 1 {
			o.PostUserMessage(frame("later"))
			o.PostUserMessage("control")
		}
	}
	must(t, o.Send(frame("first")))
	d.drain()
	r.expect(t, []string{"first"}, "control", []string{"later"})
}

func TestSystemMessagesGoFirst(t *testing.T) {
	o, r, d := outbox(8)
	must(t, o.Send(frame("frame")))
	o.PostUserMessage("control")
	o.PostSystemMessage("system")
	d.drain()
	r.expect(t, "system", "control", []string{"frame"})
}

func TestWhatIsQueuedBecomesOneBatchInOrder(t *testing.T) {
	o, r, d := outbox(8)
	var bytes int
	r.hook = func(m any) { bytes += m.(*actors.Batch).Bytes }
	must(t, o.Send(frame("a")))
	o.PostUserMessage(frame("bc"))
	must(t, o.Send(frame("")))
	o.PostUserMessage(frame("def"))
	d.drain()
	r.expect(t, []string{"a", "bc", "", "def"})
	equal(t, "bytes", bytes, 6)
}

func TestABatchOfSeveralFramesStaysWithin16KiB(t *testing.T) {
	const k = 1 << 10
	for name, c := range map[string]struct{ sizes, batches []int }{
		"exactly full":          {[]int{8 * k, 8 * k}, []int{2}},
		"one byte over":         {[]int{8 * k, 8*k + 1}, []int{1, 1}},
		"one frame of any size": {[]int{1 << 20}, []int{1}},
		"big, small":            {[]int{1 << 20, 1}, []int{1, 1}},
		"small, big":            {[]int{1, 16 * k}, []int{1, 1}},
		"small, big, smalls":    {[]int{1, 1, 16 * k, 1, 0, 1}, []int{2, 1, 3}},
		"many":                  {[]int{5 * k, 5 * k, 5 * k, 5 * k, 5 * k, 5 * k, 5 * k}, []int{3, 3, 1}},
		"empty ones at the end": {[]int{16 * k, 0, 0, 1, 0}, []int{3, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			o, r, d := outbox(16)
			var batches, bytes []int
			r.hook = func(m any) {
				b := m.(*actors.Batch)
				batches, bytes = append(batches, len(b.Frames)), append(bytes, b.Bytes)
			}
			var want []string
			for i, n := range c.sizes {
				want = append(want, strings.Repeat(string(rune('a'+i)), n))
				must(t, o.Send(frame(want[i])))
			}
			d.drain()
			equalSlices(t, "frames per batch", batches, c.batches)
			equalSlices(t, "all payloads", r.frames(), want)
			at := 0
			for i, n := range c.batches {
				sum := 0
				for _, size := range c.sizes[at : at+n] {
					sum += size
				}
				equal(t, "Bytes", bytes[i], sum)
				at += n
			}
		})
	}
}

func TestFramesWaitWhilePausedAndControlDoesNot(t *testing.T) {
	o, r, d := outbox(8)
	o.Pause()
	must(t, o.Send(frame("a")))
	equal(t, "runs scheduled", d.pending(), 0)
	o.PostUserMessage("control")
	d.drain()
	r.expect(t, "control")
	o.PostUserMessage(frame("b"))
	o.Resume()
	d.drain()
	r.expect(t, []string{"a", "b"})
}

func TestAnOutboxIsBornPaused(t *testing.T) {
	o, r, d := actors.NewOutbox(8), new(recorder), new(manual)
	attach(o, r, d)
	must(t, o.Send(frame("a")))
	d.drain()
	r.expect(t)
	o.Resume()
	d.drain()
	r.expect(t, []string{"a"})
}

func TestPauseWithinReceiveKeepsTheNextBatchBack(t *testing.T) {
	o, r, d := outbox(8)
	r.hook = func(any) {
		if len(r.got) == 1 {
			o.Pause()
			must(t, o.Send(frame("b")))
		}
	}
	must(t, o.Send(frame("a")))
	d.drain()
	r.expect(t, []string{"a"})
	o.Resume()
	d.drain()
	r.expect(t, []string{"b"})
}

func TestWhileHeldDirectSendsPassAndBroadcastsFollowInOrder(t *testing.T) {
	o, r, d := outbox(8)
	o.Hold()
	o.PostUserMessage(frame("broadcast 1"))
	must(t, o.Send(frame("direct 1")))
	o.PostUserMessage(frame("broadcast 2"))
	equal(t, "drained", o.Drained(), false)
	d.drain()
	r.expect(t, []string{"direct 1"})
	equal(t, "drained while broadcasts are held", o.Drained(), false)
	must(t, o.Send(frame("direct 2")))
	o.Release()
	o.PostUserMessage(frame("broadcast 3"))
	d.drain()
	r.expect(t, []string{"direct 2", "broadcast 1", "broadcast 2", "broadcast 3"})
	equal(t, "drained", o.Drained(), true)
}

func TestReleaseWithNothingElseQueuedSchedulesTheHeldOnes(t *testing.T) {
	o, r, d := outbox(8)
	o.Hold()
	o.PostUserMessage(frame("a"))
	equal(t, "runs scheduled", d.pending(), 0)
	o.Release()
	o.Release()
	d.drain()
	r.expect(t, []string{"a"})
}

func TestHeldBroadcastsAreBoundedOnTheirOwn(t *testing.T) {
	o, r, d := outbox(2)
	o.Hold()
	for _, s := range []string{"a", "b", "dropped"} {
		o.PostUserMessage(frame(s))
	}
	must(t, o.Send(frame("direct 1"))) // ends the episode
	must(t, o.Send(frame("direct 2")))
	if err := o.Send(frame("dropped")); !errors.Is(err, actors.ErrSendBufferFull) {
		t.Error(err)
	}
	o.Release()
	if err := o.Send(frame("dropped")); !errors.Is(err, actors.ErrSendBufferFull) {
		t.Errorf("over the limit after Release: %v", err)
	}
	d.drain()
	r.expect(t, &actors.Overflowed{Count: 1}, []string{"direct 1", "direct 2", "a", "b"})
	o.PostUserMessage(frame("c"))
	d.drain()
	r.expect(t, &actors.Overflowed{Count: 2}, []string{"c"})
}

func TestCloseRefusesFramesAndDeliversWhatWasAccepted(t *testing.T) {
	o, r, d := outbox(8)
	equal(t, "reason while open", o.Reason(), actors.ReasonNone)
	must(t, o.Send(frame("a")))
	first := &actors.Close{Reason: actors.ReasonUnregistered}
	equal(t, "the first Close counts", o.Close(first), true)
	equal(t, "the second Close counts", o.Close(&actors.Close{Reason: actors.ReasonShutdown}), false)
	equal(t, "reason", o.Reason(), actors.ReasonUnregistered)
	if err := o.Send(frame("late")); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("Send on a closed outbox: %v", err)
	}
	o.PostUserMessage(frame("late broadcast"))
	o.PostUserMessage("late control")
	equal(t, "drained", o.Drained(), false)
	d.drain()
	r.expect(t, first, "late control", []string{"a"})
	equal(t, "drained", o.Drained(), true)
}

func TestCloseGetsThroughAPausedAndHeldOutbox(t *testing.T) {
	o, r, d := outbox(8)
	o.Pause()
	o.Hold()
	must(t, o.Send(frame("direct")))
	o.PostUserMessage(frame("broadcast"))
	o.Close(&actors.Close{Reason: actors.ReasonShutdown})
	d.drain()
	r.expect(t, &actors.Close{Reason: actors.ReasonShutdown})
	equal(t, "drained", o.Drained(), false)
	o.Release()
	o.Resume()
	d.drain()
	r.expect(t, []string{"direct", "broadcast"})
	equal(t, "drained", o.Drained(), true)
}

func TestACloseWithoutAReasonClosesAllTheSame(t *testing.T) {
	o, _, _ := outbox(8)
	equal(t, "the first Close counts", o.Close(new(actors.Close)), true)
	equal(t, "the second Close counts", o.Close(new(actors.Close)), false)
	equal(t, "reason", o.Reason(), actors.ReasonClosed)
	if err := o.Send(frame("late")); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("Send on a closed outbox: %v", err)
	}
}

func TestJoinedIsANoteThatOutlivesEverything(t *testing.T) {
	o, _, _ := outbox(1)
	equal(t, "at first", o.Joined(), false)
	equal(t, "before joining", o.SetJoined(true), false)
	equal(t, "before joining twice", o.SetJoined(true), true)
	o.Discard()
	equal(t, "after Discard", o.Joined(), true)
	equal(t, "before leaving", o.SetJoined(false), true)
	equal(t, "at last", o.Joined(), false)
}

func TestNothingRunsBeforeStartAndStartedComesFirst(t *testing.T) {
	o, r, d := actors.NewOutbox(8), new(recorder), new(manual)
	o.Resume()
	must(t, o.Send(frame("a")))
	o.PostUserMessage("control")
	o.RegisterHandlers(r, d)
	// protoactor is between RegisterHandlers and Start; a client on another goroutine is not.
	o.PostUserMessage("more control")
	o.Close(&actors.Close{Reason: actors.ReasonClosed})
	equal(t, "runs scheduled before Start", d.pending(), 0)
	d.drain()
	o.PostSystemMessage(&actor.Started{})
	o.Start()
	d.drain()
	r.expect(t, &actor.Started{}, "control", "more control", &actors.Close{Reason: actors.ReasonClosed}, []string{"a"})
}
