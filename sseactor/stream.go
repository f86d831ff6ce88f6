// Package sseactor is one Server-Sent-Events stream (WHATWG HTML, section 9.2): an actor that runs on the goroutine of
// the HTTP handler it streams for.
package sseactor

import (
	"context"
	"errors"
	"net/http"
	"os"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// KeepAlive is how long a stream is silent before a comment is sent: proxies cut what is idle for about a minute.
const KeepAlive = 15 * time.Second

// Stream is one SSE stream. Until Serve attaches it to a response it only queues. Its methods may be called from any goroutine.
type Stream struct {
	box  *actors.Outbox
	loop *loop // nil: made without a response to serve

	// Of the actor, which runs on the goroutine of Serve while that has not returned.
	out     *response // nil: not attached, or not any more
	started bool
	over    bool
	err     error // why the stream ended, if not by the hub
}

// New makes a stream that queues size messages and is never attached.
func New(size int) *Stream { return &Stream{box: actors.NewOutbox(size)} }

// NewServed makes a stream for Serve.
func NewServed(size int) *Stream {
	s := New(size)
	s.loop = newLoop()
	s.box.RunOn(s.loop)
	return s
}

// Outbox is where the stream's frames and control messages go.
func (s *Stream) Outbox() *actors.Outbox { return s.box }

// Actor is the stream's actor, to be spawned once, with the Outbox as its mailbox.
func (s *Stream) Actor() actor.Actor { return &stream{Stream: s} }

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

// Refuse ends a stream that Serve will not be called for.
func (s *Stream) Refuse(r actors.Reason) {
	s.box.Close(&actors.Close{Reason: r})
	s.box.Abort()
	if s.loop != nil {
		s.loop.end()
	}
}

// Serve answers the request with the stream and blocks until it ends: with nil when the hub closed it or hub ended,
// with the request context's error when the client left, else with the error of the failed write.
func (s *Stream) Serve(hub context.Context, w http.ResponseWriter, r *http.Request, wait time.Duration) error {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	out := &response{w: w, rc: http.NewResponseController(w), wait: wait, lasting: r.ProtoMajor == 1}
	s.out = out
	defer s.loop.end()
	defer func() { s.out = nil; out.detach() }()
	s.box.OnAbort(out.cut)

	request := r.Context()
	defer context.AfterFunc(request, func() { s.loop.call(func() { s.leave(request.Err()) }) })()
	// An actor that is gone, or never was, can close nothing.
	defer context.AfterFunc(hub, func() { s.loop.call(func() { s.over = true }) })()
	if err := out.open(); err != nil {
		s.leave(err)
	}
	s.box.Resume()
	beat := time.AfterFunc(KeepAlive, func() { s.box.PostUserMessage(beat{}) })
	defer beat.Stop()
	out.beat = beat

	for !s.over {
		(<-s.loop.runs)()
	}
	// net/http ends the context when a write fails; one that took too long is not a client that left.
	if err := request.Err(); s.err != nil && err != nil && !errors.Is(s.err, os.ErrDeadlineExceeded) {
		return err
	}
	return s.err
}

// leave has the actor end because of err.
func (s *Stream) leave(err error) {
	if s.err == nil {
		s.err = err
	}
	s.box.PostUserMessage(left{})
	s.over = s.over || !s.started // one that comes later ends by itself
}
