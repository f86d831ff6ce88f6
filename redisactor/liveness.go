package redisactor

import (
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// pingEvery is how often the subscription connection is pinged, pongWithin how long nothing may be read after that
	// before it counts as dead.
	pingEvery  = 3 * time.Second
	pongWithin = 2 * time.Second
)

// ping finds out whether the connection lives, and goes on doing so.
func (s *subscriber) ping() {
	at := time.Since(base) // before the writer has it: the pong may be here before ask returns
	s.link.round()
	s.probe()
	s.after(pongWithin, &verdict{s.session, at, time.Now().Add(pongWithin)})
}

// probe sends a PING, and returns its number.
func (s *subscriber) probe() uint64 {
	n, by := s.number()
	for _, m := range s.link.all() {
		if m.curious.Load() {
			s.send(m, &pinging{m, n})
		}
	}
	s.session.ask(request{ping: n, by: by})
	return n
}

// number numbers a PING. To one who may not PING any answer is one, but Redis would log it; a SUBSCRIBE to a channel that
// is subscribed to is answered too, and changes nothing.
func (s *subscriber) number() (n uint64, by string) {
	if s.mute {
		for channel := range s.asked {
			if s.subscribed(channel) {
				by = channel
				break
			}
		}
	}
	return s.link.numbers.Add(1), by
}

// pong takes the answer to a PING. An error is an answer like another.
func (s *subscriber) pong(n uint64, err error) {
	s.mute = s.mute || redis.IsPermissionError(err)
	s.ponged = n
	s.served(n)
	for _, m := range s.link.all() {
		if m.curious.Load() {
			m.post(&ponged{m, s.session.epoch, n})
		}
	}
	s.allay(n)
}

// judge looks at what came after a PING. When the verdict itself is late, the process stood still, and nobody could answer.
func (s *subscriber) judge(v *verdict) {
	now := time.Now()
	switch heard := time.Duration(s.session.heard.Load()); {
	case heard > v.at:
		s.after(pingEvery-pongWithin, &tick{s.session})
	case now.Sub(v.due) > pongWithin/2:
		s.after(pongWithin, &verdict{s.session, v.at, now.Add(pongWithin)})
	default:
		s.fail(errSilent)
	}
}
