// Package sseactor is one Server-Sent-Events stream (WHATWG HTML, section 9.2): an actor that writes through net/http while
// the HTTP handler waits, or to a connection that was taken over from net/http.
package sseactor

import (
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// KeepAlive is how long a stream is silent before a comment is sent: proxies cut what is idle for about a minute.
const KeepAlive = 15 * time.Second

// Config is how a stream behaves. It is not changed any more: one Config may serve many streams.
type Config struct {
	Queue      actors.Bound  // of what waits for the client
	WriteWait  time.Duration // to write an event, or 64 KB of a larger one; > 0
	KeepAlive  time.Duration // of silence before a comment; 0: the constant; negative: there is none
	Retry      time.Duration // what an EventSource is told to wait before it comes back, in whole ms; <= 0: it is told nothing
	EventNames bool          // an event's type goes out as its name, see actors.Frame.NamedSSE
}

// encode is what the stream asks of a frame.
func (c *Config) encode() func(*actors.Frame) []byte {
	if c.EventNames {
		return (*actors.Frame).NamedSSE
	}
	return (*actors.Frame).SSE
}

// keepAlive is the silence before a comment; ok is false when there is to be none.
func (c *Config) keepAlive() (d time.Duration, ok bool) {
	if c.KeepAlive == 0 {
		return KeepAlive, true
	}
	return c.KeepAlive, c.KeepAlive > 0
}

// ErrClaimed: somebody serves the stream already, or did.
var ErrClaimed = errors.New("wskit: stream is served already")

// Stream is one SSE stream. Until Respond or Hijack attaches it to a response it only queues. Its methods may be called
// from any goroutine.
type Stream struct {
	cfg     *Config
	box     *actors.Outbox
	lane    lane
	started atomic.Bool

	mu      sync.Mutex
	claimed bool        // somebody is about to attach it, or has
	over    bool        // its actor ends: it cannot be attached any more
	out     sink        // set by whoever attaches it, before the actor hears of that, and not changed then until the actor has ended
	timer   *time.Timer // of the next beat; likewise

	// Of the actor.
	attached  bool // it is out's
	closing   bool
	pending   bool        // what was written is not out yet; frames are paused
	comesBack bool        // the client is still to be told when
	last      time.Time   // when the last write began
	limit     *time.Timer // after which closing is cut short
	err       error       // why the stream ended, if not by the hub
}

// New makes a stream. It queues, and ends at once when it is closed, until somebody claims it.
func New(cfg *Config) *Stream {
	s := &Stream{cfg: cfg, box: actors.NewBoundOutbox(cfg.Queue)}
	s.lane.box = s.box
	s.box.SetTransport(actors.TransportSSE)
	s.box.RunOn(&s.lane)
	s.box.EncodeWith(cfg.encode())
	return s
}

// Outbox is where the stream's frames and control messages go.
func (s *Stream) Outbox() *actors.Outbox { return s.box }

// Actor is the stream's actor, to be spawned once, with the Outbox as its mailbox.
func (s *Stream) Actor() actor.Actor { return (*stream)(s) }

// Claim comes once, before Hijack and Respond: from now on a stream that is closed waits for these, to write what is queued, and
// ends without them only by Refuse, or when its time is up. The error is ErrHubStopped for one that is closed, or ErrClaimed.
func (s *Stream) Claim() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over || s.box.Reason() != actors.ReasonNone:
		return actors.ErrHubStopped
	case s.claimed:
		return ErrClaimed
	}
	s.claimed = true
	return nil
}

// CanFlush reports whether w, or a writer that it wraps, can flush.
func CanFlush(w http.ResponseWriter) bool {
	_, old := actors.Within[http.Flusher](w)
	_, can := actors.Within[interface{ FlushError() error }](w)
	return old || can
}

// Refuse ends a stream that will not be served.
func (s *Stream) Refuse(r actors.Reason) {
	s.box.Close(&actors.Close{Reason: r})
	s.box.Abort()
}

// attach hands the stream out, whose first bytes are about to be written: a written is to follow when they are, or have failed.
// false means that the actor has ended meanwhile, and will not end out.
func (s *Stream) attach(out sink) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	first := KeepAlive // a look at the connection is due then in any case
	if d, ok := s.cfg.keepAlive(); ok {
		first = min(first, d)
	}
	s.out, s.timer = out, time.AfterFunc(first, func() { s.box.PostUserMessage(beat{}) })
	s.box.PostUserMessage(attached{})
	return true
}
