package redisactor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/wskit/wskit/actors"
)

// model is the ledger written the slow and obvious way.
type model struct {
	entries []*modelEntry
	keeping map[string]bool // by topic
	pings   uint64
	sure    map[string]uint64 // by topic and content, the last entry when an echo came
}

type modelEntry struct {
	entry    *entry
	text     string // topic/payload
	at       int
	told     bool
	echo     echo
	answer   answer
	answered uint64
	epoch    uint64
}

func (e *modelEntry) topic() string { topic, _, _ := strings.Cut(e.text, "/"); return topic }

// call reports whether the caller waits.
func (e *modelEntry) call() bool { return !e.told || e.echo == echoAwaited }

func (m *model) tidy() {
	m.entries = slices.DeleteFunc(m.entries, func(e *modelEntry) bool {
		return !e.call() && e.answer != answerPending && e.echo == echoSettled
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

// interrupt returns the texts that are to be delivered now.
func (m *model) interrupt(which func(*modelEntry) bool) (texts []string) {
	for _, e := range m.entries {
		if !which(e) {
			continue
		}
		e.epoch = 0
		if e.echo == echoAwaited {
			texts = append(texts, e.text)
			m.note(e)
		}
	}
	return texts
}

func (m *model) drop(which func(*modelEntry) bool) {
	for _, e := range m.entries {
		if e.echo != echoAwaited && which(e) {
			e.echo = echoSettled
			if !e.call() && e.answer == answerPending {
				e.answer = answerUnknown
			}
		}
	}
	m.tidy()
}

func TestLedgerAgreesWithItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, m, now := newLedger(), &model{keeping: make(map[string]bool), sure: make(map[string]uint64)}, 0
		at := func(n int) time.Time { return time.Unix(int64(n), 0) }
		texts, epochs := rapid.SampledFrom([]string{"/a", "/b", "t/a", "t/b", "u/a"}), rapid.Uint64Range(0, 2)
		topics := rapid.SampledFrom([]string{"", "t", "u"})
		text := func(e *entry) string { return e.account.topic + "/" + string(e.frame.Payload()) }
		var entered []*entry
		t.Repeat(map[string]func(*rapid.T){
			"enter": func(t *rapid.T) {
				now++
				text, await, epoch := texts.Draw(t, "text"), rapid.Bool().Draw(t, "await"), epochs.Draw(t, "epoch")
				topic, payload, _ := strings.Cut(text, "/")
				entered = append(entered, l.Enter(topic, actors.NewFrame([]byte(payload)), nil, at(now), await, epoch))
				e := &modelEntry{entry: entered[len(entered)-1], text: text, at: now, echo: echoAwaited, epoch: epoch}
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
				deliver, tell := l.Answer(of, a)
				i := slices.IndexFunc(m.entries, func(e *modelEntry) bool { return e.entry == of && e.answer == answerPending })
				if i < 0 {
					if deliver || tell {
						t.Fatal("an entry that is not pending was answered")
					}
					return
				}
				e := m.entries[i]
				want := e.echo == echoAwaited && a != answerExecuted
				if want {
					m.note(e)
				}
				if a == answerRefused || e.echo == echoNoted && !m.keeping[e.topic()] {
					e.echo = echoSettled
				}
				if deliver != want || tell == e.told {
					t.Fatalf("answer: deliver %v, tell %v", deliver, tell)
				}
				e.answer, e.told, e.answered = a, true, m.pings
				m.tidy()
			},
			"give up": func(t *rapid.T) {
				limit := rapid.IntRange(0, now).Draw(t, "before")
				var want []string
				for _, e := range m.entries {
					if !e.call() || e.at > limit {
						continue
					}
					want = append(want, fmt.Sprint(e.text, e.echo == echoAwaited, !e.told))
					if e.echo == echoAwaited {
						m.note(e)
					}
					if !e.told {
						e.told, e.answered = true, m.pings
					}
				}
				var got []string
				for _, o := range l.GiveUp(at(limit)) {
					got = append(got, fmt.Sprint(text(o.entry), o.deliver, o.tell))
				}
				if !slices.Equal(got, want) {
					t.Fatalf("gave up on %q, not %q", got, want)
				}
				m.tidy()
			},
			"echo": func(t *rapid.T) {
				text := texts.Draw(t, "text")
				topic, payload, _ := strings.Cut(text, "/")
				own, deliver := l.Echo(topic, payload)
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
				if own != nil {
					m.sure[text] = l.last
				}
				if (own != nil) != (awaited != nil || noted != nil) || deliver != (awaited != nil || noted == nil) {
					t.Fatalf("echo of %q: own %v, deliver %v", text, own != nil, deliver)
				}
				m.tidy()
			},
			"interrupt": func(t *rapid.T) {
				var got []string
				for _, e := range l.Interrupt() {
					got = append(got, text(e))
				}
				if want := m.interrupt(func(*modelEntry) bool { return true }); !slices.Equal(got, want) {
					t.Fatalf("interrupted %q, not %q", got, want)
				}
			},
			"interrupt topic": func(t *rapid.T) {
				topic := topics.Draw(t, "topic")
				var got []string
				for _, e := range l.InterruptTopic(topic) {
					got = append(got, text(e))
				}
				if want := m.interrupt(func(e *modelEntry) bool { return e.topic() == topic }); !slices.Equal(got, want) {
					t.Fatalf("interrupted %q, not %q", got, want)
				}
			},
			"subscribing": func(t *rapid.T) {
				topic, n := topics.Draw(t, "topic"), rapid.Uint64Range(0, m.pings+1).Draw(t, "n")
				l.Subscribing(topic, n)
				m.drop(func(e *modelEntry) bool { return e.topic() == topic && e.answer == answerExecuted && e.answered < n })
			},
			"keep": func(t *rapid.T) {
				topic, on := topics.Draw(t, "topic"), rapid.Bool().Draw(t, "on")
				m.keeping[topic] = on
				l.Keep(topic, on)
				if !on {
					m.drop(func(e *modelEntry) bool { return e.topic() == topic && e.answer != answerPending })
				}
			},
			"ping": func(t *rapid.T) {
				if m.pings++; rapid.Bool().Draw(t, "next round") {
					m.pings = (m.pings>>roundBits + 1) << roundBits
				}
				l.Pinged(m.pings)
			},
			"pong": func(t *rapid.T) {
				n, epoch := rapid.Uint64Range(0, m.pings+1).Draw(t, "n"), epochs.Draw(t, "epoch")
				var got, want []string
				list, apart := l.Ponged(n, epoch)
				for _, e := range list {
					got = append(got, text(e))
				}
				if n > m.pings {
					if len(got) > 0 || apart {
						t.Fatal("an answer to no PING says something")
					}
					return
				}
				missing := false
				for _, e := range m.entries {
					proven := e.answer == answerExecuted && n > e.answered && e.epoch == epoch && e.entry.id > m.sure[e.text]
					missing = missing || proven && e.echo != echoSettled
					if proven && e.echo == echoAwaited {
						want = append(want, e.text)
						e.epoch, e.answered = 0, n
						m.note(e)
					}
				}
				if !slices.Equal(got, want) || apart != missing {
					t.Fatalf("without an echo are %q, apart %v; not %q, %v", got, apart, want, missing)
				}
				m.drop(func(e *modelEntry) bool {
					switch e.answer {
					case answerExecuted:
						return n > e.answered
					default:
						return !e.call() && n>>roundBits >= e.answered>>roundBits+roundsEnough[e.answer]
					}
				})
			},
			"": func(t *rapid.T) {
				waiting, notes, calls, unanswered := 0, 0, 0, 0
				for _, e := range m.entries {
					if e.echo == echoAwaited {
						waiting++
					}
					if e.echo == echoNoted {
						notes++
					}
					if e.call() {
						calls++
					}
					if !e.told {
						unanswered++
					}
				}
				if l.size != len(m.entries) || l.waiting != waiting || l.notes != notes || l.calls != calls || l.unanswered != unanswered {
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
				count("accounts", l.own.all, inAccount)
				for topic, a := range l.others {
					count("accounts", a.all, inAccount)
					if a.all.first == nil && !m.keeping[topic] {
						t.Fatal("an empty account is left")
					}
				}
				for _, b := range l.content {
					count("awaited", b.awaited, inBucket)
					count("noted", b.noted, inBucket)
					if b.awaited == (queue{}) && b.noted == (queue{}) {
						t.Fatal("an empty bucket is left")
					}
				}
				if want := (map[string]int{"all": len(m.entries), "accounts": len(m.entries), "callers": calls, "awaited": waiting, "noted": notes}); !maps.Equal(nonzero(want), queues) {
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
		l.Keep("", true)
		delivered, own, foreign := 0, rapid.IntRange(0, 5).Draw(t, "own"), rapid.IntRange(0, 5).Draw(t, "foreign")
		payload := []byte("tick")
		for range own {
			await := rapid.Bool().Draw(t, "await")
			id := l.Enter("", actors.NewFrame(payload), nil, time.Time{}, await, 1)
			if !await {
				delivered++
			}
			if rapid.Bool().Draw(t, "answered") {
				if deliver, _ := l.Answer(id, rapid.SampledFrom([]answer{answerExecuted, answerUnknown}).Draw(t, "answer")); deliver {
					delivered++
				}
			}
		}
		for range own + foreign {
			if rapid.IntRange(0, 9).Draw(t, "cut") == 0 {
				delivered += len(l.Interrupt())
			}
			if _, deliver := l.Echo("", string(payload)); deliver {
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
	l.Keep("", true)
	for i := range 5 {
		id := l.Enter("", actors.NewFrame(fmt.Append(nil, i)), nil, time.Time{}, false, 0)
		l.Answer(id, answerUnknown)
	}
	for i := range 5 {
		if _, deliver := l.Echo("", fmt.Sprint(i)); deliver != (i < 2) {
			t.Errorf("echo %d: delivered %v", i, deliver)
		}
	}
	if !l.Empty() || len(l.content) != 0 {
		t.Errorf("left over: %d entries, %d buckets", l.size, len(l.content))
	}
}

func TestALedgerThatIsUsedForLongStaysSmall(t *testing.T) {
	l := newLedger()
	l.Keep("", true)
	first := l.Enter("", actors.NewFrame([]byte("never answered")), nil, time.Time{}, true, 1)
	for i := range 100_000 {
		payload := fmt.Append(nil, i%1000)
		id := l.Enter("", actors.NewFrame(payload), nil, time.Time{}, true, 1)
		l.Echo("", string(payload))
		l.Answer(id, answerExecuted)
	}
	if l.size != 1 || l.all.first != first || l.all.last != first || len(l.content) != 1 {
		t.Errorf("%d entries, %d buckets", l.size, len(l.content))
	}
	if deliver, tell := l.Answer(first, answerRefused); !tell || !deliver || !l.Empty() {
		t.Error("the entry that waited was lost")
	}
}
