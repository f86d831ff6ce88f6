package clientactor

import (
	"testing"
	"time"

	wiretest "github.com/wskit/wskit/internal/wstest/wire"
)

// So many control frames at once, and so many a second, are nothing to wait for; one more is.
func TestControlFramesAreReadAtAPace(t *testing.T) {
	const start = int64(1e18)
	var in input
	if in.pace(paceBurst, start); in.rest != 0 {
		t.Errorf("a burst waits for %v", in.rest)
	}
	if in.pace(1, start); in.rest != paceLeast {
		t.Errorf("one more waits for %v, want %v", in.rest, paceLeast)
	}
	in = input{}
	if in.pace(paceBurst+1000, start); in.rest != 1000*paceEvery {
		t.Errorf("1000 more wait for %v, want %v", in.rest, 1000*paceEvery)
	}
	in = input{}
	for i := range int64(10_000) {
		if in.pace(1, start+i*int64(paceEvery)); in.rest != 0 {
			t.Fatalf("number %d at the pace waits for %v", i, in.rest)
		}
	}
}

// Fragments of nothing are counted with them, and whole messages and fragments of something are not.
func TestFragmentsOfNothingAreCounted(t *testing.T) {
	d := decoder{limit: -1}
	stream := wiretest.Masks(wiretest.Fragments(wiretest.Text, "", "a", "", "", "b")...)
	stream = append(stream, wiretest.Masked(wiretest.Text, "")...)
	for {
		u, rest, err := d.next(stream)
		if err != nil {
			t.Fatal(err)
		}
		if u.opcode == 0 {
			break
		}
		stream = rest
	}
	if d.empty != 3 {
		t.Errorf("%d, want 3", d.empty)
	}
}

// A flood is read on all the same, and ends as soon as the connection does.
func TestAFloodEndsWithItsConnection(t *testing.T) {
	c := newConn(&Config{}, nil, nil)
	c.own.rest = time.Hour
	c.ended()
	c.pause()
	if c.own.rest != 0 {
		t.Error("it waits again")
	}
}
