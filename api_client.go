package wskit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"go.opentelemetry.io/otel/trace"
)

// Client is one WebSocket connection. The zero Client, and one made of nil arguments, is closed.
type Client struct {
	hub  *Hub
	conn *clientactor.Conn
	who  atomic.Pointer[identity] // nil: there is nothing to say
}

// Accept upgrades the request to a WebSocket, makes a Client of it and registers it; run ReadPump and WritePump in
// goroutines of their own, or Serve in one. acceptOpts may be nil, which means those of WithAcceptOptions; see there for cross-origin requests, which are refused by
// default, and for compression (RFC 7692), which is off: with it, a broadcast is compressed once for all clients.
//
// The client is closed when ctx ends. The end of the request's own context, with which net/http ends the handler, does not count,
// however many contexts stand between it and ctx; one that the caller ends while the request lives does, a deferred cancel included.
//
// An error has been answered: a failed upgrade by the WebSocket library, with its error, and the hub's log says once for each kind what
// to do about it; a stopped hub with 503 and an
// error wrapping ErrHubStopped; a hub that is full (ErrTooManySubscribers) with 503 and a user who has as many connections as may be
// (ErrTooManyConnections) with 429, both with Retry-After; a user who is locked out (ErrLockedOut) with 403; a hub whose Redis has many to bring up to date (ErrTooManyResumes) with 503; who is not let in as
// WithAuthenticate and WithAuthorize say; and options that cannot be (WithTopics, WithUser, WithValue) with 500. When the hub's queue stays full the connection is closed with 1013 and the error wraps ErrTimeout.
func Accept(ctx context.Context, w http.ResponseWriter, r *http.Request, hub *Hub, acceptOpts *websocket.AcceptOptions, clientOpts ...ClientOption) (*Client, error) {
	if err := checkRequest(w, r, hub); err != nil {
		return nil, err
	}
	within, end := hub.accepting(r, "websocket")
	if within != r && ctx != nil {
		ctx = trace.ContextWithSpan(ctx, trace.SpanFromContext(within.Context()))
	}
	c, err := accept(ctx, w, within, hub, acceptOpts, clientOpts)
	end(err)
	return c, hub.refused(r, err)
}

func accept(ctx context.Context, w http.ResponseWriter, r *http.Request, hub *Hub, acceptOpts *websocket.AcceptOptions, clientOpts []ClientOption) (*Client, error) {
	if ctx == nil {
		return nil, reject(w, http.StatusInternalServerError, fmt.Errorf("%w: nil context", ErrInvalidArgument))
	}
	hub, err := hub.holdContext(r.Context())
	if err != nil {
		turnAway(w, r, err)
		return nil, fmt.Errorf("wskit: accept: %w", err)
	}
	defer hub.release()
	c := &Client{hub: hub}
	set := configure(clientOpts).at(hub)
	if acceptOpts == nil {
		acceptOpts = set.accept
	}
	acceptOpts = hub.offer(acceptOpts)
	place, err := hub.reserve(r, c, &c.who, set)
	if err != nil {
		return nil, hub.refuse(w, err)
	}
	defer place.giveBack()
	l := hub.up()
	var coming *actors.Adopt
	var refused error
	enter := func(conn *clientactor.Conn) {
		c.conn = conn
		c.listen(ctx)
		watch(conn, ctx, r)
		place.settle(conn.Outbox())
		coming = hub.house(c.adoption())
		refused = place.take(c)
	}
	upgraded := false
	defer func() {
		if coming != nil && !upgraded { // what has entered will have no actor
			l.Adoptions.Taken(coming)
			coming.Outbox.Close(&actors.Close{Reason: actors.ReasonRefused})
			coming.Outbox.Discard()
		}
	}()
	// An upgrade needs 8 KB of stack: here they have been grown before, and a caller that goes on to Serve does not keep them.
	if failed := l.Goroutines.Isolate("Accept", func() {
		_, err = clientactor.Accept(w, r, acceptOpts, set.ws, l.Goroutines, c.handle(ctx), enter)
	}); failed != nil {
		rethrow(failed)
	}
	if err != nil {
		return nil, hub.refusedUpgrade(r, err)
	}
	upgraded = true
	hub.adopt(coming)
	if refused != nil {
		c.conn.Outbox().Close(&actors.Close{Reason: actors.ReasonRefused})
		return nil, &rejected{status: http.StatusSwitchingProtocols, error: fmt.Errorf("wskit: accept: %w", refused)}
	}
	return c, nil
}

