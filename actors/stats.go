package actors

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
)

// Transport is how a subscriber is reached.
type Transport uint8

const (
	TransportOther     Transport = iota // a Subscriber of the program's own
	TransportWebSocket                  // over a WebSocket
	TransportSSE                        // by a stream of Server-Sent Events
	Transports
)

func (t Transport) String() string { return [...]string{"other", "websocket", "sse"}[t] }

// Part is one of the permanent actors of a hub.
type Part uint8

const (
	PartListener Part = iota
	PartConnections
	PartRegistry
	PartRedis
	Parts
)

func (p Part) String() string { return [...]string{"listener", "connections", "registry", "redis"}[p] }

// Refusal is why a request was not let in.
type Refusal uint8

const (
	RefusedFull         Refusal = iota // the hub has as many subscribers as may be
	RefusedUserLimit                   // the user has as many connections as may be
	RefusedLockedOut                   // the user was disconnected, and is kept out for a while
	RefusedResumes                     // so many wait for Redis to go on from their cursor already
	RefusedStopped                     // the hub drains, or has stopped
	RefusedTimeout                     // the hub's queue stayed full for the channel timeout
	RefusedUnauthorized                // the hook that authenticates did not let it in
	RefusedForbidden                   // it asked for what it may not have
	RefusedUpgrade                     // it could not become a WebSocket: no WebSocket client's, or of a foreign origin
	RefusedOther                       // it was not as it must be, or a hook failed or took too long
	Refusals
)

func (r Refusal) String() string {
	return [...]string{"full", "user limit", "locked out", "resumes", "stopped", "timeout", "unauthorized", "forbidden", "upgrade", "other"}[r]
}

// Counters are what a hub counts from its first use on, where it happens. They are part of its Link, so they outlive each of its
// actors, and may be used from any goroutine.
type Counters struct {
	Broadcasts, Deliveries, Bytes  atomic.Uint64
	Gaps, Repairs, Resumes, Resets atomic.Uint64
	Drops                          [Overflows]atomic.Uint64
	Refusals                       [Refusals]atomic.Uint64
	Disconnects                    [Reasons]atomic.Uint64
	Restarts                       [Parts]atomic.Uint64
	RedisUp                        atomic.Bool // no trouble is known, and what others publish comes if it was asked for
}

// Disconnected counts a subscriber that is none any more. A Reason that is none of the set counts as what it passes for.
func (c *Counters) Disconnected(r Reason) {
	if r >= Reasons {
		r = ReasonCrashed
	}
	c.Disconnects[r].Add(1)
}

// replayed counts what the log had for somebody: a message, or a reset.
func (c *Counters) replayed(f *Frame) {
	switch {
	case f.websocket != nil:
		c.Deliveries.Add(1)
		c.Bytes.Add(uint64(f.Len()))
	case f.place().reset != "":
		c.Resets.Add(1)
	}
}

// Stats is what a hub has counted, and how it is now; or the sum of that over hubs. Counters begin at 0 with the hub and never fall. It
// is a value of its own. As JSON it is an object in which each part has its name, but for zeros in what is counted by something.
type Stats struct {
	Hubs        int         `json:"hubs"`        // that run: those that are in use and have not ended
	Subscribers ByTransport `json:"subscribers"` // now; together they are SubscriberCount
	Users       int         `json:"users"`       // that have a connection now
	Topics      int         `json:"topics"`      // that somebody is in now, but for users' own
	Memberships int         `json:"memberships"` // of subscribers in these
	Queued      ByOp        `json:"queued"`      // operations now that were admitted and not taken by the registry
	RedisUp     int         `json:"redis_up"`    // hubs whose link to Redis is up: no trouble is known, and what others publish comes if it was asked for
	RedisDown   int         `json:"redis_down"`  // hubs with a link to Redis that is not

	Broadcasts  uint64     `json:"broadcasts"`  // messages sent out, of other instances too, and whether or not anybody got them
	Deliveries  uint64     `json:"deliveries"`  // messages put into subscribers' queues, each once for each subscriber; what is sent to one client alone does not count
	Bytes       uint64     `json:"bytes"`       // of payload, of the deliveries
	Drops       ByOverflow `json:"drops"`       // messages for which there was no room in a subscriber's queue
	Refusals    ByRefusal  `json:"refusals"`    // requests for a connection that were not let in
	Disconnects ByReason   `json:"disconnects"` // subscribers that are none any more
	Timeouts    ByOpCount  `json:"timeouts"`    // operations that gave up waiting for a place in the hub's queue
	Restarts    ByPart     `json:"restarts"`    // of permanent actors that failed
	Gaps        uint64     `json:"gaps"`        // times that messages of other instances may have been missed for good
	Repairs     uint64     `json:"repairs"`     // times that a hub with history read from Redis what it had missed
	Resumes     uint64     `json:"resumes"`     // subscribers that came back with a position
	Resets      uint64     `json:"resets"`      // times that one was told to start anew
}

