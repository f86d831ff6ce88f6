package actors_test

import (
	"testing"

	"github.com/wskit/wskit/actors"
)

// Whoever broadcasts is told when a quarter of the queue is taken, in messages or bytes; not of what is held back, which waits for a
// callback and not for a turn.
func TestWhoBroadcastsLearnsThatAQueueFillsUp(t *testing.T) {
	f := actors.NewFrame([]byte("0123456789"))
	for name, c := range map[string]struct {
		bound actors.Bound
		held  bool
		want  []bool
	}{
		"messages": {bound: actors.Bound{Messages: 12}, want: []bool{false, false, true, true}},
		"bytes":    {bound: actors.Bound{Messages: 100, Bytes: 80}, want: []bool{false, true, true}},
		"held":     {bound: actors.Bound{Messages: 4}, held: true, want: []bool{false, false, false, false}},
	} {
		o := actors.NewBoundOutbox(c.bound)
		if c.held {
			o.Hold()
		}
		for i, want := range c.want {
			if got := o.Broadcast(f); got != want {
				t.Errorf("%s: message %d: %v", name, i+1, got)
			}
		}
		o.Close(&actors.Close{})
		if o.Broadcast(f) {
			t.Errorf("%s: closed, and nothing is queued any more", name)
		}
	}
}
