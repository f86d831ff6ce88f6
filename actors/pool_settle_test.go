package actors_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wskit/wskit/actors"
)

func TestSettleWaitsForWhatWasScheduledBeforeAndForNothingElse(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			p := actors.NewPool(workers)
			p.Settle() // an idle pool has settled
			hold := make(chan struct{})
			p.Schedule(func() { <-hold })
			for range 100 {
				p.Schedule(func() {})
			}
			var settled atomic.Bool
			go func() {
				p.Settle()
				settled.Store(true)
			}()
			synctest.Wait() // all that can run has, on the other workers
			if settled.Load() {
				t.Fatalf("%d workers: settled while a job was under way", workers)
			}
			close(hold)
			synctest.Wait()
			if !settled.Load() {
				t.Fatalf("%d workers: not settled though every job has run", workers)
			}

			var stop atomic.Bool
			var again func()
			again = func() {
				if !stop.Load() {
					p.Schedule(again)
				}
			}
			p.Schedule(again)
			p.Settle() // though the pool is never idle
			stop.Store(true)
		})
	}
}
