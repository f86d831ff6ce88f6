package wskit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/sseactor"
)

// SSEClient is one Server-Sent-Events stream. The zero SSEClient is closed.
type SSEClient struct {
	hub    *Hub
	stream *sseactor.Stream
	who    atomic.Pointer[identity] // nil: there is nothing to say
}

// NewSSEClient makes an SSEClient that queues up to bufSize messages (<= 0: DefaultSendBufSize). It streams nowhere until its Serve
// is called, and is not registered yet. AcceptSSE and ServeSSE make their own. With a nil hub the result is closed.
func NewSSEClient(hub *Hub, bufSize int) *SSEClient {
	if hub == nil {
		hub.warn("NewSSEClient: nil hub")
		return &SSEClient{}
	}
	hub, err := hub.hold()
	if err != nil {
		hub.warn("NewSSEClient: " + err.Error())
		return &SSEClient{}
	}
	defer hub.release()
	set := standard
	if bufSize > 0 && bufSize != DefaultSendBufSize {
		set = configure([]ClientOption{WithSendBufSize(bufSize)})
	}
	c := &SSEClient{hub: hub, stream: sseactor.New(set.at(hub).sse)}
	c.adopt()
	return c
}

// Send queues data for this client and never blocks; false means that the queue is full or the client closed. The caller may reuse data.
func (c *SSEClient) Send(data []byte) bool {
	box := c.Outbox()
	return box != nil && box.Send(actors.NewFrame(data)) == nil
}

// Close writes what is queued, then ends the stream; it does not wait for that. It is idempotent.
func (c *SSEClient) Close() {
	if box := c.Outbox(); box != nil {
		box.Close(&actors.Close{Reason: actors.ReasonClosed})
	}
}

// Outbox is the mailbox of the stream's actor: it makes an SSEClient an actors.Connection. nil if the client was never open.
func (c *SSEClient) Outbox() *actors.Outbox {
	if c == nil || c.stream == nil {
		return nil
	}
	return c.stream.Outbox()
}

// AcceptSSE answers the request, a GET or POST, with a stream of Server-Sent Events (WHATWG HTML, section 9.2), registers it and
// blocks. Each message is one event of data lines, in which bytes that are not valid UTF-8 are U+FFFD; each write has
// DefaultWriteWait at least, and a comment goes out with the headers and after every 15 s of silence. It returns nil when the hub
// closed the stream, r.Context().Err() when the client left, or the write error. Of the headers Content-Type (if it is
// text/event-stream), Cache-Control and X-Accel-Buffering, what w has stands. On a hub WithSSEHijack it takes the connection
// over from net/http, if it can.
//
// A client that does not take what is written is cut after up to 12.5 s for each 64 KB, and on Linux one whose network has vanished
// when data was not acknowledged for 30 s (TCP_USER_TIMEOUT), of which there is some 15 s after the last event at the latest. Behind a
// ResponseWriter that neither takes write deadlines nor has Unwrap, the connection is shut down then, with all else that an HTTP/2
// client has asked for over it. That takes Linux, and a client's address in r.RemoteAddr that is not from a header; where it cannot be
// done the stream still leaves the hub in time, but AcceptSSE waits for the write, whose buffers net/http would give to others.
//
// A HEAD request is answered with the headers; then it returns nil. Nothing was streamed when the error wraps
//   - ErrTooManySubscribers, ErrTimeout, or ErrHubStopped while the hub drains: answered 200, with a stream that is over and has an
//     EventSource come back in 2 to 5 s, or 503 (see WithSSERefusalStatus),
//   - ErrHubStopped for a hub that has stopped: 503, which tells an EventSource to give up,
//   - ErrMethodNotAllowed: 405, with Allow,
//   - ErrFlusherNotSupported: 500,
//   - ErrTooManyResumes: as ErrTooManySubscribers; ErrTooManyConnections: likewise, with 429 in place of 503; ErrLockedOut: 403,
//   - what WithAuthenticate and WithAuthorize refuse: as it says there.
func AcceptSSE(w http.ResponseWriter, r *http.Request, hub *Hub) error {
	return standard.serveSSE("AcceptSSE", w, r, hub)
}

// ServeSSE is AcceptSSE with options, and without an error when the client left: nil then, as when the hub closed the stream. Of
// the options those matter that have a meaning for a stream: WithTopics, WithUser, WithValue, WithWriteWait, WithSendBufSize,
// WithSendBufBytes, WithOverflow, WithRetry, WithKeepAlive and WithEventNames.
func ServeSSE(w http.ResponseWriter, r *http.Request, hub *Hub, opts ...ClientOption) error {
	return unlessLeft(configure(opts).serveSSE("ServeSSE", w, r, hub))
}

