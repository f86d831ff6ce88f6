package redisactor

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wskit/wskit/actors"
)

// model is the ledger written the slow and obvious way.
type model struct {
	entries []*modelEntry
	keeping bool
	pings   uint64
}

type modelEntry struct {
	entry     *entry
	text      string
	at        int
	call      bool
	echo      echo
	answer    answer
	pongsLeft uint64 // PING numbers from this one on say that no echo comes
}

func (m *model) tidy() {
	m.entries = slices.DeleteFunc(m.entries, func(e *modelEntry) bool {
		return !e.call && e.answer != answerPending && e.echo == echoSettled
	})
}

func (m *model) note(e *modelEntry) { e.echo = echoNoted }

// find returns the one published first.
func (m *model) find(text string, state echo) (found *modelEntry) {
	for _, e := range m.entries {
		if e.text == text && e.echo == state && (found == nil || e.entry.id < found.entry.id) {
			found = e
		}
	}
	return found
}

func (m *model) drop(which func(*modelEntry) bool) {
	for _, e := range m.entries {
		if e.echo != echoAwaited && which(e) {
			e.echo = echoSettled
			if !e.call && e.answer == answerPending {
				e.answer = answerUnknown
			}
		}
	}
	m.tidy()
}

func TestLedgerAgreesWithItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, m, now := newLedger(), &model{}, 0
		at := func(n int) time.Time { return time.Unix(int64(n), 0) }
		texts := rapid.SampledFrom([]string{"a", "b", "c"})
		var entered []*entry
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				now++
				text, await := texts.Draw(t, "text"), rapid.Bool().Draw(t, "await")
				entered = append(entered, l.Enter(actors.NewFrame([]byte(text)), nil, at(now), await))
				e := &modelEntry{entry: entered[len(entered)-1], text: text, at: now, call: true, echo: echoAwaited}
				if !await {
					m.note(e)
				}
				m.entries = append(m.entries, e)
			},
			"answer": func(t *rapid.T) {
				if len(entered) == 0 {
					t.Skip("nothing was published")
				}
				of, a := rapid.SampledFrom(entered).Draw(t, "entry"), answer(rapid.IntRange(1, 3).Draw(t, "answer"))
				c, ok := l.Answer(of, a)
				i := slices.IndexFunc(m.entries, func(e *modelEntry) bool { return e.entry == of && e.answer == answerPending })
				if i < 0 {
					if ok || c.frame != nil {
						t.Fatal("an entry that is not pending was answered")
					}
					return
				}
				e := m.entries[i]
				deliver := e.echo == echoAwaited && a != answerExecuted
				if deliver {
					m.note(e)
				}
				if a == answerRefused || e.echo == echoNoted && !m.keeping {
					e.echo = echoSettled
				}
				if (c.frame != nil) != deliver || ok != e.call {
					t.Fatalf("answer: deliver %v, caller %v", c.frame != nil, ok)
				}
				e.answer, e.call, e.pongsLeft = a, false, m.pings+pongsEnough[a]
				m.tidy()
			},
			"give up": func(t *rapid.T) {
				limit := rapid.IntRange(0, now).Draw(t, "before")
				var want []string
				for _, e := range m.entries {
					if !e.call || e.at > limit {
						continue
					}
					text := ""
					if e.echo == echoAwaited {
						text = e.text
						m.note(e)
					}
					want = append(want, text)
					e.call, e.pongsLeft = false, m.pings+pongsEnough[answerPending]
				}
				var got []string
				for _, c := range l.GiveUp(at(limit)) {
					if c.frame == nil {
						got = append(got, "")
						continue
					}
					got = append(got, string(c.frame.Payload()))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("gave up on %q, not %q", got, want)
				}
				m.tidy()
			},
			"echo": func(t *rapid.T) {
				text := texts.Draw(t, "text")
				own, deliver := l.Echo(text)
				awaited, noted := m.find(text, echoAwaited), m.find(text, echoNoted)
				switch {
				case awaited != nil && noted != nil && noted.entry.id < awaited.entry.id:
					noted.echo = echoSettled
					m.note(awaited)
				case awaited != nil:
					awaited.echo = echoSettled
				case noted != nil:
					noted.echo = echoSettled
				}
				if (own != nil) != (awaited != nil || noted != nil) || deliver != (awaited != nil || noted == nil) {
					t.Fatalf("echo of %q: own %v, deliver %v", text, own != nil, deliver)
				}
				m.tidy()
			},
			"interrupt": func(t *rapid.T) {
				var got, want []string
				for _, f := range l.Interrupt() {
					got = append(got, string(f.Payload()))
				}
				for _, e := range m.entries {
					if e.echo == echoAwaited {
						want = append(want, e.text)
						m.note(e)
					}
				}
				if !slices.Equal(got, want) {
					t.Fatalf("interrupted %q, not %q", got, want)
				}
			},
			"subscribing": func(*rapid.T) {
				l.Subscribing()
				m.drop(func(e *modelEntry) bool { return e.answer == answerExecuted })
			},
			"keep": func(t *rapid.T) {
				m.keeping = rapid.Bool().Draw(t, "on")
				l.Keep(m.keeping)
				if !m.keeping {
					m.drop(func(e *modelEntry) bool { return e.answer != answerPending })
				}
			},
			"ping": func(*rapid.T) { m.pings++; l.Pinged(m.pings) },
			"pong": func(t *rapid.T) {
				n := rapid.Uint64Range(0, m.pings+1).Draw(t, "n")
				l.Ponged(n)
				if n <= m.pings {
					m.drop(func(e *modelEntry) bool { return !e.call && n >= e.pongsLeft })
				}
			},
			"": func(t *rapid.T) {
				waiting, notes, calls := 0, 0, 0
				for _, e := range m.entries {
					if e.echo == echoAwaited {
						waiting++
					}
					if e.echo == echoNoted {
						notes++
					}
					if e.call {
						calls++
					}
				}
				if l.size != len(m.entries) || l.waiting != waiting || l.notes != notes || l.calls != calls {
					t.Fatalf("ledger: %d entries, %d waiting, %d notes, %d calls; model: %d, %d, %d, %d",
						l.size, l.waiting, l.notes, l.calls, len(m.entries), waiting, notes, calls)
				}
				queues := map[string]int{}
				count := func(name string, q queue, k kind) {
					var last *entry
					for e := q.first; e != nil; e = e.places[k].after {
						if e.places[k].before != last || last != nil && last.id > e.id {
							t.Fatalf("%s: out of order", name)
						}
						last = e
						queues[name]++
					}
					if q.last != last {
						t.Fatalf("%s: the last is not the last", name)
					}
				}
				count("all", l.all, inAll)
				count("callers", l.callers, inCallers)
				for _, b := range l.content {
					count("awaited", b.awaited, inBucket)
					count("noted", b.noted, inBucket)
					if b == (bucket{}) {
						t.Fatal("an empty bucket is left")
					}
				}
				if want := (map[string]int{"all": len(m.entries), "callers": calls, "awaited": waiting, "noted": notes}); !maps.Equal(nonzero(want), queues) {
					t.Fatalf("queues: %v, not %v", queues, want)
				}
			},
		})
	})
}

