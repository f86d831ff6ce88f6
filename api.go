// Package wskit is a real-time hub: a server gives it WebSocket and Server-Sent-Events connections and broadcasts to all
// of them, across instances through Redis.
//
//	hub := wskit.NewHub()
//	go hub.Run(ctx)
//	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) { wskit.AcceptSSE(w, r, hub) })
//	hub.Broadcast([]byte("hello"))
//
// Inside, a hub is a tree of supervised actors (see package hubactor). This package translates function calls into
// messages to them and bounds how long a call may wait. Everything in it may be called from any goroutine.
package wskit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/redisactor"
	"github.com/wskit/wskit/sseactor"
)

// The defaults of the options.
const (
	DefaultWriteWait      = actors.DefaultWriteWait      // 10 s to write one message or ping frame
	DefaultPingInterval   = actors.DefaultPingInterval   // 30 s between two pings
	DefaultMaxMessageSize = actors.DefaultMaxMessageSize // 512 bytes of one incoming message
	DefaultSendBufSize    = actors.DefaultSendBufSize    // 256 messages queued for one client
	DefaultBroadcastBuf   = actors.DefaultBroadcastBuf   // 256 broadcasts queued at the hub
	DefaultRegisterBuf    = actors.DefaultRegisterBuf    // 64 registrations, and 64 unregistrations, queued at the hub
	DefaultChannelTimeout = actors.DefaultChannelTimeout // 5 s of waiting for a place in those queues
	DefaultDrainTimeout   = actors.DefaultDrainTimeout   // 5 s for a hub to stop
)

// The errors. Whatever returns one may wrap it: compare with errors.Is.
var (
	// ErrHubStopped: the client is closed or unregistered, or its hub has stopped. Nothing was sent.
	ErrHubStopped = actors.ErrHubStopped
	// ErrFlusherNotSupported: the ResponseWriter cannot flush, and the request was answered 500.
	ErrFlusherNotSupported = actors.ErrFlusherNotSupported
	// ErrSendBufferFull: the client's queue is full. The message was dropped; the client is still open.
	ErrSendBufferFull = actors.ErrSendBufferFull
	// ErrTooManySubscribers: the hub has as many subscribers as WithMaxSubscribers allows.
	ErrTooManySubscribers = actors.ErrTooManySubscribers
	// ErrTimeout: no place came free in the hub's queue within the channel timeout. The operation will not happen.
	ErrTimeout = actors.ErrTimeout
	// ErrRedisGap: the Redis subscription was broken, so messages of other instances may have been missed. See WithOnError.
	ErrRedisGap = actors.ErrRedisGap
	// ErrInvalidArgument: an argument is nil that must not be.
	ErrInvalidArgument = errors.New("wskit: invalid argument")
)

// PanicError is how WithOnError hears of a panic in user code: where, with what value, and the stack.
type PanicError = actors.PanicError

// Subscriber is what a hub broadcasts to. *Client and *SSEClient are; any other implementation gets an actor of its own,
// which makes all the hub's calls of it, one at a time. One that blocks or panics harms itself alone: a panic in Send
// unregisters it. Up to hubactor.ForeignBuf messages wait for a slow one. It must be comparable with ==.
type Subscriber interface {
	// Send takes a message; false means that it was dropped. data is the subscriber's own.
	Send(data []byte) bool
	// Close ends the subscriber. It is idempotent; the hub calls it once for each registration.
	Close()
}

// Hub broadcasts to its subscribers. Its actors are spawned by its first use and gone when Run has returned.
type Hub struct {
	cfg       hubactor.Config
	system    *actor.ActorSystem // nil: the shared one
	name      string
	onMessage func(*Client, []byte)
	hijackSSE bool
	attached  *actor.PID // the hub actor that somebody else spawned

	start   sync.Once
	link    atomic.Pointer[actors.Link]
	running atomic.Bool
	waits   sync.Pool // of *wait
}

// wait is what a call that waits for Redis needs.
type wait struct {
	reply chan error
	limit *time.Timer
}

// HubOption configures a Hub. Options are for NewHub alone; applied later they race with the hub.
type HubOption func(*Hub)

// NewHub makes a hub. Until Run is called its operations queue up to their buffers. A nil option is skipped.
func NewHub(opts ...HubOption) *Hub {
	h := &Hub{cfg: hubactor.Config{Shut: true}}
	for _, opt := range opts {
		if opt != nil {
			opt(h)
		}
	}
	return h
}