// Serve answers the request with the stream of an SSEClient that NewSSEClient made, as ServeSSE does, and blocks. It may be
// registered before or after; what it was sent so far goes out first. That its client leaves ends it, and takes it out of the hub.
// It can be served once: an error wraps ErrInvalidArgument if it is or was served, answered 500, ErrHubStopped if it is closed,
// answered 503. The other errors are those of ServeSSE, but nobody is put off because the hub is full or drains. A request that is
// not answered with the stream, for its method or for want of a writer that can flush, leaves the stream to another.
func (c *SSEClient) Serve(w http.ResponseWriter, r *http.Request) error {
	if w == nil || r == nil {
		return fmt.Errorf("%w: nil ResponseWriter or Request", ErrInvalidArgument)
	}
	if c == nil || c.stream == nil {
		answer(w, http.StatusServiceUnavailable)
		return ErrHubStopped
	}
	return unlessLeft(c.hub.refused(r, c.serve(w, r)))
}

func (c *SSEClient) serve(w http.ResponseWriter, r *http.Request) error {
	if over, err := c.hub.checkSSE(w, r, nil); over {
		return err
	}
	switch err := c.stream.Claim(); {
	case errors.Is(err, ErrHubStopped):
		return c.hub.refuse(w, err)
	case err != nil:
		return reject(w, http.StatusInternalServerError, fmt.Errorf("%w: %w", ErrInvalidArgument, err))
	}
	return c.hub.stream("ServeSSE", func() (answering, error) { return c.answer(w, r), nil })
}

// unlessLeft is err, unless that says that the client left. What a hook refused a request for is told.
func unlessLeft(err error) error {
	if errors.Is(err, context.Canceled) && !errors.As(err, new(*refusal)) {
		return nil
	}
	return err
}

// answering is a request that is being answered with a stream.
type answering interface{ Serve() error }

// serveSSE answers a request with a stream of its own, and blocks.
func (s *settings) serveSSE(op string, w http.ResponseWriter, r *http.Request, hub *Hub) error {
	if err := checkRequest(w, r, hub); err != nil {
		return err
	}
	hub, err := hub.holdContext(r.Context())
	if err != nil {
		turnAway(w, r, err)
		return fmt.Errorf("wskit: accept SSE: %w", err)
	}
	defer hub.release()
	within, end := hub.accepting(r, "sse")
	over, err := hub.checkSSE(w, within, s)
	if over {
		end(err)
	} else {
		err = hub.stream(op, func() (answering, error) {
			a, err := s.open(w, within, hub)
			end(err)
			return a, err
		})
	}
	return hub.refused(r, err)
}

// stream opens a stream and waits for its end. To open one takes more stack than to wait, and a goroutine keeps what it once needed.
func (h *Hub) stream(op string, open func() (answering, error)) error {
	var a answering
	var err error
	if failed := h.up().Goroutines.Isolate(op, func() { a, err = open() }); failed != nil {
		rethrow(failed)
	}
	if err != nil {
		return err
	}
	return a.Serve()
}

// open registers a stream and begins to answer the request with it; an error has been answered.
func (s *settings) open(w http.ResponseWriter, r *http.Request, hub *Hub) (answering, error) {
	c := &SSEClient{hub: hub}
	s = s.at(hub)
	place, err := hub.reserve(r, c, &c.who, s)
	if err != nil {
		return nil, hub.putOff(w, err)
	}
	defer place.giveBack()
	c.stream = sseactor.New(s.sse)
	_ = c.stream.Claim() // nobody else knows it yet
	place.settle(c.stream.Outbox())
	c.adopt()
	in := false
	defer func() {
		if !in { // or OnTimeout has ended this goroutine
			c.stream.Refuse(actors.ReasonRefused)
		}
	}()
	if err := place.take(c); err != nil {
		return nil, hub.putOff(w, err)
	}
	in = true
	return c.answer(w, r), nil
}

// answer begins to answer the request with the stream, which is claimed.
func (c *SSEClient) answer(w http.ResponseWriter, r *http.Request) answering {
	l := c.hub.up()
	if l.SSEHijack {
		if taken := c.stream.Hijack(l.Life, w, r); taken != nil {
			return taken
		}
	}
	return c.stream.Respond(l.Life, w, r)
}

func (c *SSEClient) adopt() {
	if c.hub.up().History != nil {
		c.stream.Outbox().KeepCursor()
	}
	c.hub.adopt(c.hub.house(&actors.Adopt{Kind: "sse", Subscriber: c, Outbox: c.stream.Outbox(), Actor: c.stream.Actor(), Refuse: c.stream.Refuse}))
}