func nonzero(m map[string]int) map[string]int {
	maps.DeleteFunc(m, func(_ string, n int) bool { return n == 0 })
	return m
}

func TestEqualPayloadsOfTwoInstancesWorkOutByCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger()
		l.Keep(true)
		delivered, own, foreign := 0, rapid.IntRange(0, 5).Draw(t, "own"), rapid.IntRange(0, 5).Draw(t, "foreign")
		payload := []byte("tick")
		for range own {
			await := rapid.Bool().Draw(t, "await")
			id := l.Enter(actors.NewFrame(payload), nil, time.Time{}, await)
			if !await {
				delivered++
			}
			if rapid.Bool().Draw(t, "answered") {
				if c, _ := l.Answer(id, rapid.SampledFrom([]answer{answerExecuted, answerUnknown}).Draw(t, "answer")); c.frame != nil {
					delivered++
				}
			}
		}
		for range own + foreign {
			if rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
				delivered += len(l.Interrupt())
			}
			if _, deliver := l.Echo(string(payload)); deliver {
				delivered++
			}
		}
		delivered += len(l.Interrupt())
		if delivered != own+foreign {
			t.Fatalf("%d own and %d foreign messages made %d deliveries", own, foreign, delivered)
		}
	})
}

func TestNotesBeyondTheLimitAreForgottenOldestFirst(t *testing.T) {
	l := newLedger()
	l.maxNotes = 3
	l.Keep(true)
	for i := range 5 {
		id := l.Enter(actors.NewFrame(fmt.Append(nil, i)), nil, time.Time{}, false)
		l.Answer(id, answerUnknown)
	}
	for i := range 5 {
		if _, deliver := l.Echo(fmt.Sprint(i)); deliver != (i < 2) {
			t.Errorf("echo %d: delivered %v", i, deliver)
		}
	}
	if !l.Empty() || len(l.content) != 0 {
		t.Errorf("left over: %d entries, %d buckets", l.size, len(l.content))
	}
}

func TestALedgerThatIsUsedForLongStaysSmall(t *testing.T) {
	l := newLedger()
	l.Keep(true)
	first := l.Enter(actors.NewFrame([]byte("never answered")), nil, time.Time{}, true)
	for i := range 100_000 {
		payload := fmt.Append(nil, i%1000)
		id := l.Enter(actors.NewFrame(payload), nil, time.Time{}, true)
		l.Echo(string(payload))
		l.Answer(id, answerExecuted)
	}
	if l.size != 1 || l.all.first != first || l.all.last != first || len(l.content) != 1 {
		t.Errorf("%d entries, %d buckets", l.size, len(l.content))
	}
	if c, ok := l.Answer(first, answerRefused); !ok || c.frame == nil || !l.Empty() {
		t.Error("the entry that waited was lost")
	}
}