// Attach is the facade over a hub actor that was spawned elsewhere in this process, with hubactor.Props: Accept, Broadcast
// and the rest work on it. It takes no options; the hub has its own. Run on it waits and does not own the hub. If there
// is no such hub, what Attach returns behaves like a hub that has stopped.
func Attach(system *actor.ActorSystem, hub *actor.PID) *Hub {
	if hub == nil {
		hub = &actor.PID{}
	}
	return &Hub{system: system, attached: hub}
}

// WithRedis shares broadcasts with every hub on the same channel of the same Redis. nil or "": no Redis. All hubs on one
// client share one subscriber connection. The client stays the caller's, to be closed after the hub has stopped.
func WithRedis(client *redis.Client, channel string) HubOption {
	return func(h *Hub) {
		h.cfg.Redis = nil
		if client != nil && channel != "" {
			h.cfg.Redis = redisactor.Spec(client, channel)
		}
	}
}

// WithBroadcastBuf sets how many broadcasts queue at the hub. Default 256; 0: none; negative: the default.
func WithBroadcastBuf(n int) HubOption { return func(h *Hub) { h.cfg.BroadcastBuf = bufSize(n) } }

// WithRegisterBuf sets how many registrations, and how many unregistrations, queue at the hub. Default 64; 0: none;
// negative: the default.
func WithRegisterBuf(n int) HubOption { return func(h *Hub) { h.cfg.RegisterBuf = bufSize(n) } }

// WithChannelTimeout sets how long Register, Unregister and Broadcast wait for a place in those queues. Default 5 s; <= 0:
// the default.
func WithChannelTimeout(d time.Duration) HubOption { return func(h *Hub) { h.cfg.ChannelTimeout = d } }

// WithDrainTimeout bounds how long Run takes to return after its context has ended. Default 5 s; <= 0: the default.
func WithDrainTimeout(d time.Duration) HubOption { return func(h *Hub) { h.cfg.DrainTimeout = d } }

// WithMaxSubscribers bounds how many subscribers Accept and AcceptSSE let in: past it they answer 503 with Retry-After.
// Default, and <= 0: no bound. What is registered with Register counts, and is not refused.
func WithMaxSubscribers(n int) HubOption { return func(h *Hub) { h.cfg.MaxSubscribers = n } }

// WithSSEHijack has AcceptSSE take HTTP/1.x connections over from net/http, as a WebSocket upgrade does. Such a stream takes
// less than half of the memory of one through net/http, and some 15% less CPU, or 60% less in bursts. Default: off.
//
// net/http counts such a connection as hijacked: Server.Shutdown does not wait for it, Server.Close does not close it (the
// hub's end does, as it ends every stream), and ConnState reports StateHijacked. It serves no other request: the stream ends
// with the connection. r.Context() does not end when the client leaves, but when the handler returns; if it ends for another
// reason, so does the stream. A client that sends more than 64 KB is cut off, with an error. When the hub has ended a stream,
// AcceptSSE waits up to 1 s for the client to close its end.
//
// It is done for GET and the like, without a body, on the server's own ResponseWriter or one that implements http.Hijacker
// itself. What such a writer adds in WriteHeader or does to what is written is passed over; the headers that are set when
// AcceptSSE is called are sent, and nothing may have been written before. All else goes through net/http as ever: HTTP/2,
// TLS, HEAD, other wrappers, and responses with a Content-Encoding, Content-Length, Trailer or Transfer-Encoding.
func WithSSEHijack() HubOption { return func(h *Hub) { h.hijackSSE = true } }

// WithOnTimeout sets what is called when an operation ("register", "unregister", "broadcast") gave up waiting. It runs on
// the goroutine whose call timed out, before that call returns; calls can overlap. A panic in it is reported and goes no further.
func WithOnTimeout(fn func(op string)) HubOption { return func(h *Hub) { h.cfg.OnTimeout = fn } }

// WithOnConnect sets what is called when a subscriber was registered. What it sends to the subscriber arrives before any
// broadcast; broadcasts made meanwhile wait in the subscriber's queue, within its bound.
//
// The callbacks WithOnConnect, WithOnDisconnect and WithOnError run one at a time in the hub's listener actor. They may
// call the hub, and block: that delays other callbacks, and no message to anyone already connected. A panic costs that
// call and is reported.
func WithOnConnect(fn func(Subscriber)) HubOption {
	return func(h *Hub) { h.cfg.OnConnect = subscriberFunc(fn) }
}

