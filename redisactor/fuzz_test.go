package redisactor

import (
	"fmt"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

// simulation is a ledger between a hub and a Redis of which every step is chosen by the fuzzer.
type simulation struct {
	*testing.T
	ledger    *ledger
	sent      []publish // to Redis, not executed yet
	answers   []*entry  // executed, and the answer is on its way
	stream    []any     // on the subscription: echoes (heard), pongs (uint64), a confirmation (bool)
	up        bool      // Redis has the subscription
	confirmed bool      // and the hub knows
	now       int64
	pings     uint64

	connection uint64 // the number of the subscription
	apart      bool   // the hub does not wait for echoes
	elsewhere  bool   // some PUBLISH was executed by another server

	published, delivered map[string]int
	foreign              map[string]int // echoes of others that the hub has read
}

type publish struct {
	entry *entry
	heard
}

type heard struct{ topic, payload string }

func (h heard) String() string { return h.topic + "/" + h.payload }

func (s *simulation) deliver(e *entry) {
	text := heard{e.account.topic, string(e.frame.Payload())}.String()
	if s.delivered[text]++; s.delivered[text] > s.published[text] {
		s.Fatalf("%q was delivered %d times and published %d times", text, s.delivered[text], s.published[text])
	}
}

func (s *simulation) publish(h heard) {
	s.now++
	e := s.ledger.Enter(h.topic, actors.NewFrame([]byte(h.payload)), nil, time.Unix(s.now, 0), s.confirmed && !s.apart, s.epoch())
	s.published[h.String()]++
	if e.echo != echoAwaited {
		s.deliver(e)
	}
	s.sent = append(s.sent, publish{e, h})
}

func (s *simulation) epoch() uint64 {
	if !s.confirmed {
		return 0
	}
	return s.connection
}

func (s *simulation) answered(e *entry, how answer) {
	if deliver, _ := s.ledger.Answer(e, how); deliver {
		s.deliver(e)
	}
}

// take executes the first PUBLISH that is on its way; how says what the hub learns of it. elsewhere says that a server does
// that which the hub is not subscribed to.
func (s *simulation) take(how answer, elsewhere bool) {
	if len(s.sent) == 0 {
		return
	}
	p := s.sent[0]
	s.sent = s.sent[1:]
	if how == answerExecuted {
		s.answers = append(s.answers, p.entry)
	} else {
		s.answered(p.entry, how)
	}
	if how != answerRefused && s.up && !elsewhere {
		s.stream = append(s.stream, p.heard)
	}
}

func (s *simulation) answer() {
	if len(s.answers) > 0 {
		s.answered(s.answers[0], answerExecuted)
		s.answers = s.answers[1:]
	}
}

func (s *simulation) read() {
	if len(s.stream) == 0 {
		return
	}
	m := s.stream[0]
	s.stream = s.stream[1:]
	switch m := m.(type) {
	case bool:
		s.confirmed = true
	case uint64:
		list, apart := s.ledger.Ponged(m, s.connection)
		if apart && !s.elsewhere {
			s.Fatal("an echo is said not to come that does")
		}
		for _, e := range list {
			s.deliver(e)
		}
		s.apart = s.apart || apart
	case heard:
		own, deliver := s.ledger.Echo(m.topic, m.payload)
		s.apart = s.apart && own == nil
		if s.published[m.String()] == 0 {
			if own != nil || !deliver {
				s.Fatalf("%q of another: own %v, deliver %v", m, own != nil, deliver)
			}
			s.foreign[m.String()]++
			return
		}
		if own != nil && (heard{own.account.topic, string(own.frame.Payload())}) != m {
			s.Fatalf("%q is taken for %q", m, own.frame.Payload())
		}
		if deliver {
			s.deliver(&entry{account: &account{topic: m.topic}, frame: actors.NewFrame([]byte(m.payload))})
		}
	}
}

func (s *simulation) ping() {
	s.pings += 1 << roundBits
	s.ledger.Pinged(s.pings)
	s.stream = append(s.stream, s.pings)
}

func (s *simulation) interrupt() {
	s.up, s.confirmed, s.stream = false, false, nil
	for _, e := range s.ledger.Interrupt() {
		s.deliver(e)
	}
}

func (s *simulation) giveUp() {
	for _, o := range s.ledger.GiveUp(time.Unix(s.now-1, 0)) {
		if o.deliver {
			s.deliver(o.entry)
		}
	}
}

func (s *simulation) subscribe() {
	if !s.up {
		s.ledger.Keep("", true)
		s.ledger.Keep("t", true)
		s.connection++
		s.pings++
		s.ledger.Pinged(s.pings)
		s.ledger.Subscribing("", s.pings)
		s.ledger.Subscribing("t", s.pings)
		s.up = true
		s.stream = append(s.stream, true)
	}
}

func (s *simulation) finish() {
	for len(s.sent) > 0 {
		s.take(answerExecuted, false)
	}
	for len(s.answers) > 0 {
		s.answer()
	}
	for len(s.stream) > 0 {
		s.read()
	}
	s.now += 2
	s.giveUp()
	s.interrupt()
	for text, n := range s.published {
		if s.delivered[text] != n {
			s.Errorf("%q was published %d times and delivered %d times", text, n, s.delivered[text])
		}
	}
	for range 30 {
		s.ping()
		s.read()
	}
	if !s.ledger.Empty() || s.ledger.notes != 0 || s.ledger.waiting != 0 || len(s.ledger.content) != 0 {
		s.Errorf("the ledger is not empty in the end: %d entries, %d notes, %d waiting", s.ledger.size, s.ledger.notes, s.ledger.waiting)
	}
}

// Whatever bytes are published, and however answers, echoes, losses and new subscriptions interleave: each message is
// delivered once for each time it was published, one of another instance is nobody's own, and in the end nothing is left.
func FuzzAMessageIsDeliveredOnceHoweverRedisInterleaves(f *testing.F) {
	f.Add([]byte{8, 5, 0, 1, 2, 5}, []byte("payload"))
	f.Add([]byte{8, 5, 0, 0, 0, 1, 7, 8, 1, 2, 5, 5, 1, 2, 2, 5, 5}, []byte("same"))
	f.Add([]byte{0, 1, 2, 8, 0, 5, 1, 5, 2, 9, 6, 5, 6, 5}, []byte{0, 255, '\r', '\n'})
	f.Add([]byte{8, 0, 9, 0, 9, 5, 3, 4, 1, 10, 5, 5, 5}, []byte{})
	f.Add([]byte{8, 5, 0, 11, 8, 1, 5, 5, 2, 6, 5}, []byte("left and came back"))
	f.Add([]byte{8, 5, 0, 252, 2, 248, 5, 0, 252, 2, 8, 6, 5, 7, 8, 5, 0, 1, 2, 5, 6, 5}, []byte("two servers"))
	f.Add([]byte{8, 5, 0, 240, 1, 5, 1, 5, 2, 2, 240, 0, 1, 7, 8, 1, 5, 5, 6, 5}, []byte("two topics"))
	f.Add([]byte{8, 5, 16, 32, 48, 1, 1, 7, 4, 8, 3, 5, 5, 2, 2}, []byte("$-1\r\n{\"a\":1}"))
	f.Fuzz(func(t *testing.T, steps, payload []byte) {
		s := &simulation{T: t, ledger: newLedger(), published: map[string]int{}, delivered: map[string]int{}, foreign: map[string]int{}}
		if len(steps) > 500 {
			steps = steps[:500]
		}
		others := 0
		for i, step := range steps {
			op := step % 12
			switch { // steps that came later, so that what was found before stays what it was
			case step >= 252:
				op = 12
			case step >= 248:
				op = 13
			case step >= 240:
				op = 14
			}
			switch op {
			case 0: // a few different payloads, so that equal ones are on their way together
				s.publish(heard{"", "own" + string(payload[:min(len(payload), int(step/12)%4)])})
			case 1:
				s.take(answerExecuted, false)
			case 2:
				s.answer()
			case 3:
				s.take(answerRefused, false)
			case 4:
				s.take(answerUnknown, false)
			case 5:
				s.read()
			case 6:
				if s.up && s.pings>>roundBits < 18 { // after 20, one that nobody answered is taken to be lost
					s.ping()
				}
			case 7:
				s.interrupt()
			case 8:
				s.subscribe()
			case 9:
				s.giveUp()
			case 10:
				if s.up {
					others++
					s.stream = append(s.stream, heard{"", fmt.Sprint("other", i, string(payload))})
				}
			case 11:
				s.interrupt()
				s.ledger.Keep("", false)
				s.ledger.Keep("t", false)
			case 12:
				s.elsewhere = true
				s.take(answerExecuted, true)
			case 14: // the same, to a topic
				s.publish(heard{"t", "own" + string(payload[:min(len(payload), int(step)%4)])})
			case 13: // somebody is in doubt
				if s.up {
					s.pings++
					s.ledger.Pinged(s.pings)
					s.stream = append(s.stream, s.pings)
				}
			}
		}
		s.finish()
	})
}
