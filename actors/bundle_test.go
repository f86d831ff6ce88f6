package actors_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wskit/wskit/actors"
)

// bundle makes one frame of messages, which have to fit.
func bundle(t *testing.T, messages ...string) *actors.Frame {
	t.Helper()
	var frames []*actors.Frame
	for _, s := range messages {
		frames = append(frames, frame(s))
	}
	f, rest := actors.Bundle(frames)
	if len(rest) > 0 {
		t.Fatalf("%d messages do not fit", len(rest))
	}
	return f
}

func TestABundleHoldsAtMost64MessagesAnd64KiB(t *testing.T) {
	for name, c := range map[string]struct{ count, size, fit int }{
		"one":             {1, 100, 1},
		"64 small":        {64, 10, 64},
		"65 small":        {65, 10, 64},
		"64 KiB":          {4, 16 << 10, 4},
		"a byte more":     {4, 16<<10 + 1, 3},
		"one of any size": {2, 1 << 20, 1},
		"empty":           {70, 0, 64},
	} {
		t.Run(name, func(t *testing.T) {
			var frames []*actors.Frame
			for range c.count {
				frames = append(frames, frame(strings.Repeat("x", c.size)))
			}
			f, rest := actors.Bundle(frames)
			equal(t, "messages in the bundle", f.Count(), c.fit)
			equal(t, "messages left", len(rest), c.count-c.fit)
			equal(t, "bytes", f.Len(), c.fit*c.size)
			if c.fit == 1 && f != frames[0] {
				t.Error("a bundle of one is not the message itself")
			}
		})
	}
}

func TestABundlesEncodingIsThatOfItsMessagesOneAfterTheOther(t *testing.T) {
	messages := []string{"one", "", "two\nlines", strings.Repeat("x", 300)}
	var ws, sse string
	for _, s := range messages {
		ws += string(frame(s).WebSocket())
		sse += string(frame(s).SSE())
	}
	f := bundle(t, messages...)
	for range 2 {
		equal(t, "WebSocket", string(f.WebSocket()), ws)
		equal(t, "SSE", string(f.SSE()), sse)
	}
}

func TestOfABundleThatDoesNotFitEachMessageIsJudgedByItself(t *testing.T) {
	for name, c := range map[string]struct {
		bound actors.Bound
		want  string
		gone  []string
	}{
		"it fits":               {actors.Bound{Messages: 5}, "[a b c d e]", nil},
		"newest dropped":        {actors.Bound{Messages: 4}, "[a b c d]", []string{"e"}},
		"oldest dropped":        {actors.Bound{Messages: 2, Overflow: actors.DropOldest}, "[d e]", []string{"a", "b", "c"}},
		"bytes, newest dropped": {actors.Bound{Messages: 9, Bytes: 3}, "[a b c]", []string{"d", "e"}},
		"bytes, oldest dropped": {actors.Bound{Messages: 9, Bytes: 3, Overflow: actors.DropOldest}, "[c d e]", []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, r, d := actors.NewBoundOutbox(c.bound), new(recorder), new(manual)
			attach(o, r, d)
			o.Resume()
			var gone []string
			o.OnDrop(func(_ actors.Subscriber, f *actors.Frame) { gone = append(gone, string(f.Payload())) })
			o.PostUserMessage(bundle(t, "a", "b"))
			o.PostUserMessage(bundle(t, "c", "d", "e"))
			d.drain()
			equal(t, "handed over", fmt.Sprint(r.frames()), c.want)
			equal(t, "dropped", fmt.Sprint(gone), fmt.Sprint(c.gone))
		})
	}
}

func TestABundleTooManyDisconnectsAndIsDroppedWithTheQueue(t *testing.T) {
	o, r, d := actors.NewBoundOutbox(actors.Bound{Messages: 3, Overflow: actors.Disconnect}), new(recorder), new(manual)
	attach(o, r, d)
	o.Resume()
	var gone []string
	o.OnDrop(func(_ actors.Subscriber, f *actors.Frame) { gone = append(gone, string(f.Payload())) })
	o.PostUserMessage(bundle(t, "a", "b"))
	o.PostUserMessage(bundle(t, "c", "d", "e"))
	equal(t, "reason", o.Reason(), actors.ReasonSlow)
	equal(t, "dropped", fmt.Sprint(gone), "[d a b c]")
	d.drain()
	equal(t, "frames handed over", len(r.frames()), 0)
}
