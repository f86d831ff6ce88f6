package redisactor

import (
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

// refusal is of one channel; the others are none of its business.
type refusal struct {
	attempt int
	until   time.Time // when it is to be tried again
}

// refuse takes the error that a SUBSCRIBE was answered with. The connection is well. A user who may not have one of
// several channels gets none of them, and is not told which it was.
func (s *subscriber) refuse(channels []string, err error) {
	if half := len(channels) / 2; half > 0 && redis.IsPermissionError(err) {
		s.session.ask(request{subscribe: channels[:half]})
		s.session.ask(request{subscribe: channels[half:]})
		return
	}
	s.attempt, s.early = 0, false
	epoch := s.session.epoch
	for _, channel := range channels {
		if s.expect[channel]--; s.expect[channel] <= 0 {
			delete(s.expect, channel)
		}
		delete(s.asked, channel)
		r := s.refused[channel]
		if r == nil {
			r = &refusal{}
			s.refused[channel] = r
		}
		r.attempt++
		r.until = time.Now().Add(reconnect.Delay(r.attempt, rand.Float64()))
		for _, m := range s.link.listeners(channel) {
			if m.epoch.Load() == epoch {
				m.post(&refused{m, epoch, err})
			}
		}
	}
	s.revisit()
}

// revisit has the subscriber look again when the next channel that was refused is to be tried.
func (s *subscriber) revisit() {
	var next *refusal
	for channel, r := range s.refused {
		if !s.asked[channel] && (next == nil || r.until.Before(next.until)) {
			next = r
		}
	}
	if s.again != nil {
		s.again.Stop()
	}
	if next != nil {
		s.again = s.after(time.Until(next.until), &look{})
	}
}
