package actors

import (
	"testing"
	"testing/synctest"
)

func TestAPoolThatIsNeverIdleKeepsAShortQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(1)
		const ready, rounds = 100, 100_000 // as many mailboxes that are always ready as the queue is long
		left, longest := rounds, 0
		var job func()
		job = func() {
			if left--; left >= ready {
				p.Schedule(job)
			}
			p.mu.Lock()
			longest = max(longest, cap(p.queue.items))
			p.mu.Unlock()
		}
		p.Schedule(func() {
			for range ready {
				p.Schedule(job)
			}
		})
		synctest.Wait()
		if left != 0 {
			t.Errorf("%d jobs were not run", left)
		}
		if longest > 16*ready {
			t.Errorf("a queue of %d jobs grew to room for %d", ready, longest)
		}
	})
}

func TestAnIdlePoolReleasesItsQueueAndItsJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(2)
		job := func() {}
		for range 1 << 15 {
			p.Schedule(job)
		}
		synctest.Wait()
		if p.busy != 0 || p.queue.len() != 0 || p.queue.head != 0 || cap(p.queue.items) > 1<<14 {
			t.Errorf("busy %d, %d jobs, head %d, room for %d", p.busy, p.queue.len(), p.queue.head, cap(p.queue.items))
		}
		p.Schedule(job)
		synctest.Wait()
		for _, fn := range p.queue.items[:cap(p.queue.items)] {
			if fn != nil {
				t.Fatal("a job that was run is still referred to")
			}
		}
	})
}
