package redisactor

import (
	"math/rand/v2"
	"slices"
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
	channels = slices.DeleteFunc(channels, func(channel string) bool {
		if s.asked[channel] {
			return false
		}
		s.answered(channel) // nobody wants it any more
		return true
	})
	if half := len(channels) / 2; half > 0 && redis.IsPermissionError(err) {
		s.session.ask(request{subscribe: channels[:half]})
		s.session.ask(request{subscribe: channels[half:]})
		return
	}
	s.attempt, s.early = 0, false
	epoch := s.session.epoch
	for _, channel := range channels {
		if !s.answered(channel) {
			continue // it was asked for once more since
		}
		delete(s.asked, channel)
		r := s.refused[channel]
		if r == nil {
			r = &refusal{}
			s.refused[channel] = r
		}
		r.attempt++
		r.until = time.Now().Add(reconnect.Delay(r.attempt, rand.Float64()))
		s.revisit(r.until)
		for _, each := range s.link.listeners(channel) {
			if each.epoch.Load() == epoch {
				each.post(&refused{each, epoch, err})
			}
		}
	}
}

// revisitEvery is how far apart two looks at what was refused are at least: it may be much.
const revisitEvery = 250 * time.Millisecond

// revisit has the subscriber look at what was refused, then or a little later.
func (s *subscriber) revisit(at time.Time) {
	if s.again != nil {
		if !at.Before(s.due) {
			return
		}
		s.again.Stop()
	}
	s.due = at
	s.again = s.after(max(time.Until(at), revisitEvery), &revive{})
}

// revive asks again for what was refused and is due: by itself, lest it is refused once more, and others with it.
func (s *subscriber) revive() {
	now := time.Now()
	var again []string
	for channel, r := range s.refused {
		switch {
		case s.asked[channel]:
		case now.Before(r.until):
			s.revisit(r.until)
		default:
			s.ask(channel)
			again = append(again, channel)
		}
	}
	if len(again) > 0 {
		s.session.ask(request{subscribe: again})
	}
}