// What Stats counts by something has a place for each of its values.
type (
	ByTransport [Transports]int
	ByOp        [Ops]int
	ByOpCount   [Ops]uint64
	ByOverflow  [Overflows]uint64
	ByRefusal   [Refusals]uint64
	ByReason    [Reasons]uint64 // that of ReasonNone is always 0
	ByPart      [Parts]uint64
)

func (b ByTransport) MarshalJSON() ([]byte, error) { return byName[Transport](b[:]) }
func (b ByOp) MarshalJSON() ([]byte, error)        { return byName[Op](b[:]) }
func (b ByOpCount) MarshalJSON() ([]byte, error)   { return byName[Op](b[:]) }
func (b ByOverflow) MarshalJSON() ([]byte, error)  { return byName[Overflow](b[:]) }
func (b ByRefusal) MarshalJSON() ([]byte, error)   { return byName[Refusal](b[:]) }
func (b ByReason) MarshalJSON() ([]byte, error)    { return byName[Reason](b[:]) }
func (b ByPart) MarshalJSON() ([]byte, error)      { return byName[Part](b[:]) }

// named are the types that something is counted by.
type named interface {
	~uint8
	fmt.Stringer
}

// Labels are the names of the first n values of K, as metrics and JSON have them: with an underscore for each space.
func Labels[K named](n K) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = strings.ReplaceAll(K(i).String(), " ", "_")
	}
	return list
}

func byName[K named, N int | uint64](counts []N) ([]byte, error) {
	object := make(map[string]N)
	for i, name := range Labels(K(len(counts))) {
		if counts[i] != 0 {
			object[name] = counts[i]
		}
	}
	return json.Marshal(object)
}

// Plus is the sum of both: of hubs that are apart, or of one's that have ended and those that run.
func (s Stats) Plus(o Stats) Stats {
	s.Hubs += o.Hubs
	plus(s.Subscribers[:], o.Subscribers[:])
	s.Users += o.Users
	s.Topics += o.Topics
	s.Memberships += o.Memberships
	plus(s.Queued[:], o.Queued[:])
	s.RedisUp += o.RedisUp
	s.RedisDown += o.RedisDown
	s.Broadcasts += o.Broadcasts
	s.Deliveries += o.Deliveries
	s.Bytes += o.Bytes
	plus(s.Drops[:], o.Drops[:])
	plus(s.Refusals[:], o.Refusals[:])
	plus(s.Disconnects[:], o.Disconnects[:])
	plus(s.Timeouts[:], o.Timeouts[:])
	plus(s.Restarts[:], o.Restarts[:])
	s.Gaps += o.Gaps
	s.Repairs += o.Repairs
	s.Resumes += o.Resumes
	s.Resets += o.Resets
	return s
}

func plus[N int | uint64](to, more []N) {
	for i, n := range more {
		to[i] += n
	}
}

// Stats is what the hub has counted, and how it is now. It asks no actor and may be called from any goroutine; what it reads one after
// the other goes on meanwhile. When the hub has ended, what it has counted stays, and nothing is there now.
func (l *Link) Stats() (s Stats) {
	l.Gate.stats(&s)
	select {
	case <-l.Done:
		s.Queued = ByOp{} // what never happened
	default:
		l.Roll.stats(&s)
		s.Hubs = 1
		if up := l.Counters.RedisUp.Load(); l.Redis != nil && up {
			s.RedisUp = 1
		} else if l.Redis != nil {
			s.RedisDown = 1
		}
	}
	c := &l.Counters
	s.Broadcasts, s.Deliveries, s.Bytes = c.Broadcasts.Load(), c.Deliveries.Load(), c.Bytes.Load()
	s.Gaps, s.Repairs, s.Resumes, s.Resets = c.Gaps.Load(), c.Repairs.Load(), c.Resumes.Load(), c.Resets.Load()
	load(s.Drops[:], c.Drops[:])
	load(s.Refusals[:], c.Refusals[:])
	load(s.Disconnects[:], c.Disconnects[:])
	load(s.Restarts[:], c.Restarts[:])
	return s
}

func load(to []uint64, from []atomic.Uint64) {
	for i := range from {
		to[i] = from[i].Load()
	}
}

func (r *Roll) stats(s *Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Subscribers, s.Users, s.Topics, s.Memberships = r.by, r.owned, len(r.topics)-r.owned, r.memberships
}

func (g *Gate) stats(s *Stats) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Queued, s.Timeouts = g.taken, g.timeouts
}

// ActorInfo is what is known of one of a hub's actors.
type ActorInfo struct {
	Name       string     `json:"name"`
	Kind       Kind       `json:"kind"`
	Restarts   uint64     `json:"restarts"` // of it, or its state, after a failure
	Mailbox    int        `json:"mailbox"`  // messages that wait in its mailbox; of a connection, those to be written among them; of the hub itself 0
	Subscriber Subscriber `json:"-"`        // whose connection it is; nil: nobody's
}