// WithOnDisconnect sets what is called once for each subscriber that OnConnect was called for, when it was unregistered,
// its connection ended or the hub stopped. It is not called for subscribers still connected when a callback before it
// blocks beyond the drain timeout and the process ends.
func WithOnDisconnect(fn func(Subscriber)) HubOption {
	return func(h *Hub) { h.cfg.OnDisconnect = subscriberFunc(fn) }
}

// WithOnError sets what is told of trouble that no caller can be told of: panics (err is a *PanicError and op the place,
// such as "OnConnect"), and Redis (op is "redis"; errors.Is(err, ErrRedisGap) after an interruption).
func WithOnError(fn func(op string, err error)) HubOption { return func(h *Hub) { h.cfg.OnError = fn } }

// WithOnDrop sets what is called with each message that a subscriber's queue had no room for. It runs like WithOnConnect;
// while more than 1024 of its calls wait, it is not called for what is dropped meanwhile. data is the callee's own.
func WithOnDrop(fn func(sub Subscriber, data []byte)) HubOption {
	return func(h *Hub) {
		h.cfg.OnDrop = nil
		if fn != nil {
			h.cfg.OnDrop = func(s actors.Subscriber, data []byte) { fn(s, data) }
		}
	}
}

// WithOnMessage sets what is called with each message that a WebSocket client sends while its ReadPump or Serve runs: one at a
// time for a client, on whatever goroutine, and several at a time for several clients. Blocking delays that client's next
// message, and a panic closes its connection with 1011. data is the callee's own.
func WithOnMessage(fn func(c *Client, data []byte)) HubOption {
	return func(h *Hub) { h.onMessage = fn }
}

// WithLogger sets where the hub logs: crashes at Error with their stack, ignored calls and lost links at Warn. nil: nowhere,
// the default.
func WithLogger(log *slog.Logger) HubOption { return func(h *Hub) { h.cfg.Logger = log } }

// WithActorSystem spawns the hub in an actor system of the caller's. nil: the one that all hubs share, the default.
func WithActorSystem(system *actor.ActorSystem) HubOption { return func(h *Hub) { h.system = system } }

// WithName names the hub's actor. Names are unique in an actor system: to one that is taken a number is appended. "": the
// default, "wskit-" and a number.
func WithName(name string) HubOption { return func(h *Hub) { h.name = name } }

// Run starts the hub and blocks until ctx ends; then it drains: new work is refused, what was accepted is written, and
// every subscriber is closed, WebSockets with 1001. It returns after the drain timeout at the latest, and also when an
// actor of the hub has failed beyond its budget (see WithOnError).
//
// A hub runs once. Run on one that runs already waits for ctx or the hub's end, and does not stop it.
func (h *Hub) Run(ctx context.Context) {
	if h == nil || ctx == nil {
		h.warn("Run ignored: nil hub or context")
		return
	}
	l := h.up()
	owner := h.attached == nil && h.running.CompareAndSwap(false, true)
	if owner {
		l.System.Root.Send(l.Hub, &actors.Open{})
	} else {
		h.warn("Run: the hub runs already")
	}
	select {
	case <-l.Done:
		return
	case <-ctx.Done():
	}
	if owner {
		l.System.Root.Send(l.Hub, &actors.Shutdown{})
		<-l.Done
	}
}

