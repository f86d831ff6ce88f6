package redisactor

import (
	"container/list"
	"slices"
	"time"

	"github.com/wskit/wskit/actors"
)

const (
	// lingerOn is how long a hub stays subscribed to the channel of a topic that nobody is in any more: whoever reloads a page is
	// back soon.
	lingerOn = 2 * time.Second

	// lingerStep is how far apart two looks at those topics are at least, so that they go together.
	lingerStep = 50 * time.Millisecond
)

// topic is a part of a hub that has a channel: the hub itself, whose name is empty, or what somebody is in, or was just now.
type topic struct {
	*origin
	name    string
	members bool          // somebody is in it, by the word of callers
	idle    *list.Element // among those nobody is in; nil: it is none
	since   time.Time     // and since when it is that
	sub     *subscription // nil: the hub does not want what others publish
	on      uint64        // the connection on which Redis has confirmed that; 0: none

	// In a hub with history.
	seen   uint64 // up to there nothing of it is missing, if it is traced
	traced bool
	owed   bool // it was traced when the subscription was lost, and what was missed has not been read
}

// lingered, to itself from its timer: some topics have been without members for long enough.
type lingered struct{}

// topicOf is the topic of that name; nil: nobody is in it, nor was just now.
func (b *books) topicOf(name string) *topic {
	if name == "" {
		return b.own
	}
	return b.topics[name]
}

// origin is where a message to a topic comes from, whoever is in it.
func (a *redisActor) origin(topic string) *origin {
	if t := a.topicOf(topic); t != nil {
		return t.origin
	}
	return &origin{topicChannel(a.own.channel, topic), a.self}
}

// confirmed reports whether Redis has confirmed the subscription, and it was not lost since.
func (b *books) confirmed(t *topic) bool { return t != nil && t.on > b.ended }

// interest notes that somebody is in a topic now, or nobody any more.
func (a *redisActor) interest(m *actors.Interest) {
	t := a.topics[m.Topic]
	switch {
	case m.Topic == "" || a.drained:
	case m.Wanted:
		if t == nil {
			t = &topic{name: m.Topic, origin: a.origin(m.Topic)}
			if a.topics == nil {
				a.topics = make(map[string]*topic)
			}
			a.topics[m.Topic] = t
		}
		t.members = true
		if _, own := actors.TopicUser(t.name); own {
			a.heed()
		}
		a.stir(t)
		if a.member != nil && t.sub == nil {
			a.link.join(a.open(t))
		}
	case t == nil || !t.members:
	case t.sub == nil:
		a.forget(t)
	default:
		t.members, t.since = false, time.Now()
		t.idle = a.idle.PushBack(t)
		a.armLinger()
	}
}

// open makes the subscription to the channel of a topic.
func (a *redisActor) open(t *topic) *subscription {
	a.ledger.Keep(t.name, true)
	t.sub = &subscription{member: a.member, channel: t.channel, topic: t}
	return t.sub
}

// shut ends it. What awaits its echo there is delivered now.
func (a *redisActor) shut(t *topic) {
	t.sub.left = true
	t.sub, t.on, t.traced, t.owed = nil, 0, false, false
	if h := a.history; h != nil { // what was held back of it is nobody's any more
		h.held = slices.DeleteFunc(h.held, func(each arrival) bool {
			if each.topic != t {
				return false
			}
			h.heldBytes -= len(each.payload)
			return true
		})
	}
	for _, e := range a.ledger.InterruptTopic(t.name) {
		a.deliverOwn(e)
	}
	a.ledger.Keep(t.name, false)
	delete(a.barred, t.channel)
	a.stir(t)
	if t != a.own && !t.members {
		a.forget(t)
	}
}

// stir takes a topic from among those nobody is in.
func (a *redisActor) stir(t *topic) {
	if t.idle != nil {
		a.idle.Remove(t.idle)
		t.idle = nil
	}
}

func (a *redisActor) forget(t *topic) {
	if delete(a.topics, t.name); len(a.topics) == 0 {
		a.topics = nil // maps keep the room of their busiest hour
	}
}

// armLinger sets the timer for the topic that nobody has been in for longest, if it is not set.
func (a *redisActor) armLinger() {
	if first := a.idle.Front(); first != nil && a.lingers == nil {
		a.lingers = a.after(max(time.Until(first.Value.(*topic).since.Add(lingerOn)), lingerStep), &lingered{})
	}
}

// lingered leaves the channels of the topics that nobody has been in for long enough.
func (a *redisActor) lingered(now time.Time) {
	a.lingers = nil
	var left []*subscription
	names := make(map[string]bool)
	for first := a.idle.Front(); first != nil; first = a.idle.Front() {
		t := first.Value.(*topic)
		if now.Sub(t.since) < lingerOn {
			break
		}
		left = append(left, t.sub)
		if a.history != nil {
			names[t.name] = true
		}
		a.shut(t)
	}
	if len(left) > 0 {
		a.link.leave(left...)
		if a.history != nil {
			a.leftLogged(names)
		}
	}
	a.armLinger()
}

// bar takes it that Redis refuses a channel that is not the hub's own. One report is for all of them.
func (a *redisActor) bar(channel string, err error) {
	if len(a.barred) == 0 {
		a.log().Warn("wskit: redis refuses the channel of a topic, or of what hubs tell each other: what it refuses stays in this hub",
			"channel", channel, "error", err, "advice", "see the permissions of the client's user (ACL); it is asked again by itself")
		if a.outage.IsZero() {
			a.gate.tell(&actors.Failed{Op: "redis", Err: err})
		}
	}
	if _, known := a.barred[channel]; known || len(a.barred) >= maxBarred {
		return
	}
	if a.barred == nil {
		a.barred = make(map[string]struct{})
	}
	a.barred[channel] = struct{}{}
}

// maxBarred is how many channels that Redis refuses are remembered.
const maxBarred = 1024

// unbar takes it that Redis does not refuse a channel any more.
func (a *redisActor) unbar(channel string) {
	if _, known := a.barred[channel]; !known {
		return
	}
	if delete(a.barred, channel); len(a.barred) == 0 {
		a.barred = nil
		a.log().Warn("wskit: redis does not refuse those channels any more")
	}
}
