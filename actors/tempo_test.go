package actors_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

// A connection whose writes may block takes one batch after another, each in a turn on both pools.
func TestSettleWaitsForAsManyBatchesAsThereCanBe(t *testing.T) {
	const messages, bytes = 128, 64 << 10
	pools := actors.NewPools()
	var batches atomic.Int32
	var turn func(left int)
	turn = func(left int) {
		pools.Connections.Schedule(func() {
			if left > 0 {
				pools.Streams().Schedule(func() {
					batches.Add(1)
					turn(left - 1)
				})
			}
		})
	}
	const most = 8 // of 16 KB at most, any two of them more than that
	turn(most)
	pools.Settle(messages, bytes)
	equal(t, "batches taken", batches.Load(), most)
}

func TestAPeerThatTakesItsTimeAgainAndAgainIsNotWaitedFor(t *testing.T) {
	const late = 30 * time.Millisecond
	var tempo actors.Tempo
	pools := actors.NewPools()
	settle := func() time.Duration {
		release, done := make(chan struct{}), make(chan struct{})
		tempo.Schedule(pools.Streams(), func() { <-release; close(done) }, true)
		began := time.Now()
		pools.Settle(1, 1)
		took := time.Since(began)
		close(release)
		<-done
		return took
	}
	for range 3 {
		if took := settle(); took < late/2 {
			t.Errorf("waited for %v", took)
		}
		tempo.Wrote(late)
	}
	if took := settle(); took > late/2 {
		t.Errorf("one that was late three times in a row was waited for %v", took)
	}
	tempo.Wrote(time.Microsecond) // once quick
	if took := settle(); took < late/2 {
		t.Errorf("waited for %v after it was quick", took)
	}
	tempo.Wrote(time.Second) // one write is enough that nobody waits for to its end
	if took := settle(); took > late/2 {
		t.Errorf("one that took a second was waited for %v", took)
	}
}
