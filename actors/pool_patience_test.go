package actors_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
)

const enough = time.Millisecond

func TestAJobThatBlocksKeepsOthersWaitingForTwiceThePatienceAtMost(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			p, hold, ran := actors.NewPool(workers, enough), make(chan struct{}), atomic.Int64{}
			for range workers {
				p.Schedule(func() { <-hold })
				synctest.Wait() // one for each worker
			}
			for range 100 {
				p.Schedule(func() { ran.Add(1) })
			}
			synctest.Wait()
			equal(t, "jobs run beside as many as there are workers", ran.Load(), 0)
			time.Sleep(2 * enough)
			synctest.Wait()
			equal(t, "jobs run after twice the patience", ran.Load(), 100)
			p.Schedule(func() { ran.Add(1) })
			synctest.Wait()
			equal(t, "jobs run, those that are stuck having lost their places", ran.Load(), 101)
			close(hold)
			synctest.Wait()
			p.Schedule(func() { ran.Add(1) })
			synctest.Wait()
			equal(t, "jobs run after all", ran.Load(), 102)
		})
	}
}

func TestWhatWasInHandBehindAJobThatBlocksRunsOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hold := actors.NewPool(1, enough), make(chan struct{})
		var mu sync.Mutex
		var got, want []int
		p.Schedule(func() { // while this one runs, the rest waits in the queue, to be taken at once
			for i := range 100 {
				want = append(want, i)
				p.Schedule(func() {
					mu.Lock()
					got = append(got, i)
					mu.Unlock()
					if i == 7 || i == 8 || i == 50 {
						<-hold
					}
				})
			}
		})
		for range 6 { // two looks for each
			synctest.Wait()
			time.Sleep(enough)
		}
		synctest.Wait()
		equalSlices(t, "jobs run", got, want)
		close(hold)
		synctest.Wait()
		equalSlices(t, "jobs run at the end", got, want)
	})
}

func TestAPoolWithoutPatienceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hold, ran := actors.NewPool(1, 0), make(chan struct{}), atomic.Int64{}
		p.Schedule(func() { <-hold })
		p.Schedule(func() { ran.Add(1) })
		time.Sleep(time.Hour)
		equal(t, "jobs run", ran.Load(), 0)
		close(hold)
		synctest.Wait()
		equal(t, "jobs run", ran.Load(), 1)
	})
}

func TestSettleDoesNotWaitForAJobThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hold, ran := actors.NewPool(2, enough), make(chan struct{}), atomic.Int64{}
		defer close(hold)
		for i := range 100 {
			p.Schedule(func() {
				if ran.Add(1); i == 40 {
					<-hold
				}
			})
		}
		start := time.Now()
		p.Settle()
		equal(t, "jobs begun", ran.Load(), 100)
		if took := time.Since(start); took > 2*enough {
			t.Errorf("settled after %v", took)
		}
		p.Settle()
		if took := time.Since(start); took > 2*enough {
			t.Errorf("settled again after %v", took)
		}
	})
}

func TestAJobThatIsAtWorkAgainAndAgainKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := actors.NewPool(1, enough)
		var most, at atomic.Int64
		for range 50 { // each shorter than the patience, all of them longer
			p.Schedule(func() {
				most.Store(max(most.Load(), at.Add(1)))
				time.Sleep(enough * 9 / 10)
				at.Add(-1)
			})
		}
		time.Sleep(time.Second)
		equal(t, "most at once", most.Load(), 1)
	})
}

func TestAJobThatEndsItsGoroutineEndsNoOtherJob(t *testing.T) {
	for _, p := range []*actors.Pool{actors.NewPool(1, 0), actors.NewPool(2, enough)} {
		var ran sync.WaitGroup
		ran.Add(100)
		for i := range 100 {
			p.Schedule(func() {
				defer ran.Done()
				if i%10 == 0 {
					runtime.Goexit()
				}
			})
		}
		ran.Wait()
		p.Settle()
	}
}

// Jobs that block at random, many at once, under the race detector: none is lost, and none runs twice.
func TestAPatientPoolRunsEachJobOnce(t *testing.T) {
	p := actors.NewPool(2, 50*time.Microsecond)
	const jobs = 20_000
	ran := make([]atomic.Int32, jobs)
	var done, callers sync.WaitGroup
	done.Add(jobs)
	for c := range 4 {
		callers.Go(func() {
			for i := c; i < jobs; i += 4 {
				p.Schedule(func() {
					defer done.Done()
					ran[i].Add(1)
					if i%997 == 0 {
						spin(200 * time.Microsecond)
					}
				})
			}
		})
	}
	callers.Wait()
	p.Settle()
	done.Wait()
	for i := range ran {
		if n := ran[i].Load(); n != 1 {
			t.Errorf("job %d ran %d times", i, n)
		}
	}
}

// spin keeps a goroutine busy.
func spin(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
	}
}
