package redisactor

import (
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

func FuzzARecordIsReadOrRefused(f *testing.F) {
	for _, seed := range []string{
		magic + "abc 2 1 1700000000000 100 1048576 300000 9 ABC.1-z b 7\npayload",
		magic + "abc 2 1 1 1 1 1 0 a - 1\nxabc 3 2 1 1 1 1 0 a - 0\nabc 4 3 1 0 1 1 0 a n 2\n\n\x00", magic + "abc 2 0 0 0 1 1 0 a bn 0\n",
		magic + "abc 2 1 1 1 1 1 0 a - 2\nx", magic + "abc 2 1 1 1 1 1 0 a - 0\nx", magic + "abc 2 2 1 1 1 1 0 a - 1\nx",
		magic + "abc 0 0 1 1 1 1 0 a - 1\nx", magic + "abc 2 1 1 1 1 1 0 a - 0", magic + "abc 2 1 1 1 1 1 0 a - - 1\nx",
		magic + "abc 2 1 1 1 1 1 0 a - 2147483647\nx", magic + "abc 18446744073709551615 1 1 1 1 99999999999999999 0 a - 0\n", magic, "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		list, ok := parseRecords(payload)
		if !ok {
			return
		}
		size := len(magic)
		for _, r := range list {
			if !isRecord(payload) || r.at.N == 0 || r.prev >= r.at.N || r.history.Age < 0 || !strings.Contains(payload, "\n"+r.payload) {
				t.Errorf("%q is read as %+v", payload, r)
			}
			if p, ok := actors.ParsePosition(r.at.String()); !ok || p != r.at {
				t.Errorf("%q has position %v", payload, r.at)
			}
			frame := r.frame().Placed(r.placement("x"))
			if string(frame.Payload()) != r.payload || r.binary && !frame.Binary() {
				t.Errorf("%q is delivered as %q", payload, frame.Payload())
			}
			size += len(r.payload) + len("\n")
		}
		if size > len(payload) || len(list) == 0 {
			t.Errorf("%q is read as %d records, which are longer", payload, len(list))
		}
	})
}

func TestRecordsAreReadAsTheyWereWritten(t *testing.T) {
	first, second := "abc 7 5 1700000000000 100 1048576 300000 12 ABC.1-z b 3\na\nb", "abc 8 7 1700000000000 0 1048576 300000 12 ABC.1-10 n 1\nc"
	want := []record{
		{
			at: actors.Position{Epoch: "abc", N: 7}, prev: 5, time: time.UnixMilli(1700000000000), tag: "ABC.1-z", binary: true, payload: "a\nb",
			history: actors.History{Messages: 100, Bytes: 1 << 20, Age: 5 * time.Minute},
		},
		{
			at: actors.Position{Epoch: "abc", N: 8}, prev: 7, time: time.UnixMilli(1700000000000), tag: "ABC.1-10", bare: true, payload: "c",
			history: actors.History{Bytes: 1 << 20, Age: 5 * time.Minute},
		},
	}
	list, ok := parseRecords(magic + first + second)
	if !ok || len(list) != 2 || *list[0] != want[0] || *list[1] != want[1] {
		t.Errorf("%+v", list)
	}
	if r, ok := parseEntry(first); !ok || *r != want[0] {
		t.Errorf("%+v", r)
	}
	want[1].payload = ""
	if r, ok := parseEntry(strings.TrimSuffix(second, "c")); !ok || *r != want[1] {
		t.Errorf("%+v", r)
	}
	for _, text := range []string{second, first + "c", strings.TrimSuffix(first, "b"), ""} {
		if r, ok := parseEntry(text); ok {
			t.Errorf("%q is read as %+v", text, r)
		}
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
