package clientactor

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
)

// sender has messages arrive, each so long after the one before, but every second one a little early, and says how many were
// handed on until the end began.
func sender(c *Conn, every, early time.Duration, most int) (handed int) {
	start := time.Now()
	for n := range most {
		time.Sleep(time.Until(start.Add(time.Duration(n)*every - time.Duration(n%2)*early))) // no time at all if it has waited
		if !c.begin(false) {
			break
		}
		handed++
		c.handled()
	}
	return handed
}

func limitedTo(rate float64, burst int) *Conn {
	return newConn(&Config{Rate: rate, Burst: burst}, nil, func(bool, []byte) error { return nil })
}

func TestAPeerIsHeldToItsRateAndClosedAfterASecondOfThat(t *testing.T) {
	for name, c := range map[string]struct {
		rate   float64
		burst  int
		every  time.Duration
		most   int
		handed int
		closed time.Duration // when; 0: not
	}{
		"a burst is no matter":             {10, 5, 0, 5, 5, 0},
		"one more waits":                   {10, 5, 0, 6, 6, 0},
		"a flood":                          {10, 5, 0, 100, 15, time.Second},
		"a flood at a high rate":           {10_000, 100, 0, 1 << 20, 10_100, time.Second},
		"no burst is one":                  {10, 0, 0, 100, 11, time.Second},
		"what would have to wait too long": {0.1, 1, time.Millisecond, 100, 1, time.Second + time.Millisecond},
		"what waits as long as it may":     {1, 1, 0, 2, 2, 0},
		"the rate, but for a fifth":        {10, 1, time.Second / 10, 10_000, 10_000, 0},
		"a tenth more than the rate":       {10, 1, time.Second / 11, 100, 17, 1636 * time.Millisecond},
		"no limit":                         {0, 1, 0, 10_000, 10_000, 0},
		"a limit that is none":             {math.Inf(1), 1, 0, 10_000, 10_000, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				conn, start := limitedTo(c.rate, c.burst), time.Now()
				handed := sender(conn, c.every, c.every/5, c.most)
				took, reason := time.Since(start), conn.box.Reason()
				if handed != c.handed {
					t.Errorf("%d were handed on, want %d", handed, c.handed)
				}
				if closed := reason == actors.ReasonRate; closed != (c.closed > 0) || closed && (took-c.closed).Abs() > 10*time.Millisecond {
					t.Errorf("after %v: reason %q; want the end after %v", took, reason, c.closed)
				}
			})
		})
	}
}

// A handler that is slower than the limit is no fault of the peer's.
func TestWhatTheHandlerTakesIsNotCountedAsWaitingForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limitedTo(10, 1)
		for range 1000 {
			if !c.begin(false) {
				t.Fatal(c.box.Reason())
			}
			time.Sleep(150 * time.Millisecond)
			c.handled()
		}
	})
}

func TestAMessageThatNobodyWantsIsCountedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limitedTo(10, 5)
		n := 0
		for ; n < 100 && c.box.Reason() == actors.ReasonNone; n++ {
			if c.begin(true) {
				t.Fatal("it is handed on")
			}
		}
		if n != 16 || c.box.Reason() != actors.ReasonRate {
			t.Errorf("after %d: reason %q", n, c.box.Reason())
		}
	})
}

func TestTheEndWaitsForNoMessageThatWaitsForTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := limitedTo(1, 1)
		sender(c, 0, 0, 1)
		start := time.Now()
		handedOn := make(chan bool)
		go func() { handedOn <- c.begin(false) }()
		synctest.Wait() // it waits
		if !c.box.Engaged() {
			t.Error("a pong could be expected of the peer")
		}
		c.box.Close(&actors.Close{Reason: actors.ReasonClosed})
		if <-handedOn {
			t.Error("it was handed on after the end had begun")
		}
		if d := time.Since(start); d > 0 {
			t.Errorf("it waited for %v", d)
		}
		if c.box.Engaged() {
			t.Error("it is still being handled")
		}
		if c.begin(false) || c.begin(true) || time.Since(start) > 0 {
			t.Error("what comes after the end is handed on, or waits")
		}
	})
}
