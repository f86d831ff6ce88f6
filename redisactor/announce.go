package redisactor

import (
	"slices"
	"time"

	"github.com/wskit/wskit/actors"
)

// What hubs tell each other travels on a channel of its own, through the same publisher as messages. It passes neither Gate nor
// ledger: whoever announces something knows it again.

// heed has the hub listen to that from when it has a user, or has announced something: what there is concerns users alone, and what was
// announced before others announce again to who begins to listen.
func (a *redisActor) heed() {
	if a.heeds {
		return
	}
	a.heeds = true
	if a.member != nil {
		a.controlSub = &subscription{member: a.member, channel: a.control}
		a.link.join(a.controlSub)
	}
}

// silent, to itself from its timer: the oldest announcement has not been answered for long enough.
type silent struct{}

func (a *redisActor) announce(m *actors.Announce) {
	if a.drain != nil {
		notify(m.Reply, actors.ErrHubStopped)
		return
	}
	a.heed()
	e := &entry{frame: actors.NewFrame(m.Payload), at: time.Now()}
	e.caller.reply = m.Reply
	a.announced = append(a.announced, e)
	a.post(job{e, &origin{a.control, a.self}})
	a.armSilence()
}

// armSilence sets the timer for the oldest announcement, if it is not set.
func (a *redisActor) armSilence() {
	if len(a.announced) > 0 && a.silence == nil {
		a.silence = a.after(time.Until(a.announced[0].at.Add(answerWithin)), &silent{})
	}
}

// hush ends the wait for announcements that were made at or before the given time.
func (a *redisActor) hush(before time.Time, err error) {
	for len(a.announced) > 0 && !a.announced[0].at.After(before) {
		a.announcedAs(a.announced[0], err)
	}
}

// announcedAs answers an announcement, once.
func (a *redisActor) announcedAs(e *entry, err error) {
	if i := slices.Index(a.announced, e); i >= 0 {
		a.announced = slices.Delete(a.announced, i, i+1)
		notify(e.caller.reply, err)
	}
}

// tell tells connections, if there are any, what other hubs do.
func (a *redisActor) tellConnections(message any) {
	if to := a.hub.Connections; to != nil {
		a.hub.System.Root.Send(to, message)
	}
}
