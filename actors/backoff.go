package actors

import "time"

// Backoff is how long to wait before the next attempt: Min, doubled each time, never above Max, and shortened by a random
// part of up to Jitter (0 to 1) so that many who failed together do not return together. The zero Backoff never waits.
type Backoff struct {
	Min, Max time.Duration
	Jitter   float64
}

// Delay is the wait before attempt n (1 is the first after a failure); random is in [0, 1).
func (b Backoff) Delay(n int, random float64) time.Duration {
	d := b.Min
	for i := 1; i < n && d < b.Max; i++ {
		d += min(d, b.Max-d) // twice as long, and no overflow
	}
	d = min(d, b.Max)
	return d - time.Duration(float64(d)*b.Jitter*random)
}
