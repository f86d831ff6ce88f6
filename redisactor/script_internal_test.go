package redisactor

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
)

// What is kept of a topic is the end of what was published to it, with nothing missing: as many messages as it may have, and less than a
// group more, unless that is too many bytes; and of bytes no more than it may have, unless one group is.
func TestAStreamKeepsAsMuchAsItMayWhateverIsPublishedTogether(t *testing.T) {
	srv := redistest.StartReal(t)
	client, ctx, run := srv.Client(t), context.Background(), 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		h := newHistory(fmt.Sprint("bounds", run), actors.History{}.WithDefaults())
		bounds := rapid.Custom(func(t *rapid.T) actors.History {
			return actors.History{
				Messages: rapid.IntRange(1, 40).Draw(t, "messages"), Bytes: rapid.IntRange(1, 1000).Draw(t, "bytes"), Age: time.Minute,
			}
		})
		var sent []record
		had, keep := 0, bounds.Draw(t, "bounds")
		for range rapid.IntRange(1, 30).Draw(t, "calls") {
			if rapid.IntRange(0, 9).Draw(t, "other bounds") == 0 {
				keep = bounds.Draw(t, "bounds")
			}
			var list []*publication
			for range rapid.IntRange(1, 60).Draw(t, "together") {
				payload := strings.Repeat("x", rapid.IntRange(0, 60).Draw(t, "size"))
				p := &publication{topic: "t", keep: keep, tag: fmt.Sprint("tag", len(sent))}
				p.frame = actors.NewFrame([]byte(payload))
				list = append(list, p)
				sent = append(sent, record{tag: p.tag, payload: payload})
			}
			s := newCall(h, list)
			reply := s.command(ctx, true)
			if err := client.Process(ctx, reply); err != nil {
				t.Fatal(err)
			}
			if err := s.read(reply.Val()); err != nil {
				t.Fatal(err)
			}
			for i, r := range s.reply {
				if sent := &sent[len(sent)-len(list)+i]; r.err != nil || r.twin || r.at.N == 0 {
					t.Fatalf("message %d is answered with %+v", i, r)
				} else {
					sent.at = r.at
				}
			}
			var kept []record
			var newest int
			for _, m := range client.XRange(ctx, h.stream("t"), "-", "+").Val() {
				group, ok := parseRecords(m.Values["m"].(string), true)
				if !ok || m.ID != decimal(group[len(group)-1].at.N)+"-0" {
					t.Fatalf("the stream has %s: %q", m.ID, m.Values)
				}
				kept, newest = append(kept, group...), len(group)
			}
			if len(kept) < newest || len(kept) > len(sent) {
				t.Fatalf("%d of %d messages are kept", len(kept), len(sent))
			}
			bytes, before := 0, sent[:len(sent)-len(kept)]
			for i, r := range kept {
				want, prev := sent[len(before)+i], uint64(0)
				if len(before)+i > 0 {
					prev = sent[len(before)+i-1].at.N
				}
				if r.at != want.at || r.tag != want.tag || r.payload != want.payload || r.prev != prev {
					t.Fatalf("of %d messages, the last %d of which are kept, number %d is %+v in place of %+v", len(sent), len(kept), len(before)+i, r, want)
				}
				bytes += len(r.payload)
			}
			if most := keep.Messages + max(keep.Messages, 40)/4 - 1; len(kept) > most { // the oldest group may have come with other bounds
				t.Fatalf("%d messages are kept, where it should be %d", len(kept), keep.Messages)
			}
			if bytes > keep.Bytes && len(kept) > newest {
				t.Fatalf("%d bytes are kept, where it should be %d", bytes, keep.Bytes)
			}
			if longest := max(1000/8, 60); len(kept) < min(keep.Messages, had+len(list)) && bytes+longest <= keep.Bytes {
				t.Fatalf("only %d messages with %d bytes of %d are kept, where it should be %d with %d", len(kept), bytes, len(sent), keep.Messages, keep.Bytes)
			}
			had = len(kept)
		}
	})
}