// ServeWS is the whole handler of a WebSocket: it does what Accept does, and then what the client's Serve does, on the
// goroutine of the request. Like Accept's, its errors of the upgrade have been answered. It blocks, as AcceptSSE does, and
// for as long net/http keeps the request and its own part of the stack, some 5 KB: a handler that returns after Accept and
// "go client.Serve()" spares that. Once the upgrade has been made nothing more can be written to w, whatever is returned. The request's context counts for its values alone: net/http does not end it when the client leaves.
func ServeWS(w http.ResponseWriter, r *http.Request, hub *Hub, acceptOpts *websocket.AcceptOptions, opts ...ClientOption) error {
	ctx := context.Background()
	if r != nil {
		ctx = r.Context()
	}
	c, err := Accept(ctx, w, r, hub, acceptOpts, opts...)
	if err != nil {
		return err
	}
	return c.Serve()
}

// NewClient makes a Client of a connection that the caller accepted or dialled, and leaves to it from now on. It is not
// registered yet. The client is closed when ctx ends. With a nil argument the result is a closed client. Where the peer leaves
// in the middle of a message, the WebSocket library hands on what there is of it as if it were whole, and how soon the connection
// ends after a close frame is its affair; with Accept neither is so.
func NewClient(hub *Hub, conn *websocket.Conn, ctx context.Context, opts ...ClientOption) *Client {
	c := &Client{hub: hub}
	if hub == nil || conn == nil || ctx == nil {
		hub.warn("NewClient: nil hub, connection or context")
		if conn != nil {
			go conn.CloseNow()
		}
		return c
	}
	hub, err := hub.hold()
	if err != nil {
		hub.warn("NewClient: " + err.Error())
		go conn.CloseNow()
		return c
	}
	defer hub.release()
	c.hub = hub
	set := configure(opts).at(hub)
	c.conn = clientactor.New(conn, set.ws, hub.up().Goroutines, c.handle(ctx))
	c.listen(ctx)
	if err := hub.welcome(&c.who, c.conn.Outbox(), set); err != nil {
		hub.warn("NewClient: the client is closed", "error", err)
		c.conn.Refuse(actors.ReasonCrashed)
		c.conn = nil
		return c
	}
	c.conn.Watch(ctx)
	hub.adopt(hub.house(c.adoption()))
	return c
}

// ReadPump reads until the connection ends, then unregisters and closes the client. Messages go to WithOnMessage. Run it
// in a goroutine; a second one returns at once. Without it no close, ping or pong of the peer is seen.
func (c *Client) ReadPump() {
	if c == nil || c.conn == nil {
		return
	}
	if !c.conn.ReadLoop() {
		c.hub.warn("ReadPump ignored: it runs already")
	}
}

// WritePump lets what was sent go out and pings begin, and returns when the client is closed. Run it in a goroutine.
func (c *Client) WritePump() {
	if c == nil || c.conn == nil {
		return
	}
	c.conn.StartWriting()
	<-c.conn.Done()
}

// Serve is ReadPump and WritePump on one goroutine, which saves the memory of the other. It returns when the connection has
// ended: nil when Close, Unregister, the hub's end or the context did that, or the peer in the normal way (1000, 1001, or a close
// frame without a code); when the peer closed otherwise or went away, the error that reading it failed with (websocket.CloseStatus
// tells the peer's code); else an error that says what went wrong.
func (c *Client) Serve() error {
	if c == nil || c.conn == nil {
		return ErrHubStopped
	}
	return c.conn.Serve()
}

// IsNormal reports whether err, of whatever in this package or the WebSocket library, says no more than that a connection has
// come to a normal end: nil; a WebSocket that its peer has closed with 1000, 1001 or no code at all, as a browser's close() does;
// a context that was cancelled, as a request's is when the client of a stream leaves.
func IsNormal(err error) bool {
	return clientactor.IsNormal(err) || errors.Is(err, context.Canceled)
}

// Send queues data for this client and never blocks; false means that the queue is full or the client closed. The caller
// may reuse data. It passes broadcasts that the hub has not got round to yet.
func (c *Client) Send(data []byte) bool { return c.SendErr(data) == nil }

// SendErr is Send that says why not: ErrSendBufferFull or ErrHubStopped.
func (c *Client) SendErr(data []byte) error {
	box := c.Outbox()
	if box == nil {
		return ErrHubStopped
	}
	return box.Send(actors.NewFrame(data))
}

// Close writes what is queued, then closes the connection with 1000; it does not wait for that. It is idempotent.
func (c *Client) Close() {
	if box := c.Outbox(); box != nil {
		box.Close(&actors.Close{Reason: actors.ReasonClosed})
	}
}

// Outbox is the mailbox of the client's actor: it makes a Client an actors.Connection. nil if the client was never open.
func (c *Client) Outbox() *actors.Outbox {
	if c == nil || c.conn == nil {
		return nil
	}
	return c.conn.Outbox()
}

func (c *Client) adoption() *actors.Adopt {
	return &actors.Adopt{Kind: "ws", Subscriber: c, Outbox: c.conn.Outbox(), Actor: c.conn.Actor(), Refuse: c.conn.Refuse}
}
