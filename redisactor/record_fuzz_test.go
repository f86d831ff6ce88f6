package redisactor

import (
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

func FuzzARecordIsReadOrRefused(f *testing.F) {
	for _, seed := range []string{
		magic + "abc 2 1 1700000000000 100 1048576 300000 ABC.1-z b\npayload",
		magic + "abc 2 0 0 0 1 1 a bn\n", magic + "abc 2 1 1 1 1 1 a -\n\n\x00", magic + "abc 2 2 1 1 1 1 a -\nx", magic + "abc 0 0 1 1 1 1 a -\nx",
		magic + "abc 2 1 1 1 1 1 a -", magic + "abc 2 1 1 1 1 1 a - -\nx", magic + "abc 18446744073709551615 1 1 1 1 99999999999999999 a -\n", magic, "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		r, ok := parseRecord(payload)
		if !ok {
			return
		}
		if !isRecord(payload) || r.at.N == 0 || r.prev >= r.at.N || r.history.Age < 0 || !strings.HasSuffix(payload, "\n"+r.payload) {
			t.Errorf("%q is read as %+v", payload, r)
		}
		if p, ok := actors.ParsePosition(r.at.String()); !ok || p != r.at {
			t.Errorf("%q has position %v", payload, r.at)
		}
		frame := r.frame().Placed(r.placement("x"))
		if string(frame.Payload()) != r.payload || r.binary && !frame.Binary() {
			t.Errorf("%q is delivered as %q", payload, frame.Payload())
		}
	})
}

func TestARecordIsReadAsItWasWritten(t *testing.T) {
	r, ok := parseRecord(magic + "abc 7 5 1700000000000 100 1048576 300000 ABC.1-z b\na\nb")
	want := record{
		at: actors.Position{Epoch: "abc", N: 7}, prev: 5, time: time.UnixMilli(1700000000000), tag: "ABC.1-z", binary: true, payload: "a\nb",
		history: actors.History{Messages: 100, Bytes: 1 << 20, Age: 5 * time.Minute},
	}
	if !ok || *r != want {
		t.Errorf("%+v", r)
	}
}

func TestTheHorizonIsWhereTheLogStoodWhenTheOldestStreamMayHaveBegun(t *testing.T) {
	now, span := time.UnixMilli(10_000), time.Second
	for marks, want := range map[string]uint64{
		"": 9, "8000 3": 9, "9500 7 8500 5": 7, "9900 8 9500 7 9001 4 9000 3": 4, "9900 8 nonsense": 8, "9900": 9,
	} {
		if got := horizon(marks, now, span, 9); got != want {
			t.Errorf("with %q it is %d, not %d", marks, got, want)
		}
	}
}
