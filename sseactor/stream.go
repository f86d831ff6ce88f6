// Package sseactor is one Server-Sent-Events stream (WHATWG HTML, section 9.2): an actor that writes through net/http while
// the HTTP handler waits, or to a connection that was taken over from net/http.
package sseactor

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// KeepAlive is how long a stream is silent before a comment is sent: proxies cut what is idle for about a minute.
const KeepAlive = 15 * time.Second

// Stream is one SSE stream. Until Respond or Hijack attaches it to a response it only queues. Its methods may be called
// from any goroutine.
type Stream struct {
	box     *actors.Outbox
	lane    lane
	served  bool // made to be attached
	started atomic.Bool

	// Of whoever attaches the stream, until the actor may run; then of the actor.
	out     sink // nil: not attached, or not any more
	closing bool
	pending bool        // what was written is not out yet; frames are paused
	last    time.Time   // when the last write began
	timer   *time.Timer // of the next beat
	limit   *time.Timer // after which closing is cut short
	err     error       // why the stream ended, if not by the hub
}

// New makes a stream that queues size messages and is never attached.
func New(size int) *Stream { return &Stream{box: actors.NewOutbox(size)} }

// NewServed makes a stream for Respond or Hijack.
func NewServed(size int) *Stream {
	s := New(size)
	s.served = true
	s.box.RunOn(&s.lane)
	s.box.EncodeWith((*actors.Frame).SSE)
	return s
}

// Outbox is where the stream's frames and control messages go.
func (s *Stream) Outbox() *actors.Outbox { return s.box }

// Actor is the stream's actor, to be spawned once, with the Outbox as its mailbox.
func (s *Stream) Actor() actor.Actor { return (*stream)(s) }

// CanFlush reports whether w, or a writer that it wraps, can flush.
func CanFlush(w http.ResponseWriter) bool {
	for w != nil {
		switch t := w.(type) {
		case http.Flusher, interface{ FlushError() error }:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
	return false
}

// Refuse ends a stream that will not be served.
func (s *Stream) Refuse(r actors.Reason) {
	s.box.Close(&actors.Close{Reason: r})
	s.box.Abort()
	s.lane.release(actors.Streams())
}

// startBeat begins the silence after which a comment is due.
func (s *Stream) startBeat() *time.Timer {
	s.last = time.Now()
	s.timer = time.AfterFunc(KeepAlive, func() { s.box.PostUserMessage(beat{}) })
	return s.timer
}
