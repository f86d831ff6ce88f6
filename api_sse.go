package wskit

import (
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

// NewSSEClient makes an SSEClient that queues up to bufSize messages (<= 0: DefaultSendBufSize) and streams nowhere; it is
// not registered yet. AcceptSSE makes its own. With a nil hub the result is closed.
func NewSSEClient(hub *Hub, bufSize int) *SSEClient {
	if hub == nil {
		hub.warn("NewSSEClient: nil hub")
		return &SSEClient{}
	}
	if bufSize <= 0 {
		bufSize = DefaultSendBufSize
	}
	c := &SSEClient{hub: hub, stream: sseactor.New(bufSize)}
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
//   - ErrFlusherNotSupported: 500.
func AcceptSSE(w http.ResponseWriter, r *http.Request, hub *Hub) error {
	if err := checkRequest(w, r, hub); err != nil {
		return err
	}
	if over, err := hub.checkSSE(w, r); over {
		return err
	}
	var stream interface{ Serve() error }
	var err error
	// To open a stream takes more stack than to wait for its end, and a goroutine keeps what it once needed.
	if failed := hub.up().Goroutines.Isolate("AcceptSSE", func() { stream, err = openSSE(w, r, hub) }); failed != nil {
		rethrow(failed)
	}
	if err != nil {
		return err
	}
	return stream.Serve()
}

// openSSE registers a stream and begins to answer the request with it; an error has been answered.
func openSSE(w http.ResponseWriter, r *http.Request, hub *Hub) (interface{ Serve() error }, error) {
	c := &SSEClient{hub: hub}
	place, err := hub.reserve(r, c, &c.who, standardSettings)
	if err != nil {
		return nil, hub.putOff(w, err)
	}
	defer place.giveBack()
	c.stream = sseactor.NewServed(DefaultSendBufSize)
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
	life := hub.up().Life
	if hub.hijackSSE {
		if taken := c.stream.Hijack(life, w, r, DefaultWriteWait); taken != nil {
			return taken, nil
		}
	}
	return c.stream.Respond(life, w, r, DefaultWriteWait), nil
}

func (c *SSEClient) adopt() {
	c.hub.adopt(&actors.Adopt{Kind: "sse", Subscriber: c, Outbox: c.stream.Outbox(), Actor: c.stream.Actor(), Refuse: c.stream.Refuse})
}
