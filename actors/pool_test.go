package actors_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/wskit/wskit/actors"
)

func TestAPoolRunsAtMostLimitJobsAtOnce(t *testing.T) {
	for limit, want := range map[int]int{1: 1, 3: 3, 0: runtime.GOMAXPROCS(0), -1: runtime.GOMAXPROCS(0)} {
		synctest.Test(t, func(t *testing.T) {
			p := actors.NewPool(limit)
			var busy, most, ran atomic.Int64
			release := make(chan struct{})
			for range 1000 {
				p.Schedule(func() {
					if n := busy.Add(1); n > most.Load() {
						most.Store(n)
					}
					<-release
					busy.Add(-1)
					ran.Add(1)
				})
				synctest.Wait() // a worker takes one job, then the next worker one: all of them get to work
			}
			equal(t, "jobs at once", busy.Load(), int64(want))
			close(release)
			synctest.Wait()
			equal(t, "most at once", most.Load(), int64(want))
			equal(t, "jobs run", ran.Load(), 1000)
		})
	}
}

func TestAPoolOfOneKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := actors.NewPool(1)
		var got, want []int
		p.Schedule(func() { // while this one runs, the rest waits in the queue
			for i := range 200 {
				p.Schedule(func() {
					got = append(got, i)
					if i < 5 {
						p.Schedule(func() { got = append(got, 1000+i) })
					}
				})
				want = append(want, i)
			}
		})
		synctest.Wait()
		equalSlices(t, "jobs run", got, append(want, 1000, 1001, 1002, 1003, 1004))
	})
}

func TestAPoolLosesNoJobHoweverManyScheduleAtOnce(t *testing.T) {
	p := actors.NewPool(2)
	var jobs, callers sync.WaitGroup
	var ran atomic.Int64
	jobs.Add(8 * 5000 * 2)
	for range 8 {
		callers.Go(func() {
			for range 5000 {
				p.Schedule(func() {
					p.Schedule(func() { ran.Add(1); jobs.Done() })
					ran.Add(1)
					jobs.Done()
				})
			}
		})
	}
	callers.Wait()
	jobs.Wait()
	equal(t, "jobs run", ran.Load(), 8*5000*2)
}

func TestAnIdlePoolHasNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a bubble does not end while a goroutine of it is left
		p := actors.NewPool(4)
		for range 3 {
			for range 100 {
				p.Schedule(func() {})
			}
			synctest.Wait()
		}
	})
}

func TestThroughputIsWhatAnOutboxHandlesInARow(t *testing.T) {
	equal(t, "throughput", actors.NewPool(1).Throughput(), 32)
}
