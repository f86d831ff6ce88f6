package redisactor

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/wskit/wskit/actors"
)

// errApart: a PUBLISH was answered, and its echo had not come when a PING behind it was answered on the subscription.
var errApart = errors.New("wskit: subscribed and publishing on different servers")

// renewal is how long the subscriber stays with a connection on which no echoes come, after the first time, when it renews it
// at once. Other messages may come there, and a renewal costs those that come meanwhile.
var renewal = actors.Backoff{Min: time.Second, Max: 5 * time.Minute, Jitter: 0.5}

// doubtPause is how long an answered doubt stands for those that come after it.
const doubtPause = 50 * time.Millisecond

// doubt sends a PING out of turn. What is in doubt while it is on its way, or right after, needs another, a little later: with
// many hubs and a Redis that is slow there is always somebody.
func (s *subscriber) doubt() {
	switch {
	case !s.up:
	case s.doubting > 0:
		s.doubted = true
	default:
		s.doubting = s.probe()
	}
}

// allay ends a doubt that PING number n has settled.
func (s *subscriber) allay(n uint64) {
	if s.doubting > 0 && n >= s.doubting && !s.allayed {
		s.allayed = true
		s.after(doubtPause, &allayed{s.session})
	}
}

// afterDoubt goes on with what came into doubt meanwhile.
func (s *subscriber) afterDoubt() {
	again := s.doubted
	s.doubting, s.doubted, s.allayed = 0, false, false
	if again {
		s.doubt()
	}
}

// renew follows a connection on which echoes do not come with a new one: at once, and if that has them neither, ever later.
func (s *subscriber) renew(epoch uint64) {
	if s.session == nil || s.session.epoch != epoch || s.apart == epoch {
		return
	}
	s.apart = epoch
	var d time.Duration
	if s.renewals > 0 {
		d = renewal.Delay(s.renewals, rand.Float64())
	}
	s.renewals++
	s.after(d, &renew{s.session})
}
