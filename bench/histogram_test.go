package main

import (
	"math"
	"testing"
	"time"
)

func TestBucketsFollowEachOtherAndAreNarrow(t *testing.T) {
	for _, d := range []time.Duration{-1, 0, 1, 31, 32, 33, 63, 64, 65, 1000, time.Millisecond, time.Hour, math.MaxInt64} {
		b := bucketOf(d)
		top := bucketTop(b)
		if d > top {
			t.Errorf("%d is above the top of its bucket, %d", d, top)
		}
		if b > 0 && d > 0 && d <= bucketTop(b-1) {
			t.Errorf("%d belongs to the bucket below", d)
		}
		if d > 0 && float64(top-d) > 0.032*float64(d) {
			t.Errorf("%d counts as up to %d", d, top)
		}
	}
}

func TestQuantilesAreThoseOfTheSortedList(t *testing.T) {
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for i := 1; i <= 1000; i++ {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{
		0: time.Microsecond, 0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond, 0.999: 999 * time.Microsecond, 1: time.Millisecond,
	} {
		got := h.quantile(q)
		if got < want || float64(got) > 1.033*float64(want) {
			t.Errorf("quantile %v: %v instead of %v", q, got, want)
		}
	}
	last := 0.0
	for _, p := range h.curve() {
		if p[1] < last {
			t.Errorf("the curve falls at %v", p)
		}
		last = p[1]
	}
}