// Shutdown does what the end of Run's context does, and bounds it by ctx too: new work is refused, what was accepted is
// written, every subscriber is closed. It returns nil when the hub has stopped, and ctx's error when that ended first; the
// hub then stops all the same, within its drain timeout. It may be called from any goroutine, more than once, whether or
// not the hub runs. http.Server.RegisterOnShutdown is a good place to call it from: Server.Shutdown waits for SSE
// handlers, and does not know of WebSockets.
func (h *Hub) Shutdown(ctx context.Context) error {
	if h == nil || ctx == nil {
		return fmt.Errorf("%w: nil hub or context", ErrInvalidArgument)
	}
	l := h.up()
	m := &actors.Shutdown{}
	if deadline, ok := ctx.Deadline(); ok {
		m.Timeout = max(time.Until(deadline), 1)
	}
	l.System.Root.Send(l.Hub, m)
	select {
	case <-l.Done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Register makes sub a subscriber; it gets every broadcast made after Register returned. Registering it again changes
// nothing, and neither does registering a closed client. On a stopped hub sub is closed. A nil sub (also a nil pointer) or one that is not comparable is logged and ignored.
//
// Register, Unregister and Broadcast hand over and return. While the queue is full they wait, up to the channel timeout;
// then OnTimeout is called and the operation never happens. Operations of one goroutine are applied in the order it made them.
func (h *Hub) Register(sub Subscriber) {
	if h == nil || !usable(sub) {
		h.warn("Register ignored: nil hub, or subscriber nil or not comparable")
		return
	}
	if closed(sub) {
		return
	}
	if err := h.enter(&actors.Register{Subscriber: sub}); errors.Is(err, ErrHubStopped) {
		h.closeLate(sub)
	}
}

// Unregister closes sub, after what is queued for it was written, and calls OnDisconnect. Of a subscriber that the hub
// does not know it does nothing.
func (h *Hub) Unregister(sub Subscriber) {
	if h == nil || !usable(sub) {
		h.warn("Unregister ignored: nil hub, or subscriber nil or not comparable")
		return
	}
	_ = h.enter(&actors.Unregister{Subscriber: sub})
}

// Broadcast sends data to every subscriber of this hub. The caller may reuse data when Broadcast has returned.
func (h *Hub) Broadcast(data []byte) {
	if h == nil {
		h.warn("Broadcast ignored: nil hub")
		return
	}
	_ = h.enter(&actors.Broadcast{Frame: actors.NewFrame(data)})
}

// RegisterContext is Register that waits for as long as ctx lets it and says what happened: nil, ErrHubStopped (sub is
// closed), ErrInvalidArgument, or ctx's error; if ctx ended while it waited that is wrapped together with ErrTimeout.
func (h *Hub) RegisterContext(ctx context.Context, sub Subscriber) error {
	if h == nil || ctx == nil || !usable(sub) {
		return fmt.Errorf("%w: nil hub or context, or subscriber nil or not comparable", ErrInvalidArgument)
	}
	if closed(sub) {
		return ErrHubStopped
	}
	err := h.up().Gate.EnterContext(ctx, &actors.Register{Subscriber: sub})
	if errors.Is(err, ErrHubStopped) {
		h.closeLate(sub)
	}
	return err
}

// UnregisterContext is Unregister that waits for as long as ctx lets it; its errors are those of RegisterContext.
func (h *Hub) UnregisterContext(ctx context.Context, sub Subscriber) error {
	if h == nil || ctx == nil || !usable(sub) {
		return fmt.Errorf("%w: nil hub or context, or subscriber nil or not comparable", ErrInvalidArgument)
	}
	return h.up().Gate.EnterContext(ctx, &actors.Unregister{Subscriber: sub})
}

// BroadcastContext is Broadcast that waits for as long as ctx lets it; its errors are those of RegisterContext.
func (h *Hub) BroadcastContext(ctx context.Context, data []byte) error {
	if h == nil || ctx == nil {
		return fmt.Errorf("%w: nil hub or context", ErrInvalidArgument)
	}
	return h.up().Gate.EnterContext(ctx, &actors.Broadcast{Frame: actors.NewFrame(data)})
}

// BroadcastEvent sends event as JSON to every subscriber of every hub on the Redis channel; without Redis, to those of
// this hub. If Redis does not answer within 2 s, or ctx ends first, this hub's own subscribers get it all the same. The
// error is non-nil only when event cannot be marshalled or ctx is nil.
func (h *Hub) BroadcastEvent(ctx context.Context, event any) error {
	if h == nil || ctx == nil {
		return fmt.Errorf("%w: nil hub or context", ErrInvalidArgument)
	}
	var data []byte
	var err error
	if fenced := actors.Fence("MarshalJSON", func() { data, err = json.Marshal(event) }); fenced != nil {
		err = fenced
	}
	if err != nil {
		return fmt.Errorf("wskit: marshalling event: %w", err)
	}
	l := h.up()
	if l.Redis == nil {
		_ = h.enter(&actors.Broadcast{Frame: actors.NewFrame(data)})
		return nil
	}
	if l.Gate.Stopped() {
		return nil
	}
	w, _ := h.waits.Get().(*wait)
	if w == nil {
		w = &wait{make(chan error, 1), time.NewTimer(actors.PublishTimeout)}
	} else {
		w.limit.Reset(actors.PublishTimeout)
	}
	l.System.Root.Send(l.Redis, &actors.Publish{Frame: actors.NewFrame(data), Reply: w.reply})
	select {
	case <-w.reply: // the only one, so w can serve another call; else it may be still to come
		w.limit.Stop()
		h.waits.Put(w)
	case <-w.limit.C: // it is in good hands: the redis actor delivers it locally, now or as soon as it is back
	case <-ctx.Done():
		w.limit.Stop()
	case <-l.Done:
		w.limit.Stop()
	}
	return nil
}

// BroadcastJSON is BroadcastEvent of NewEvent(typ, payload).
func (h *Hub) BroadcastJSON(ctx context.Context, typ string, payload any) error {
	return h.BroadcastEvent(ctx, NewEvent(typ, payload))
}

// SubscribeToRedis receives what other hubs publish and blocks until ctx ends or the hub has stopped. A lost link comes
// back by itself, with exponential backoff from 1 s to 30 s. Without Redis it returns at once.
func (h *Hub) SubscribeToRedis(ctx context.Context) {
	if h == nil || ctx == nil {
		h.warn("SubscribeToRedis ignored: nil hub or context")
		return
	}
	l := h.up()
	if l.Redis == nil {
		return
	}
	l.System.Root.Send(l.Redis, &actors.Subscribe{})
	select {
	case <-ctx.Done():
		l.System.Root.Send(l.Redis, &actors.Unsubscribe{})
	case <-l.Done:
	}
}

// SubscriberCount is the number of subscribers now.
func (h *Hub) SubscriberCount() int {
	if h == nil || h.attached == nil && h.link.Load() == nil {
		return 0
	}
	return h.up().Gate.Members()
}

// PID is the hub's actor, for messages of package actors. It spawns the hub if nothing has yet.
func (h *Hub) PID() *actor.PID {
	if h == nil {
		return nil
	}
	return h.up().Hub
}

// Client is one WebSocket connection. The zero Client, and one made of nil arguments, is closed.
type Client struct {
	hub  *Hub
	conn *clientactor.Conn
}

// ClientConfig is what the ClientOptions set.
type ClientConfig struct {
	WriteWait, PingInterval time.Duration
	MaxMessageSize          int64
	SendBufSize             int
}

// ClientOption configures a Client. A nil option is skipped.
type ClientOption func(*ClientConfig)

// WithWriteWait sets how long writing a message or ping may take, and how long a pong is waited for. Default 10 s; <= 0:
// the default.
func WithWriteWait(d time.Duration) ClientOption { return func(c *ClientConfig) { c.WriteWait = d } }

// WithPingInterval sets the time between two pings. Default 30 s; <= 0: the default.
func WithPingInterval(d time.Duration) ClientOption {
	return func(c *ClientConfig) { c.PingInterval = d }
}

// WithMaxMessageSize sets how many bytes an incoming message may have; one that has more closes the connection with 1009.
// Default 512; 0: the default; negative: no limit.
func WithMaxMessageSize(n int64) ClientOption { return func(c *ClientConfig) { c.MaxMessageSize = n } }

// WithSendBufSize sets how many messages wait for the peer before the newest is dropped. Default 256; <= 0: the default.
func WithSendBufSize(n int) ClientOption { return func(c *ClientConfig) { c.SendBufSize = n } }

// Overflow is what becomes of a message for which a client's queue has no room.
type Overflow = actors.Overflow

// The policies of WithOverflow. Whatever is dropped is counted and reported, see WithOnDrop.
const (
	DropNewest = actors.DropNewest // the message is dropped; the default
	DropOldest = actors.DropOldest // those that have waited longest are dropped until it fits
	Disconnect = actors.Disconnect // the client is closed with 1013, "slow consumer"; its queue is dropped
)

// WithOverflow sets what becomes of messages for which the queue has no room. Default DropNewest.
func WithOverflow(policy Overflow) ClientOption {
	return func(c *ClientConfig) { more(c, func(b *actors.Bound) { b.Overflow = policy }) }
}

// WithSendBufBytes bounds the queue in bytes too, beside WithSendBufSize. Default, and <= 0: no such bound. A single
// message that is longer never fits.
func WithSendBufBytes(n int) ClientOption {
	return func(c *ClientConfig) { more(c, func(b *actors.Bound) { b.Bytes = max(n, 0) }) }
}

// extras holds what options set beyond ClientConfig, whose fields are fixed, while clientConfig applies them.
var extras sync.Map // of *ClientConfig to *actors.Bound

func more(c *ClientConfig, set func(*actors.Bound)) {
	if b, ok := extras.Load(c); ok {
		set(b.(*actors.Bound))
	}
}

// Accept upgrades the request to a WebSocket, makes a Client of it and registers it; run ReadPump and WritePump in
// goroutines of their own, or Serve in one. acceptOpts may be nil; see there for cross-origin requests, which are refused by
// default, and for compression (RFC 7692), which is off: with it, a broadcast is compressed once for all clients.
//
// The client is closed when ctx ends, unless ctx is the request's own context, which net/http ends with the handler.
//
// An error has been answered: a failed upgrade by the WebSocket library, with its error; a stopped hub with 503 and an
// error wrapping ErrHubStopped. When the hub's queue stays full the connection is closed with 1013 and the error wraps ErrTimeout.
func Accept(ctx context.Context, w http.ResponseWriter, r *http.Request, hub *Hub, acceptOpts *websocket.AcceptOptions, clientOpts ...ClientOption) (*Client, error) {
	if err := checkRequest(w, r, hub); err != nil {
		return nil, err
	}
	if ctx == nil {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return nil, fmt.Errorf("%w: nil context", ErrInvalidArgument)
	}
	c, cfg := &Client{hub: hub}, clientConfig(clientOpts)
	place, err := hub.reserve(w)
	if err != nil {
		return nil, err
	}
	defer place.giveBack()
	l := hub.up()
	var conn *clientactor.Conn
	// An upgrade needs 8 KB of stack: here they have been grown before, and a caller that goes on to Serve does not keep them.
	if failed := l.Goroutines.Isolate("Accept", func() {
		conn, err = clientactor.Accept(w, r, acceptOpts, cfg, l.Goroutines, c.handler())
	}); failed != nil {
		rethrow(failed)
	}
	if err != nil {
		return nil, err
	}
	c.conn = conn
	if !same(ctx, r.Context()) {
		conn.Watch(ctx)
	}
	c.adopt()
	in := false
	defer func() {
		if !in { // or OnTimeout has ended this goroutine
			conn.Outbox().Close(&actors.Close{Reason: actors.ReasonRefused})
		}
	}()
	if err := place.take(c); err != nil {
		return nil, fmt.Errorf("wskit: accept: %w", err)
	}
	in = true
	return c, nil
}

// rethrow panics where net/http recovers it with what a goroutine of the hub's has caught for the handler.
func rethrow(failed error) {
	if errors.Is(failed, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler) // which is told by its identity
	}
	if pe := (*PanicError)(nil); errors.As(failed, &pe) {
		failed = fmt.Errorf("%w\n%s", failed, pe.Stack) // net/http prints only its own
	}
	panic(failed)
}

// ServeWS is the whole handler of a WebSocket: it does what Accept does, and then what the client's Serve does, on the
// goroutine of the request. Like Accept's, its errors of the upgrade have been answered. It blocks, as AcceptSSE does, and
// for as long net/http keeps the request and its own part of the stack, some 5 KB: a handler that returns after Accept and
// "go client.Serve()" spares that. The request's context counts for its values alone: net/http does not end it when the client leaves.
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
	c.conn = clientactor.New(conn, clientConfig(opts), hub.up().Goroutines, c.handler())
	c.conn.Watch(ctx)
	c.adopt()
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
// ended: nil when Close, Unregister, the hub's end or the context did that; when the peer closed or went away, the error that
// reading it failed with (websocket.CloseStatus tells the peer's code); else an error that says what went wrong.
func (c *Client) Serve() error {
	if c == nil || c.conn == nil {
		return ErrHubStopped
	}
	return c.conn.Serve()
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

// SSEClient is one Server-Sent-Events stream. The zero SSEClient is closed.
type SSEClient struct {
	hub    *Hub
	stream *sseactor.Stream
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

// AcceptSSE answers the request with a stream of Server-Sent Events (WHATWG HTML, section 9.2), registers it and blocks.
// Each message is one event of data lines, each write has DefaultWriteWait at least, and a silent stream carries a comment every
// 15 s. It returns nil when the hub closed the stream, r.Context().Err() when the client left, or the write error.
// On a hub WithSSEHijack it takes the connection over from net/http, if it can.
//
// Nothing was streamed when the error wraps ErrFlusherNotSupported (answered 500), ErrHubStopped or ErrTimeout (503).
func AcceptSSE(w http.ResponseWriter, r *http.Request, hub *Hub) error {
	if err := checkRequest(w, r, hub); err != nil {
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
	if !sseactor.CanFlush(w) {
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return nil, ErrFlusherNotSupported
	}
	place, err := hub.reserve(w)
	if err != nil {
		return nil, err
	}
	defer place.giveBack()
	c := &SSEClient{hub: hub, stream: sseactor.NewServed(DefaultSendBufSize)}
	c.adopt()
	in := false
	defer func() {
		if !in { // or OnTimeout has ended this goroutine
			c.stream.Refuse(actors.ReasonRefused)
		}
	}()
	if err := place.take(c); err != nil {
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return nil, fmt.Errorf("wskit: accept SSE: %w", err)
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

// Event is the envelope of BroadcastJSON.
type Event struct {
	Type      string    `json:"type"`
	Payload   any       `json:"payload"`
	Timestamp time.Time `json:"timestamp"`
}

// NewEvent makes an Event of now.
func NewEvent(typ string, payload any) Event {
	return Event{Type: typ, Payload: payload, Timestamp: time.Now()}
}

var hubNumber atomic.Uint64

// up is the link to the hub's actor, which it spawns if need be; a hub spawned elsewhere is asked for it.
func (h *Hub) up() *actors.Link {
	h.start.Do(func() {
		if h.system == nil {
			h.system = actors.System()
		}
		pid := h.attached
		if pid == nil {
			pid = h.spawn()
		}
		h.link.Store(actors.ResolveLink(h.system, pid))
	})
	return h.link.Load()
}

func (h *Hub) spawn() *actor.PID {
	name := h.name
	for {
		number := strconv.FormatUint(hubNumber.Add(1), 10)
		if name == "" {
			name = "wskit-" + number
		}
		pid, err := h.system.Root.SpawnNamed(hubactor.Props(h.cfg), name)
		if err == nil {
			return pid
		}
		name = h.name + "-" + number
	}
}

// enter hands an operation to the hub. A timeout is told to OnTimeout here, since it is this caller's.
func (h *Hub) enter(op actors.Operation) error {
	l := h.up()
	err := l.Gate.Enter(op, l.Patience)
	if errors.Is(err, ErrTimeout) && l.OnTimeout != nil {
		if err := actors.Fence("OnTimeout", func() { l.OnTimeout(op.Op().String()) }); err != nil {
			f := actors.UserFailed("OnTimeout", err)
			f.Log(l.Log)
			l.System.Root.Send(l.Listener, f)
		}
	}
	return err
}

// closeWait is how long Register on a stopped hub waits for the subscriber's Close, so that mostly it has happened.
const closeWait = 100 * time.Millisecond

// closeLate closes what was registered with a stopped hub, whose actors are gone.
func (h *Hub) closeLate(sub Subscriber) {
	l, done := h.up(), make(chan struct{})
	go func() {
		defer close(done)
		if err := actors.Fence("Close", sub.Close); err != nil {
			actors.UserFailed("Close", err).Log(l.Log)
		}
	}()
	limit := time.NewTimer(closeWait)
	defer limit.Stop()
	select {
	case <-done:
	case <-limit.C:
	}
}

// warn logs a call that was ignored. A nil hub has no logger: that is a bug in the program, for its default logger.
func (h *Hub) warn(text string) {
	log := slog.Default()
	if h != nil && h.cfg.Logger != nil {
		log = h.cfg.Logger
	} else if h != nil {
		return
	}
	log.Warn("wskit: " + text)
}

// standardClient is the configuration of all clients without options.
var standardClient = newClientConfig(nil)

func clientConfig(opts []ClientOption) *clientactor.Config {
	if len(opts) == 0 {
		return standardClient
	}
	return newClientConfig(opts)
}

func newClientConfig(opts []ClientOption) *clientactor.Config {
	c, queue := &ClientConfig{DefaultWriteWait, DefaultPingInterval, DefaultMaxMessageSize, DefaultSendBufSize}, actors.Bound{}
	extras.Store(c, &queue)
	defer extras.Delete(c)
	for _, opt := range opts {
		if opt != nil {
			opt(c)
		}
	}
	queue.Messages = orDefault(c.SendBufSize, DefaultSendBufSize)
	if c.MaxMessageSize == 0 {
		c.MaxMessageSize = DefaultMaxMessageSize
	}
	return &clientactor.Config{
		WriteWait: orDefault(c.WriteWait, DefaultWriteWait), PingInterval: orDefault(c.PingInterval, DefaultPingInterval),
		MaxMessageSize: c.MaxMessageSize, Queue: queue,
	}
}

func (c *Client) handler() func([]byte) {
	if c.hub.onMessage == nil {
		return nil
	}
	return func(data []byte) { c.hub.onMessage(c, data) }
}

func (c *Client) adopt() {
	c.hub.adopt(&actors.Adopt{Kind: "ws", Subscriber: c, Outbox: c.conn.Outbox(), Actor: c.conn.Actor()}, c.conn.Refuse)
}

func (c *SSEClient) adopt() {
	c.hub.adopt(&actors.Adopt{Kind: "sse", Subscriber: c, Outbox: c.stream.Outbox(), Actor: c.stream.Actor()}, c.stream.Refuse)
}

// adopt has the hub run a connection's actor. A hub that stopped before the message was sent may not have seen it.
func (h *Hub) adopt(m *actors.Adopt, refuse func(actors.Reason)) {
	l := h.up()
	m.Outbox.SetHome(l.Connections, m.Subscriber)
	m.Outbox.OnDrop(l.OnDrop)
	l.System.Root.Send(l.Connections, m)
	if l.Gate.Stopped() {
		refuse(actors.ReasonShutdown)
	}
}

// usable reports whether sub can be a subscriber: not nil, comparable, and no client that was never open.
func usable(sub Subscriber) bool {
	if actors.CheckSubscriber(sub) != nil {
		return false
	}
	c, ok := sub.(actors.Connection)
	return !ok || c.Outbox() != nil
}

// closed reports whether sub is a client that is closed already: there is nothing to register.
func closed(sub Subscriber) bool {
	c, ok := sub.(actors.Connection)
	return ok && c.Outbox().Reason() != actors.ReasonNone
}

// checkRequest answers a request that cannot be accepted.
func checkRequest(w http.ResponseWriter, r *http.Request, hub *Hub) error {
	switch {
	case w == nil || r == nil:
		return fmt.Errorf("%w: nil ResponseWriter or Request", ErrInvalidArgument)
	case hub == nil:
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return fmt.Errorf("%w: nil hub", ErrInvalidArgument)
	case hub.up().Gate.Stopped():
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return fmt.Errorf("wskit: accept: %w", ErrHubStopped)
	}
	return nil
}

// place is one that the hub keeps for a connection that is about to be registered.
type place struct {
	hub   *Hub
	taken bool
}

// reserve keeps a place, or answers that there is none.
func (h *Hub) reserve(w http.ResponseWriter) (*place, error) {
	if h.up().Gate.Reserve() {
		return &place{hub: h}, nil
	}
	w.Header().Set("Retry-After", "5") // seconds
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
	return nil, fmt.Errorf("wskit: accept: %w", ErrTooManySubscribers)
}

// take registers a connection, with which the place goes to the registry.
func (p *place) take(sub Subscriber) error {
	err := p.hub.enter(&actors.Register{Subscriber: sub, Reserved: true})
	p.taken = err == nil
	return err
}

// giveBack is deferred: whatever went wrong, by a panic of the caller's code too, a place that was not taken is free again.
func (p *place) giveBack() {
	if !p.taken {
		p.hub.up().Gate.Unreserve()
	}
}

// same is a == b, also for contexts of types that == panics on.
func same(a, b context.Context) bool {
	if !reflect.ValueOf(a).Comparable() || !reflect.ValueOf(b).Comparable() {
		return reflect.TypeOf(a) == reflect.TypeOf(b) && a.Done() == b.Done()
	}
	return a == b
}

func subscriberFunc(fn func(Subscriber)) func(actors.Subscriber) {
	if fn == nil {
		return nil
	}
	return func(s actors.Subscriber) { fn(s) }
}

// bufSize maps a buffer option to hubactor's terms, in which 0 is the default.
func bufSize(n int) int {
	switch {
	case n < 0:
		return 0
	case n == 0:
		return hubactor.NoQueue
	}
	return n
}

func orDefault[T int | time.Duration](v, standard T) T {
	if v <= 0 {
		return standard
	}
	return v
}
