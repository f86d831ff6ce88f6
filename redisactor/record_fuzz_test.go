package redisactor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

func FuzzARecordIsReadOrRefused(f *testing.F) {
	for _, seed := range []string{
		magic + "abc 2 1 1700000000000 100 1048576 300000 9 8 7 7 1\nABC.1-z b 7\npayload",
		magic + "abc 4 1 1 1 1 1 0 0 0 3 3\na - 1\nxb - 0\nc b 2\n\n\x00", magic + "abc 2 0 0 0 1 1 0 0 0 0 1\na - 0\n",
		magic + "abc 2 1 1 1 1 1 0 0 0 1 1\na - 2\nx", magic + "abc 2 1 1 1 1 1 0 0 0 1 1\na - 0\nx", magic + "abc 2 2 1 1 1 1 0 0 0 1 1\na - 1\nx",
		magic + "abc 0 0 1 1 1 1 0 0 0 1 1\na - 1\nx", magic + "abc 2 1 1 1 1 1 0 0 0 0 1\na - 0", magic + "abc 2 1 1 1 1 1 0 0 0 1 1\na - - 1\nx",
		magic + "abc 2 1 1 1 1 1 0 0 0 2147483647 1\na - 2147483647\nx", magic + "abc 2 0 1 1 1 1 0 0 0 0 2147483647\n",
		magic + "abc 18446744073709551615 1 1 1 1 99999999999999999 0 0 0 0 1\na - 0\n", magic, "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		list, ok := parseRecords(payload, false)
		if !ok {
			return
		}
		size := len(magic)
		for i := range list {
			r := &list[i]
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
	kept, bare := actors.History{Messages: 100, Bytes: 1 << 20, Age: 5 * time.Minute}, actors.History{Bytes: 1 << 20, Age: 5 * time.Minute}
	at := func(n uint64) actors.Position { return actors.Position{Epoch: "abc", N: n} }
	when := time.UnixMilli(1700000000000)
	two := "abc 8 5 1700000000000 100 1048576 300000 12 9 9 4 2\n" + string(appendLine(nil, "ABC.1-z", true, 3)) + "a\nb" +
		string(appendLine(nil, "ABC.1-10", false, 1)) + "c"
	wantTwo := []record{
		{at: at(7), prev: 5, time: when, tag: "ABC.1-z", binary: true, payload: "a\nb", history: kept},
		{at: at(8), prev: 7, time: when, tag: "ABC.1-10", payload: "c", history: kept},
	}
	one := "abc 8 7 1700000000000 0 1048576 300000 12 9 0 1 1\nABC.1-10 - 1\n"
	wantOne := record{at: at(8), prev: 7, time: when, tag: "ABC.1-10", bare: true, payload: "c", history: bare}
	stored := wantOne
	stored.payload = ""
	for _, c := range []struct {
		text   string
		stored bool
		want   []record
	}{
		{two, false, wantTwo},
		{two, true, wantTwo},
		{one + "c", false, []record{wantOne}},
		{one, true, []record{stored}},
	} {
		if list, ok := parseRecords(magic+c.text, c.stored); !ok || !slices.Equal(list, c.want) {
			t.Errorf("%q is read as %+v", c.text, list)
		}
	}
	for _, text := range []string{
		one + "c", two + "c", strings.TrimSuffix(two, "c"), strings.Replace(two, " 2\n", " 1\n", 1), strings.Replace(two, " 2\n", " 3\n", 1),
		strings.Replace(two, " 4 2\n", " 5 2\n", 1), strings.Replace(two, " 5 1", " 7 1", 1), strings.Replace(two, "abc 8", "abc 1", 1),
		strings.Replace(two, " 100 ", " 0 ", 1), strings.Replace(two, " 9 9 ", " 9 09 ", 1), strings.Replace(two, " 9 9 ", " 9 ", 1),
		strings.Replace(two, " 9 9 ", " 9 9 9 ", 1), "",
	} {
		if list, ok := parseRecords(magic+text, true); ok {
			t.Errorf("%q is read as %+v", text, list)
		}
	}
	if list, ok := parseRecords(two, true); ok {
		t.Errorf("%q is read as %+v", two, list)
	}
}

func TestAGroupIsASmallPartOfWhatIsKept(t *testing.T) {
	list := func(n, size int, change func(i int, p *publication)) (list []*publication) {
		for i := range n {
			p := &publication{topic: "x", keep: actors.History{Messages: 40, Bytes: 8000, Age: time.Minute}}
			p.frame = actors.NewFrame(make([]byte, size))
			if change != nil {
				change(i, p)
			}
			list = append(list, p)
		}
		return list
	}
	for what, c := range map[string]struct {
		list []*publication
		want int
	}{
		"as many as there are":          {list(9, 1, nil), 9},
		"a quarter of the messages":     {list(11, 1, nil), 10},
		"an eighth of the bytes":        {list(6, 200, nil), 5},
		"one byte less and it has one":  {list(6, 201, nil), 4},
		"one that is longer is alone":   {list(2, 1001, nil), 1},
		"another topic":                 {list(4, 1, func(i int, p *publication) { p.topic = "xxyy"[i : i+1] }), 2},
		"another history":               {list(4, 1, func(i int, p *publication) { p.keep.Messages += i / 3 }), 3},
		"a key before":                  {list(4, 1, func(i int, p *publication) { p.key = []string{"k", "", "", ""}[i] }), 1},
		"a key behind":                  {list(4, 1, func(i int, p *publication) { p.key = []string{"", "", "k", ""}[i] }), 2},
		"none are kept":                 {list(4, 1, func(i int, p *publication) { p.keep.Messages = 0 }), 1},
		"so few that a group has one":   {list(4, 1, func(i int, p *publication) { p.keep.Messages = 7 }), 1},
		"so few that a group has two":   {list(4, 1, func(i int, p *publication) { p.keep.Messages = 8 }), 2},
		"no more than a group may have": {list(4, maxGroupBytes/2, func(i int, p *publication) { p.keep.Bytes = 1 << 30 }), 2},
	} {
		n, size := groupOf(c.list)
		if n != c.want || size != n*c.list[0].frame.Len() {
			t.Errorf("%s: %d messages, %d bytes; not %d", what, n, size, c.want)
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
