package actors_test

import (
	"sync/atomic"
	"testing"

	"github.com/wskit/wskit/actors"
)

func TestSettleWaitsForWhatWasScheduledBeforeAndForNothingElse(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		p := actors.NewPool(workers)
		p.Settle() // an idle pool has settled
		var before atomic.Int64
		hold := make(chan struct{})
		for range 1000 {
			p.Schedule(func() { before.Add(1) })
		}
		p.Schedule(func() { <-hold }) // the last of them
		settled := make(chan int64)
		go func() {
			p.Settle()
			settled <- before.Load()
		}()
		select {
		case <-settled:
			t.Fatalf("%d workers: settled while a job was under way", workers)
		default:
		}
		var later func()
		later = func() {
			if before.Load() >= 0 {
				p.Schedule(later) // for ever
			}
		}
		p.Schedule(later)
		close(hold)
		equal(t, "jobs that had run", <-settled, 1000)
		before.Store(-1 << 40)
		p.Settle()
		p.Settle()
	}
}
