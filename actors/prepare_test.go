package actors_test

import (
	"strings"
	"testing"

	"github.com/wskit/wskit/actors"
)

// A large message is encoded when it is sent, by whoever sends it, if there is room for it.
func TestALargeMessageIsEncodedByItsSenderIfThereIsRoom(t *testing.T) {
	const large = 16 << 10
	full := func(o *actors.Outbox) { must(t, o.Send(frame("full"))) }
	closed := func(o *actors.Outbox) { o.Close(&actors.Close{Reason: actors.ReasonClosed}) }
	for name, c := range map[string]struct {
		size  int
		bound actors.Bound
		first func(*actors.Outbox)
		want  int
	}{
		"large":                            {size: large, want: 1},
		"not large":                        {size: large - 1},
		"held back":                        {size: large, first: (*actors.Outbox).Hold, want: 1},
		"closed":                           {size: large, first: closed},
		"full":                             {size: large, first: full},
		"full, and the oldest goes":        {size: large, bound: actors.Bound{Overflow: actors.DropOldest}, first: full, want: 1},
		"longer than may ever be queued":   {size: large, bound: actors.Bound{Overflow: actors.DropOldest, Bytes: large - 1}},
		"nobody has said what is asked":    {size: large, first: func(o *actors.Outbox) { o.EncodeWith(nil) }},
		"full, and the client is cut off":  {size: large, bound: actors.Bound{Overflow: actors.Disconnect}, first: full},
		"held back, with the queue filled": {size: large, first: func(o *actors.Outbox) { o.Hold(); full(o) }, want: 1},
	} {
		send := map[string]func(*actors.Outbox, *actors.Frame){
			"broadcast": func(o *actors.Outbox, f *actors.Frame) { o.PostUserMessage(f) },
			"sent":      func(o *actors.Outbox, f *actors.Frame) { _ = o.Send(f) },
		}
		for how, send := range send {
			if strings.HasPrefix(name, "held back, with") && how == "sent" {
				continue // it would go past those held back
			}
			c.bound.Messages = 1
			o, encoded := actors.NewBoundOutbox(c.bound), 0
			o.EncodeWith(func(*actors.Frame) []byte { encoded++; return nil })
			if c.first != nil {
				c.first(o)
			}
			send(o, frame(strings.Repeat("x", c.size)))
			equal(t, name+", "+how, encoded, c.want)
		}
	}
}
