package main

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets about 3% wide. Any goroutine may add to it.
type histogram struct {
	buckets [64 * subBuckets]atomic.Int64
	total   atomic.Int64
}

const (
	subBits    = 5
	subBuckets = 1 << subBits // to each power of two
)

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

// bucketTop is the longest duration that falls into a bucket.
func bucketTop(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	return time.Duration(uint64(bucket-shift<<subBits+1)<<shift - 1)
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)].Add(1)
	h.total.Add(1)
}

// quantile is the duration that the share q of all durations does not exceed; 0 when there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := max(int64(math.Ceil(q*float64(h.total.Load()))), 1)
	var seen int64
	for i := range h.buckets {
		if seen += h.buckets[i].Load(); seen >= rank {
			return bucketTop(i)
		}
	}
	return 0
}

// curve is the distribution at a fixed list of quantiles, for plots.
func (h *histogram) curve() []point {
	var c []point
	for _, q := range []float64{0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 0.995, 0.9975, 0.999, 0.9995, 0.9999} {
		c = append(c, point{q, h.quantile(q).Seconds() * 1000})
	}
	return c
}
