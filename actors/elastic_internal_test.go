package actors

import (
	"testing"
	"testing/synctest"
	"time"
)

// A look that comes late says that processors are scarce, and no more: then one in ten milliseconds counts, and there are no more places.
func TestTimeCountsLittleWhileProcessorsAreScarce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hold := NewElastic(1), make(chan struct{})
		p.Schedule(func() { <-hold })
		p.Schedule(func() { <-hold })
		const looks = 100
		for range looks {
			synctest.Wait() // whose turn it was has looked
			p.mu.Lock()
			p.due = p.due.Add(-lateLook)
			p.mu.Unlock()
			time.Sleep(lookEvery)
		}
		p.mu.Lock()
		counted, places := p.looks, p.places
		p.mu.Unlock()
		if want := uint64(looks * lookEvery / scarceFor); counted < want-1 || counted > want+1 {
			t.Errorf("of %d looks %d counted, not %d", looks, counted, want)
		}
		if places != 1 {
			t.Errorf("there are %d places", places)
		}
		close(hold)
		synctest.Wait()
	})
}
