package main

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"time"
)

type publishFunc func(event) error

func (f publishFunc) publish(_ context.Context, e any) error { return f(e.(event)) }

func TestEveryCallPublishesAnEventOfItsOwn(t *testing.T) {
	w := &witness{}
	w.begin(100)
	out := publishFor(publishFunc(func(e event) error {
		data, err := json.Marshal(e)
		w.take(&scanner{}, data)
		return err
	}), 100, 4, 20*time.Millisecond)
	if out.Count == 0 || out.Failed != 0 || out.Seconds < 0.02 || out.P99 < out.P50 {
		t.Errorf("%+v", out)
	}
	if err := w.check(t.Context(), out.Count); err != nil {
		t.Error(err)
	}
}

func TestFailedPublishesAreCounted(t *testing.T) {
	var calls atomic.Int64
	out := publishFor(publishFunc(func(event) error {
		if calls.Add(1)%2 == 0 {
			return errors.New("full")
		}
		return nil
	}), 1, 1, 10*time.Millisecond)
	if out.Failed != calls.Load()/2 || out.Count != calls.Load()-out.Failed || out.Why != "full" {
		t.Errorf("%+v of %d", out, calls.Load())
	}
}

func TestTheWitnessWantsEachMessageOnce(t *testing.T) {
	for _, c := range []struct {
		what    string
		numbers []uint32
		valid   bool
	}{
		{"in any order", []uint32{12, 10, 11}, true},
		{"one of before", []uint32{9, 10, 11, 12}, true},
		{"one twice", []uint32{10, 11, 11, 12}, false},
		{"one too few", []uint32{10, 12}, false},
		{"one too many", []uint32{10, 11, 12, 13}, false},
	} {
		w := &witness{}
		w.begin(10)
		for _, n := range c.numbers {
			w.take(&scanner{}, newMessage(n, 0, body{}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if err := w.check(ctx, 3); (err == nil) != c.valid {
			t.Errorf("%s: %v", c.what, err)
		}
		cancel()
	}
}

func TestRedisSaysWhatItUsed(t *testing.T) {
	if d := parseRedisCPU("# CPU\r\nused_cpu_sys:0.5\r\nused_cpu_user:1.25\r\nused_cpu_sys_children:9\r\n"); d != 1750*time.Millisecond {
		t.Error(d)
	}
}
