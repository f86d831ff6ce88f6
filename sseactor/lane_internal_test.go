package sseactor

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wskit/wskit/actors"
)

func TestAStreamWhoseClientTakesItsTimeLeavesThePoolUntilItHasKeptUpForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, hold, l := actors.NewPool(1), make(chan struct{}), new(lane)
		l.release(pool)
		pool.Schedule(func() { <-hold })
		synctest.Wait()
		var ran atomic.Int32
		schedule := func(want int32) {
			t.Helper()
			l.Schedule(func() { ran.Add(1) })
			if synctest.Wait(); ran.Load() != want {
				t.Errorf("%d runs, want %d", ran.Load(), want)
			}
		}
		l.wrote(slowWrite - 1)
		schedule(0) // behind what the pool is at
		l.wrote(slowWrite)
		schedule(1)
		for range probation - 1 {
			l.wrote(0)
		}
		schedule(2)
		l.wrote(slowWrite) // it begins anew
		for range probation - 1 {
			l.wrote(0)
		}
		schedule(3)
		l.wrote(0)
		schedule(3)
		close(hold)
		if synctest.Wait(); ran.Load() != 5 {
			t.Errorf("%d of 5 ran", ran.Load())
		}
	})
}

func TestNothingRunsBeforeTheStreamIsAttached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, l := actors.NewPool(1), new(lane)
		var ran atomic.Int32
		l.Schedule(func() { ran.Add(1) })
		if synctest.Wait(); ran.Load() != 0 {
			t.Error("it ran")
		}
		l.release(pool)
		l.release(nil) // the first call counts
		if synctest.Wait(); ran.Load() != 1 {
			t.Errorf("%d runs, want 1", ran.Load())
		}
		l.Schedule(func() { ran.Add(1) })
		if synctest.Wait(); ran.Load() != 2 {
			t.Errorf("%d runs, want 2", ran.Load())
		}
	})
}
