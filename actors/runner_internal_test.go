package actors

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestARunnerRunsEverythingAtOnceAndKeepsAFewGoroutinesForLater(t *testing.T) {
	for _, yield := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			r, hold, ran := NewRunner(2, yield), make(chan struct{}), atomic.Int32{}
			for range 5 {
				r.Schedule(func() { <-hold; ran.Add(1) })
			}
			r.Schedule(func() { ran.Add(1) }) // however many are busy
			if synctest.Wait(); ran.Load() != 1 || r.waiting.Load() != 1 {
				t.Errorf("beside 5 that are busy %d ran, and %d goroutines wait", ran.Load(), r.waiting.Load())
			}
			close(hold)
			if synctest.Wait(); ran.Load() != 6 || r.waiting.Load() != 2 {
				t.Errorf("%d of 6 ran, and %d goroutines wait, not 2", ran.Load(), r.waiting.Load())
			}
			time.Sleep(idleFor / 2)
			r.Schedule(func() { ran.Add(1) })
			time.Sleep(idleFor/2 + 1)
			if synctest.Wait(); ran.Load() != 7 || r.waiting.Load() != 1 {
				t.Errorf("%d of 7 ran, and %d goroutines wait: not the one that was used", ran.Load(), r.waiting.Load())
			}
			time.Sleep(idleFor / 2)
			if synctest.Wait(); r.waiting.Load() != 0 {
				t.Errorf("%d goroutines wait for nothing", r.waiting.Load())
			}
			r.Schedule(func() { ran.Add(1) })
			if synctest.Wait(); ran.Load() != 8 {
				t.Error("nothing runs after an idle time")
			}
			r.Close()
			r.Close()
			if synctest.Wait(); r.waiting.Load() != 0 {
				t.Errorf("%d goroutines wait after the end", r.waiting.Load())
			}
			r.Schedule(func() { ran.Add(1) })
			if synctest.Wait(); ran.Load() != 9 || r.waiting.Load() != 0 {
				t.Errorf("after the end %d ran, and %d goroutines wait", ran.Load()-8, r.waiting.Load())
			}
		})
	}
}
