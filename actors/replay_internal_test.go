package actors

import "testing"

// What is replayed does not count against the bound, held back or not, also when what was sent meanwhile has gone out.
func TestAReplayLeavesTheBoundToWhatFollows(t *testing.T) {
	for name, hold := range map[string]bool{"queued": false, "held": true} {
		o := NewBoundOutbox(Bound{Messages: 2, Overflow: Disconnect})
		if hold {
			o.Hold()
			_ = o.Send(NewFrame(nil))
		}
		for range 5 {
			o.Replay(NewFrame(nil))
		}
		if hold {
			o.take() // as the actor does
		}
		o.Broadcast(NewFrame(nil))
		o.Broadcast(NewFrame(nil))
		if r := o.Reason(); r != ReasonNone {
			t.Errorf("%s: closed, %v, with room for two", name, r)
		}
		o.Broadcast(NewFrame(nil))
		if r := o.Reason(); r != ReasonSlow {
			t.Errorf("%s: %v, with one too many", name, r)
		}
	}
}
