package hubactor

import (
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

// Whether a foreign subscriber keeps up is not a matter of how much had come when it got its turn.
func TestAQuickSubscriberIsNotTakenForASlowOneSinceItsBatchIsLarge(t *testing.T) {
	for _, c := range []struct {
		took     time.Duration
		messages int
		want     time.Duration
	}{
		{20 * time.Millisecond, 1, 20 * time.Millisecond},
		{20 * time.Millisecond, actors.LeastTurn, 20 * time.Millisecond},
		{20 * time.Millisecond, 2 * actors.LeastTurn, 10 * time.Millisecond},
		{80 * time.Millisecond, ForeignBuf, 80 * time.Millisecond * actors.LeastTurn / ForeignBuf},
	} {
		if got := share(c.took, c.messages); got != c.want {
			t.Errorf("%d messages in %v: %v a turn, want %v", c.messages, c.took, got, c.want)
		}
	}
}
