package redisactor

import (
	"errors"
	"fmt"
	"time"

	"github.com/wskit/wskit/actors"
)

// What follows is what a hub's redis actor makes of its subscriptions: whether there are any, and what it means for the hub's messages that Redis
// has confirmed, refused or lost one.

func (a *redisActor) subscribe() {
	if a.wanted++; a.wanted > 1 || a.drain != nil {
		return
	}
	a.member = newMember(a.self, a.hub.System.Root.Send)
	if a.heeds {
		a.controlSub = &subscription{member: a.member, channel: a.control}
	}
	a.open(a.own)
	for _, t := range a.topics {
		a.open(t)
	}
	a.link.join(a.subscriptions()...)
}

// subscriptions are all that the hub has.
func (a *redisActor) subscriptions() []*subscription {
	list := make([]*subscription, 0, len(a.topics)+2)
	if a.controlSub != nil {
		list = append(list, a.controlSub)
	}
	list = append(list, a.own.sub)
	for _, t := range a.topics {
		list = append(list, t.sub)
	}
	return list
}

func (a *redisActor) unsubscribe() {
	if a.wanted == 0 {
		return
	}
	if a.wanted--; a.wanted == 0 {
		a.leave()
	}
}

// leave ends the subscriptions, if there are any. What awaits its echo is delivered now.
func (a *redisActor) leave() {
	if a.member == nil {
		return
	}
	a.link.leave(a.subscriptions()...)
	a.member.leave()
	a.flush()
	if a.history != nil {
		a.leaveLogged()
	}
	if a.controlSub != nil {
		a.controlSub.left = true
		delete(a.barred, a.control)
	}
	for _, t := range a.topics {
		a.shut(t)
	}
	a.shut(a.own)
	a.member, a.controlSub, a.heard, a.apart, a.outage = nil, nil, 0, false, time.Time{}
}

// confirm takes it that Redis has confirmed a subscription.
func (a *redisActor) confirm(s *subscription, epoch uint64) {
	a.unbar(s.channel)
	if s.topic == nil {
		a.tellConnections(&actors.Announcing{})
		return
	}
	again := a.confirmed(s.topic)
	s.topic.on, a.heard = epoch, epoch
	if a.history != nil {
		a.confirmLogged(s.topic, again)
	}
	if !s.own() {
		return
	}
	if !a.apart && a.history == nil { // that goes on when it is repaired
		a.well()
	}
	if !again {
		a.gate.tell(&actors.Subscribed{Channel: s.channel})
	}
}

// refused takes it that Redis has refused one.
func (a *redisActor) refused(s *subscription, err error) {
	switch {
	case !s.own():
		a.bar(s.channel, err)
	case len(a.barred) > 0: // with the hub's own channel others were, and that was reported
		a.begin(err)
	default:
		a.trouble(err)
	}
}

func (a *redisActor) lost(epoch uint64, err error) {
	heard := a.heard > a.ended
	a.ended = epoch
	switch {
	case heard && a.apart && errors.Is(err, errApart): // it was told that echoes do not come there
		a.interrupt()
	case heard:
		a.interrupt()
		a.gone(err)
	default:
		a.trouble(err)
	}
}

// interrupt is for when there may be no echoes any more. What awaits one is delivered now.
func (a *redisActor) interrupt() {
	a.heard, a.own.on = 0, 0
	for _, t := range a.topics {
		t.on = 0
	}
	if a.history != nil {
		a.interruptLogged()
	} else {
		a.flush()
	}
}

// gone reports that messages of others may be missing, or of a hub with history, which finds them, the trouble.
func (a *redisActor) gone(cause error) {
	if a.history != nil {
		a.trouble(cause)
	} else {
		a.gap(cause)
	}
}

// missed is for when messages have come that this hub had no room for, its own among them.
func (a *redisActor) missed(n int) {
	if a.history == nil {
		a.flush()
	}
	if s := a.controlSub; s != nil && s.told.Load() > a.ended { // and what other hubs told, perhaps
		a.tellConnections(&actors.Announcing{})
	}
	if a.history != nil {
		a.tear(true)
		a.proceed()
		return
	}
	a.hub.Counters.Gaps.Add(1)
	a.gate.report(fmt.Errorf("%w: %d were left out, which came faster than this hub takes them", actors.ErrRedisGap, n))
}

// ponged delivers what a PING's answer has shown to have no echo.
func (a *redisActor) ponged(n, epoch uint64) {
	if a.history != nil {
		a.pongedLogged(n)
	}
	list, missing := a.ledger.Ponged(n, epoch)
	for _, e := range list {
		a.deliverOwn(e)
	}
	if !missing {
		return
	}
	if !a.apart {
		a.apart = true
		a.gap(errApart)
	}
	a.link.tell(&apart{epoch})
}

func (a *redisActor) together() {
	a.apart = false
	a.link.tell(&together{})
	if a.confirmed(a.own) {
		a.well()
	}
}
