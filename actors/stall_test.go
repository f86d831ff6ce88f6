package actors_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
)

func TestAStallIsGivenUpAfterTheWaitAndNotWhileSomethingMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var moving atomic.Bool
		gaveUp := make(chan time.Time, 1)
		moving.Store(true)
		s := actors.NewStall(time.Second, moving.Load, func() { gaveUp <- time.Now() })
		time.Sleep(time.Minute)
		s.Moved()
		moving.Store(false)
		stopped := time.Now()
		if after := (<-gaveUp).Sub(stopped); after < time.Second || after > time.Second*5/4 {
			t.Errorf("given up %v after the last movement", after)
		}
		s.Stop()
	})
}

func TestAStallThatIsStoppedGivesNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := actors.NewStall(time.Second, func() bool { return false }, func() { t.Error("given up") })
		time.Sleep(900 * time.Millisecond)
		s.Stop()
		time.Sleep(time.Minute)
	})
}

func TestWhatIsLateByMoreThanAnEighthOfTheWaitWasNotWaitedFor(t *testing.T) {
	due := time.Now()
	for _, c := range []struct {
		late, wait time.Duration
		want       bool
	}{
		{0, time.Second, false},
		{-time.Second, time.Second, false},
		{125 * time.Millisecond, time.Second, false},
		{126 * time.Millisecond, time.Second, true},
		{50 * time.Millisecond, time.Millisecond, false}, // for want of a processor alone
		{51 * time.Millisecond, time.Millisecond, true},
	} {
		equal(t, c.late.String()+" late", actors.StoodStill(due, due.Add(c.late), c.wait), c.want)
	}
}
