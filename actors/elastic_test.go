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

// What an Elastic promises: after tookLong at most a job has lost its place, nobody waits for it longer than tooLong, and after lost not at all.
const (
	tookLong = 2 * time.Millisecond
	tooLong  = 20 * time.Millisecond
	lost     = 100 * time.Millisecond
)

func TestAJobThatBlocksLosesItsPlace(t *testing.T) {
	for _, places := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			p, hold, ran := actors.NewElastic(places), make(chan struct{}), atomic.Int64{}
			for range places {
				p.Schedule(func() { <-hold })
			}
			for range 100 {
				p.Schedule(func() { ran.Add(1) })
			}
			synctest.Wait()
			equal(t, "jobs run while all places are taken", ran.Load(), 0)
			time.Sleep(tookLong)
			synctest.Wait()
			equal(t, "jobs run after that", ran.Load(), 100)
			p.Schedule(func() { ran.Add(1) })
			synctest.Wait()
			equal(t, "jobs run beside those that block", ran.Load(), 101)
			close(hold)
			synctest.Wait()
			p.Schedule(func() { ran.Add(1) })
			synctest.Wait()
			equal(t, "jobs run after all", ran.Load(), 102)
		})
	}
}

func TestACrowdThatBlocksIsPassedInAFewLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hold, ran := actors.NewElastic(2), make(chan struct{}), atomic.Int64{}
		const crowd = 5000
		for range crowd {
			p.Schedule(func() { <-hold })
		}
		p.Schedule(func() { ran.Add(1) })
		start := time.Now()
		p.Settle()
		if took := time.Since(start); took > 12*tookLong+tooLong { // 2 to the 12th are enough
			t.Errorf("settled after %v", took)
		}
		equal(t, "jobs run behind the crowd", ran.Load(), 1)
		p.Schedule(func() { ran.Add(1) })
		start = time.Now()
		for range 100 {
			p.Settle()
		}
		if took := time.Since(start); took > lost {
			t.Errorf("the crowd costs another %v", took)
		}
		start = time.Now()
		p.Settle()
		equal(t, "time that the crowd costs then", time.Since(start), 0)
		equal(t, "jobs run", ran.Load(), 2)
		close(hold)

		// The additional places are gone.
		synctest.Wait()
		var at atomic.Int64
		for range 100 {
			p.Schedule(func() { at.Add(1); time.Sleep(tookLong / 4); at.Add(-1) })
		}
		synctest.Wait()
		equal(t, "jobs at once", at.Load(), 2)
		p.Settle()
	})
}

// One that takes longer than Settle waits is waited for again, or a moment without a processor would count for a peer that does
// not read; but not for long.
func TestSettleWaitsForASlowJobButNotForEver(t *testing.T) {
	for name, schedule := range map[string]func(*actors.Elastic, func()){
		"in the queue": (*actors.Elastic).Schedule, "apart": (*actors.Elastic).ScheduleApart,
	} {
		synctest.Test(t, func(t *testing.T) {
			p, hold := actors.NewElastic(1), make(chan struct{})
			p.Settle() // an idle pool has settled
			for _, c := range []struct{ takes, want time.Duration }{{tooLong / 2, tooLong / 2}, {time.Hour, tooLong}} {
				schedule(p, func() {
					select {
					case <-time.After(c.takes):
					case <-hold:
					}
				})
				start := time.Now()
				p.Settle()
				if took := time.Since(start); took < c.want-time.Millisecond || took > c.want+time.Millisecond {
					t.Errorf("%s: a job of %v: settled after %v", name, c.takes, took)
				}
			}
			start := time.Now()
			for range 4 {
				p.Settle()
			}
			if took := time.Since(start); took < lost-tooLong-5*time.Millisecond || took > lost-tooLong+5*time.Millisecond {
				t.Errorf("%s: another four: settled after %v", name, took)
			}
			start = time.Now()
			p.Settle()
			equal(t, name+": time that the next takes", time.Since(start), 0)
			close(hold)
		})
	}
}

