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
	stream    []any     // on the subscription: echoes (string), pongs (uint64), a confirmation (bool)
	up        bool      // Redis has the subscription
	confirmed bool      // and the hub knows
	now       int64
	pings     uint64

	published, delivered map[string]int
	foreign              map[string]int // echoes of others that the hub has read
}

type publish struct {
	entry   *entry
	payload string
}

func (s *simulation) deliver(f *actors.Frame) {
	if f == nil {
		return
	}
	text := string(f.Payload())
	if s.delivered[text]++; s.delivered[text] > s.published[text] {
		s.Fatalf("%q was delivered %d times and published %d times", text, s.delivered[text], s.published[text])
	}
}

func (s *simulation) publish(payload string) {
	s.now++
	f := actors.NewFrame([]byte(payload))
	e := s.ledger.Enter(f, nil, time.Unix(s.now, 0), s.confirmed)
	s.published[payload]++
	if !s.confirmed {
		s.deliver(f)
	}
	s.sent = append(s.sent, publish{e, payload})
}

// take executes the first PUBLISH that is on its way; how says what the hub learns of it.
func (s *simulation) take(how answer) {
	if len(s.sent) == 0 {
		return
	}
	p := s.sent[0]
	s.sent = s.sent[1:]
	if how == answerExecuted {
		s.answers = append(s.answers, p.entry)
	} else {
		c, _ := s.ledger.Answer(p.entry, how)
		s.deliver(c.frame)
	}
	if how != answerRefused && s.up {
		s.stream = append(s.stream, p.payload)
	}
}

func (s *simulation) answer() {
	if len(s.answers) > 0 {
		c, _ := s.ledger.Answer(s.answers[0], answerExecuted)
		s.deliver(c.frame)
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
		s.ledger.Ponged(m)
	case string:
		own, deliver := s.ledger.Echo(m)
		if s.published[m] == 0 {
			if own != nil || !deliver {
				s.Fatalf("%q of another: own %v, deliver %v", m, own != nil, deliver)
			}
			s.foreign[m]++
			return
		}
		if own != nil && string(own.Payload()) != m {
			s.Fatalf("%q is taken for %q", m, own.Payload())
		}
		if deliver {
			s.deliver(actors.NewFrame([]byte(m)))
		}
	}
}

func (s *simulation) ping() {
	s.pings++
	s.ledger.Pinged(s.pings)
	s.stream = append(s.stream, s.pings)
}

func (s *simulation) interrupt() {
	s.up, s.confirmed, s.stream = false, false, nil
	for _, f := range s.ledger.Interrupt() {
		s.deliver(f)
	}
}

func (s *simulation) giveUp() {
	for _, c := range s.ledger.GiveUp(time.Unix(s.now-1, 0)) {
		s.deliver(c.frame)
	}
}

func (s *simulation) subscribe() {
	if !s.up {
		s.ledger.Keep(true)
		s.ledger.Subscribing()
		s.up = true
		s.stream = append(s.stream, true)
	}
}

func (s *simulation) finish() {
	for len(s.sent) > 0 {
		s.take(answerExecuted)
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
	f.Add([]byte{8, 5, 16, 32, 48, 1, 1, 7, 4, 8, 3, 5, 5, 2, 2}, []byte("$-1\r\n{\"a\":1}"))
	f.Fuzz(func(t *testing.T, steps, payload []byte) {
		s := &simulation{T: t, ledger: newLedger(), published: map[string]int{}, delivered: map[string]int{}, foreign: map[string]int{}}
		if len(steps) > 500 {
			steps = steps[:500]
		}
		others := 0
		for i, step := range steps {
			switch step % 12 {
			case 0: // a few different payloads, so that equal ones are on their way together
				s.publish("own" + string(payload[:min(len(payload), int(step/12)%4)]))
			case 1:
				s.take(answerExecuted)
			case 2:
				s.answer()
			case 3:
				s.take(answerRefused)
			case 4:
				s.take(answerUnknown)
			case 5:
				s.read()
			case 6:
				if s.up && s.pings < 18 { // after 20, one that nobody answered is taken to be lost
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
					s.stream = append(s.stream, fmt.Sprint("other", i, string(payload)))
				}
			case 11:
				s.interrupt()
				s.ledger.Keep(false)
			}
		}
		s.finish()
	})
}
