package redisactor

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wskit/wskit/actors"
)

// trouble reports err, unless things were known to be bad.
func (a *redisActor) trouble(err error) {
	if a.outage.IsZero() {
		a.begin(err)
		a.gate.tell(&actors.Failed{Op: "redis", Err: err})
	}
}

// gap reports that messages of others may have been missed, which is worth knowing each time.
func (a *redisActor) gap(cause error) {
	a.hub.Counters.Gaps.Add(1)
	a.begin(cause)
	a.gate.tell(&actors.Failed{Op: "redis", Err: fmt.Errorf("%w: %w", actors.ErrRedisGap, cause)})
}

// begin logs the beginning of an episode of trouble, and well its end, at the same level, so that who sees one sees both.
func (a *redisActor) begin(cause error) {
	if !a.outage.IsZero() {
		return
	}
	a.outage = time.Now()
	a.turn(false)
	reason, what, hint := "lost", "wskit: redis lost: what is published here reaches this hub's own subscribers only, and nothing comes from others",
		"see whether Redis is up and can be reached; the link comes back by itself"
	switch {
	case errors.Is(cause, errRestarted), errors.Is(cause, errCrashed):
		reason, what, hint = "crashed", "wskit: redis link crashed: messages of others may be missing", "nothing but report the panic; it has been started anew"
	case errors.Is(cause, errApart):
		reason, what = "apart", "wskit: redis subscription and publishing have come apart: what is published here does not come back"
		hint = "have the client's address lead to one server, the primary: look at DNS, balancer and Sentinel; the subscription is renewed by itself"
	case said(cause):
		reason, what = "refused", "wskit: redis refuses: what it refuses reaches this hub's own subscribers only"
		hint = "see the permissions of the client's user (ACL) and the state of Redis; it is asked again by itself"
	}
	a.log().Warn(what, "channel", a.own.channel, "reason", reason, "error", cause, "advice", hint)
}

func (a *redisActor) well() {
	a.turn(true)
	if a.outage.IsZero() {
		return
	}
	a.log().Warn("wskit: redis is back", "channel", a.own.channel, "after", time.Since(a.outage).Round(time.Millisecond))
	a.outage = time.Time{}
}

// turn tells the hub that the link is up or lost, each time that changes; before it was up for the first time it counts as lost.
func (a *redisActor) turn(up bool) {
	a.hub.Counters.RedisUp.Store(up)
	if a.up != up {
		a.up = up
		a.gate.tell(&actors.RedisChanged{Up: up})
	}
}

func (b *books) log() *slog.Logger {
	if b.hub.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return b.hub.Log
}