func TestSettleWaitsForNothingThatIsScheduledLater(t *testing.T) {
	for name, schedule := range map[string]func(*actors.Elastic, func()){
		"in the queue": (*actors.Elastic).Schedule, "apart": (*actors.Elastic).ScheduleApart,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := actors.NewElastic(1)
			var stop atomic.Bool
			var again func()
			again = func() { // one that is always at work, and never for long
				time.Sleep(tooLong / 8)
				if !stop.Load() {
					schedule(p, again)
				}
				time.Sleep(tooLong / 8) // and beside the next
			}
			schedule(p, again)
			start := time.Now()
			p.Settle()
			if took := time.Since(start); took > tooLong {
				t.Errorf("%s: settled after %v", name, took)
			}
			stop.Store(true)
			time.Sleep(tooLong)
		})
	}
}

func TestAJobApartTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hold, ran := actors.NewElastic(1), make(chan struct{}), atomic.Int64{}
		for range 3 {
			p.ScheduleApart(func() { ran.Add(1); <-hold })
		}
		p.Schedule(func() { ran.Add(10) })
		synctest.Wait()
		equal(t, "jobs run", ran.Load(), 13)
		close(hold)
	})
}

func TestElasticKeepsTheOrderAndThePlacesOfJobsThatDoNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := actors.NewElastic(1)
		var got, want []int
		for i := range 500 { // all of them take long, and none of them
			want = append(want, i)
			p.Schedule(func() {
				time.Sleep(tookLong / 4)
				got = append(got, i)
			})
		}
		p.Settle()
		equalSlices(t, "jobs run", got, want)
	})
}

func TestAJobThatEndsItsGoroutineEndsNoOtherJob(t *testing.T) {
	pool, elastic := actors.NewPool(1), actors.NewElastic(1)
	for name, schedule := range map[string]func(func()){"pool": pool.Schedule, "elastic": elastic.Schedule, "apart": elastic.ScheduleApart} {
		var ran sync.WaitGroup
		ran.Add(100)
		for i := range 100 {
			schedule(func() {
				defer ran.Done()
				if i%10 == 0 {
					runtime.Goexit()
				}
			})
		}
		ran.Wait()
		pool.Settle()
		elastic.Settle()
		equal(t, name+": throughput", elastic.Throughput(), pool.Throughput())
	}
}

func TestTheEndOfAGoroutineFreesItsPlaceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, ran := actors.NewElastic(1), atomic.Int64{}
		p.Schedule(runtime.Goexit)
		p.Schedule(func() { ran.Add(1) })
		synctest.Wait() // no time passes, and nobody looks
		equal(t, "jobs run", ran.Load(), 1)
	})
}

func TestAnIdleElasticHasNoGoroutinesAndNoTimer(t *testing.T) {
	p := actors.NewElastic(2) // which outlives the bubbles, whose timers do not
	for range 3 {
		synctest.Test(t, func(t *testing.T) {
			hold, ran := make(chan struct{}), atomic.Int64{}
			for range 10 {
				p.Schedule(func() { <-hold })
				p.ScheduleApart(func() {})
			}
			p.Schedule(func() { ran.Add(1) })
			time.Sleep(tooLong) // somebody looks in this bubble too
			synctest.Wait()
			equal(t, "jobs run behind those that block", ran.Load(), 1)
			close(hold)
			p.Settle()
		})
	}
}

// Jobs of which some block for a while, many at once, under the race detector: none is lost, and none runs twice.
func TestElasticRunsEachJobOnce(t *testing.T) {
	p := actors.NewElastic(2)
	const jobs = 20_000
	ran := make([]atomic.Int32, jobs)
	var done, callers sync.WaitGroup
	done.Add(jobs)
	for c := range 4 {
		callers.Go(func() {
			for i := c; i < jobs; i += 4 {
				schedule := p.Schedule
				if i%89 == 0 {
					schedule = p.ScheduleApart
				}
				schedule(func() {
					defer done.Done()
					ran[i].Add(1)
					if i%997 == 0 {
						<-time.After(2 * tookLong)
					}
				})
				if i%4001 == 0 {
					p.Settle()
				}
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
