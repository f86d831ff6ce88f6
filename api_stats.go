package wskit

import (
	"errors"
	"net/http"
	"time"

	"github.com/wskit/wskit/actors"
)

// Stats is what a hub has counted since its first use, and how it is now; see its fields. What it counts by something has a place for
// each value of that, as in s.Disconnects[actors.ReasonSlow] or s.Subscribers[actors.TransportSSE].
type Stats = actors.Stats

// ActorInfo is what Tree tells of an actor.
type ActorInfo = actors.ActorInfo

// Stats is what the hub has counted, and how it is now: the zero Stats of a hub that was not used yet, and of one that has ended what it
// had counted then. It asks no actor (but for the first use of what Attach returned), allocates nothing and takes well under a microsecond, so it may be called as often as one likes. What
// it reads one after the other goes on meanwhile: two numbers of one Stats need not be of the same moment. Stats.Plus adds several up.
func (h *Hub) Stats() Stats {
	if h.unused() {
		return Stats{}
	}
	return h.up().Stats()
}

// Tree is the hub's actors that live now: the hub first, then its permanent actors in the order in which they were started, then one for each
// connection, in no particular order. It asks the hub and waits for the answer for up to the channel timeout; nil: the hub was not used
// yet, has ended or does not answer, as while it drains.
func (h *Hub) Tree() []ActorInfo {
	if h.unused() {
		return nil
	}
	l, reply := h.up(), make(chan []ActorInfo, 1)
	select {
	case <-l.Done:
		return nil
	default:
	}
	l.System.Root.Send(l.Hub, &actors.Inspect{Reply: reply})
	limit := time.NewTimer(l.Patience)
	defer limit.Stop()
	select {
	case list := <-reply:
		return list
	case <-l.Done:
	case <-limit.C:
	}
	return nil
}

// kind is what it counts as.
func (not *rejected) kind() actors.Refusal {
	err := not.error
	if not.upgrade {
		return actors.RefusedUpgrade
	}
	if r := (*refusal)(nil); errors.As(err, &r) && !errors.Is(err, ErrHubStopped) { // what it wraps is the hook's affair
		switch r.status {
		case http.StatusUnauthorized:
			return actors.RefusedUnauthorized
		case http.StatusForbidden:
			return actors.RefusedForbidden
		}
		return actors.RefusedOther
	}
	for _, each := range []struct {
		err error
		why actors.Refusal
	}{
		{ErrTooManySubscribers, actors.RefusedFull},
		{ErrTooManyConnections, actors.RefusedUserLimit},
		{ErrLockedOut, actors.RefusedLockedOut},
		{ErrTooManyResumes, actors.RefusedResumes},
		{ErrHubStopped, actors.RefusedStopped},
		{ErrTimeout, actors.RefusedTimeout},
	} {
		if errors.Is(err, each.err) {
			return each.why
		}
	}
	return actors.RefusedOther
}
