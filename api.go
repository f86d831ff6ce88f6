// Package wskit is a real-time hub: a server gives it WebSocket and Server-Sent-Events connections and broadcasts to all
// of them, across instances through Redis.
//
//	hub := wskit.NewHub()
//	http.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) { wskit.AcceptSSE(w, r, hub) })
//	http.HandleFunc("/send", func(w http.ResponseWriter, r *http.Request) { hub.Broadcast([]byte("hello")) })
//	err := wskit.Serve(ctx, &http.Server{Addr: ":8080"}, hub)
//
// Inside, a hub is a tree of supervised actors (see package hubactor). This package translates function calls into
// messages to them and bounds how long a call may wait. Everything in it may be called from any goroutine.
package wskit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
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
	// ErrHubFailed: an actor of the hub has failed beyond its budget, and the hub was given up. See Err.
	ErrHubFailed = actors.ErrHubFailed
	// ErrFlusherNotSupported: the ResponseWriter cannot flush, and the request was answered 500.
	ErrFlusherNotSupported = actors.ErrFlusherNotSupported
	// ErrMethodNotAllowed: AcceptSSE was asked by another method than GET, POST and HEAD, and the request was answered 405.
	ErrMethodNotAllowed = errors.New("wskit: method not allowed")
	// ErrSendBufferFull: the client's queue is full. The message was dropped; the client is still open.
	ErrSendBufferFull = actors.ErrSendBufferFull
	// ErrTooManySubscribers: the hub has as many subscribers as WithMaxSubscribers allows.
	ErrTooManySubscribers = actors.ErrTooManySubscribers
	// ErrTimeout: no place came free in the hub's queue within the channel timeout. The operation will not happen.
	ErrTimeout = actors.ErrTimeout
	// ErrRedisGap: the Redis subscription was broken, so messages of other instances may have been missed. See WithOnError.
	ErrRedisGap = actors.ErrRedisGap
	// ErrLocalOnly: Redis did not take the message, or did not say so; the hub's own subscribers get it. See
	// BroadcastEventContext.
	ErrLocalOnly = actors.ErrLocalOnly
	// ErrInvalidArgument: an argument is nil that must not be, or out of its range.
	ErrInvalidArgument = actors.ErrInvalidArgument
	// ErrNotRegistered: the subscriber is not registered with this hub, or not any more.
	ErrNotRegistered = actors.ErrNotRegistered
	// ErrInvalidTopic: the name of a topic, or the id of a user, is not 1 to 255 bytes of UTF-8 without control characters.
	ErrInvalidTopic = actors.ErrInvalidTopic
	// ErrNoHistory: what was asked for takes a hub WithHistory.
	ErrNoHistory = actors.ErrNoHistory
	// ErrUnknownOutcome: on a hub WithHistory, Redis may have taken the message, or not. With WithKey it can be sent again.
	ErrUnknownOutcome = actors.ErrUnknownOutcome
	// ErrNotTaken: Redis has not taken a message WithKey, and nobody gets it unless it is sent again.
	ErrNotTaken = actors.ErrNotTaken
	// ErrTooManyResumes: so many clients that come back wait for Redis already that this one is to come later.
	ErrTooManyResumes = actors.ErrTooManyResumes
	// ErrTooManyTopics: the subscriber is in as many topics as WithMaxTopics allows.
	ErrTooManyTopics = actors.ErrTooManyTopics
	// ErrTooManyConnections: the user has as many connections as WithMaxPerUser allows.
	ErrTooManyConnections = actors.ErrTooManyConnections
	// ErrLockedOut: the user was disconnected, and is kept out for a while. See User.Disconnect.
	ErrLockedOut = actors.ErrLockedOut
)

// PanicError is how WithOnError hears of a panic in user code: where, with what value, and the stack.
type PanicError = actors.PanicError

// MissedDropsError is how WithOnError hears that WithOnDrop's callback did not keep up: how many calls of it were left out.
type MissedDropsError = actors.MissedDropsError

// Subscriber is what a hub broadcasts to. *Client and *SSEClient are; any other implementation gets an actor of its own,
// which makes all the hub's calls of it, one at a time. One that blocks or panics harms itself alone: a panic in Send
// unregisters it. Up to hubactor.ForeignBuf messages wait for a slow one. It must be comparable with ==.
type Subscriber interface {
	// Send takes a message; false means that it was dropped. data is the subscriber's own.
	Send(data []byte) bool
	// Close ends the subscriber. It is idempotent; the hub calls it once for each registration (for one of those that began and
	// ended while a Send of that subscriber blocked).
	Close()
}

// Hub broadcasts to its subscribers. Its actors are spawned by its first use and gone when Run has returned, or, of a hub that
// was never run, when nobody refers to it any more.
type Hub struct {
	cfg       *hubactor.Config   // nil: the actors were made by others, or, of a tenant, have it
	system    *actor.ActorSystem // nil: the shared one
	name      string
	onMessage func(*Client, []byte)
	handler   func(context.Context, *Client, Message) error
	hooks     hooks
	hijackSSE bool
	refuse503 bool       // WithSSERefusalStatus
	attached  *actor.PID // the hub actor that somebody else spawned
	tenant    *tenant    // nil: it is none of Tenants

	topicHistory func(topic string) History

	start   sync.Once
	link    atomic.Pointer[actors.Link]
	forget  runtime.Cleanup // of a hub that was never run, when nobody can reach it any more
	running atomic.Bool
	told    atomic.Uint32 // kinds of refused upgrades that were logged
	waits   sync.Pool     // of *wait
}

// NewHub makes a hub. Until Run is called its operations queue up to their buffers. A nil option is skipped.
func NewHub(opts ...HubOption) *Hub {
	h := &Hub{cfg: &hubactor.Config{Shut: true}}
	for _, opt := range opts {
		if opt != nil {
			opt(h)
		}
	}
	h.cfg.Logger = actors.NewLog(h.cfg.Logger)
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

// Run starts the hub and blocks until ctx ends; then it drains: new work is refused, what was accepted is written, and
// every subscriber is closed, WebSockets with 1001. It returns after the drain timeout at the latest, and also when an
// actor of the hub has failed beyond its budget (see WithOnError).
//
// Serve runs the hub by itself. Beside a server of your own, close its port before ctx ends: who comes while the hub drains is refused.
// WithDrainSpread has subscribers told one after the other.
//
// A hub runs once. Run on one that runs already waits for ctx or the hub's end, and does not stop it.
func (h *Hub) Run(ctx context.Context) {
	if h == nil || ctx == nil {
		h.warn("Run ignored: nil hub or context")
		return
	}
	h = h.current()
	l := h.up()
	owner := h.attached == nil && h.running.CompareAndSwap(false, true)
	if owner {
		h.forget.Stop()
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
// not the hub runs; a ctx with less time brings the end forward. In a server it comes between two steps: the port is closed before it, since who comes meanwhile is refused, and
// http.Server.Shutdown follows, which waits for SSE handlers and does not know of WebSockets. Serve does all of that. In
// http.Server.RegisterOnShutdown it is out of place: such functions are started and not waited for, and the process ends before the hub.
func (h *Hub) Shutdown(ctx context.Context) error {
	if h == nil || ctx == nil {
		return fmt.Errorf("%w: nil hub or context", ErrInvalidArgument)
	}
	l := h.current().up()
	if h.tenant != nil {
		h.tenant.stopped.Store(true)
	}
	l.System.Root.Send(l.Hub, &actors.Shutdown{Timeout: untilEnd(ctx)})
	select {
	case <-l.Done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Done is closed when the hub has ended, for whatever reason: Run has returned then, or is about to. To ask for it is to use the hub;
// of one that is never run it stays open until nobody refers to the hub any more. Of a nil hub it is closed.
func (h *Hub) Done() <-chan struct{} {
	if h == nil {
		over := make(chan struct{})
		close(over)
		return over
	}
	return h.up().Done
}

// Err is nil while the hub runs, and after an end that was asked for by Run's context, Shutdown or the hub's parent. Of one that was given
// up it wraps ErrHubFailed and says what for, from when Done is closed on.
func (h *Hub) Err() error {
	if h.unused() {
		return nil
	}
	return h.up().Err()
}

// Register makes sub a subscriber; it gets every broadcast made after Register returned. Registering it again changes
// nothing, and neither does registering a closed client. On a stopped hub sub is closed, and so is a client of a user who is locked
// out (see User.Disconnect). A nil sub (also a nil pointer) or one that is not comparable is logged and ignored.
//
// Register, Unregister and Broadcast hand over and return. While the queue is full they wait, up to the channel timeout;
// then OnTimeout is called and the operation never happens. Operations of one goroutine are applied in the order it made them.
func (h *Hub) Register(sub Subscriber) {
	if h == nil || !usable(sub) {
		h.warn("Register ignored: nil hub, or subscriber nil or not comparable")
		return
	}
	_ = h.register(context.Background(), sub, h.enter)
}

// Unregister closes sub, after what is queued for it was written, and calls OnDisconnect. Of a subscriber that the hub
// does not know it does nothing. A Client that is in several hubs is thereby closed in all of them, and leaves them.
func (h *Hub) Unregister(sub Subscriber) {
	if h == nil || !usable(sub) {
		h.warn("Unregister ignored: nil hub, or subscriber nil or not comparable")
		return
	}
	_ = h.enter(&actors.Unregister{Subscriber: sub})
}

// Broadcast sends data to every subscriber of this hub. The caller may reuse data when Broadcast has returned.
func (h *Hub) Broadcast(data []byte) { h.Everyone().Broadcast(data) }

// BroadcastBinary is Broadcast of a message that goes out as a binary one.
func (h *Hub) BroadcastBinary(data []byte) { h.Everyone().BroadcastBinary(data) }

// RegisterContext is Register that waits for as long as ctx lets it and says what happened: nil, ErrHubStopped or ErrLockedOut (sub
// is closed), ErrInvalidArgument, or ctx's error; if ctx ended while it waited that is wrapped together with ErrTimeout.
func (h *Hub) RegisterContext(ctx context.Context, sub Subscriber) error {
	if h == nil || ctx == nil || !usable(sub) {
		return fmt.Errorf("%w: nil hub or context, or subscriber nil or not comparable", ErrInvalidArgument)
	}
	return h.register(ctx, sub, func(op actors.Operation) error { return h.enterContext(ctx, op) })
}

func (h *Hub) register(ctx context.Context, sub Subscriber, enter func(actors.Operation) error) error {
	if closed(sub) {
		return ErrHubStopped
	}
	h, err := h.holdContext(ctx)
	if err != nil {
		if !errors.Is(err, ErrTimeout) {
			h.closeLate(sub)
		}
		return err
	}
	defer h.release()
	m, in := registration(h, sub)
	if err = enter(m); err == nil {
		in()
	} else if errors.Is(err, ErrHubStopped) {
		h.closeLate(sub)
	}
	return err
}

// UnregisterContext is Unregister that waits for as long as ctx lets it; its errors are those of RegisterContext.
func (h *Hub) UnregisterContext(ctx context.Context, sub Subscriber) error {
	if h == nil || ctx == nil || !usable(sub) {
		return fmt.Errorf("%w: nil hub or context, or subscriber nil or not comparable", ErrInvalidArgument)
	}
	return h.enterContext(ctx, &actors.Unregister{Subscriber: sub})
}

// BroadcastContext is Broadcast that waits for as long as ctx lets it; its errors are those of RegisterContext.
func (h *Hub) BroadcastContext(ctx context.Context, data []byte) error {
	return h.Everyone().BroadcastContext(ctx, data)
}

// BroadcastBinaryContext is BroadcastContext of a message that goes out as a binary one.
func (h *Hub) BroadcastBinaryContext(ctx context.Context, data []byte) error {
	return h.Everyone().BroadcastBinaryContext(ctx, data)
}

// SubscribeToRedis receives what other hubs publish and blocks until ctx ends or the hub has stopped. A lost link comes
// back by itself, with exponential backoff from 1 s to 30 s. Without Redis it returns at once. On a hub WithDrainSpread or WithReadyDelay
// whose end begins with ctx's, or within a second of it, those who are still there go on to receive.
func (h *Hub) SubscribeToRedis(ctx context.Context) {
	if h == nil || ctx == nil {
		h.warn("SubscribeToRedis ignored: nil hub or context")
		return
	}
	l := h.current().up()
	if l.Redis == nil {
		return
	}
	l.System.Root.Send(l.Redis, &actors.Subscribe{})
	select {
	case <-ctx.Done():
		if l.DrainSpread+l.ReadyDelay == 0 {
			l.System.Root.Send(l.Redis, &actors.Unsubscribe{})
			return
		}
		time.AfterFunc(endsTogether, func() {
			if !l.Leaving.Load() {
				l.System.Root.Send(l.Redis, &actors.Unsubscribe{})
			}
		})
	case <-l.Done:
	}
}

// endsTogether is for how long after the end of SubscribeToRedis' context that of Run's or Serve's may come to count as the same.
const endsTogether = time.Second

// SubscriberCount is the number of subscribers now: those whose registration has returned, and who were not unregistered,
// closed or cut off since. A connection whose socket is still being closed does not count.
func (h *Hub) SubscriberCount() int { return h.Everyone().SubscriberCount() }

// unused reports whether there is no hub to ask, or one that nobody has used yet.
func (h *Hub) unused() bool { return h == nil || h.attached == nil && h.link.Load() == nil }

// PID is the hub's actor, for messages of package actors. It spawns the hub if nothing has yet.
func (h *Hub) PID() *actor.PID {
	if h == nil {
		return nil
	}
	h, err := h.hold()
	if err == nil {
		defer h.release()
	}
	return h.up().Hub
}

var hubNumber atomic.Uint64

// up is the link to the hub's actor, which it spawns if need be; a hub spawned elsewhere is asked for it.
func (h *Hub) up() *actors.Link {
	h.start.Do(func() {
		if h.system == nil {
			h.system = actors.System()
		}
		if h.attached != nil {
			h.link.Store(actors.ResolveLink(h.system, h.attached))
			return
		}
		l := actors.ResolveLink(h.system, h.spawn())
		h.link.Store(l)
		h.forget = runtime.AddCleanup(h, func(l *actors.Link) { l.System.Root.Send(l.Hub, &actors.Forget{}) }, l)
	})
	return h.link.Load()
}

func (h *Hub) spawn() *actor.PID {
	name := h.name
	if h.cfg == nil { // a zero Hub
		h.cfg = new(hubactor.Config)
	}
	for {
		number := strconv.FormatUint(hubNumber.Add(1), 10)
		if name == "" {
			name = "wskit-" + number
		}
		pid, err := h.system.Root.SpawnNamed(hubactor.Props(*h.cfg), name)
		if err == nil {
			return pid
		}
		name = h.name + "-" + number
	}
}

// enter hands an operation to the hub. A timeout is told to OnTimeout here, since it is this caller's.
func (h *Hub) enter(op actors.Operation) error {
	h, err := h.hold()
	if err != nil {
		return err
	}
	defer h.release()
	l := h.up()
	err = l.Gate.Enter(op, l.Patience)
	if errors.Is(err, ErrTimeout) && l.OnTimeout != nil {
		if err := actors.Fence("OnTimeout", func() { l.OnTimeout(op.Op().String()) }); err != nil {
			h.report("OnTimeout", err)
		}
	}
	return err
}

// report is for a panic in user code that this package has called.
func (h *Hub) report(op string, err error) {
	l, f := h.up(), actors.UserFailed(op, err)
	f.Log(l.Log)
	l.System.Root.Send(l.Listener, f)
}

// enterContext is enter that waits for as long as ctx lets it; the caller is told of everything.
func (h *Hub) enterContext(ctx context.Context, op actors.Operation) error {
	h, err := h.holdContext(ctx)
	if err != nil {
		return err
	}
	defer h.release()
	return h.up().Gate.EnterContext(ctx, op)
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

// warn logs a call that was ignored.
func (h *Hub) warn(text string, attrs ...any) {
	log := defaultLog
	if h != nil && h.attached == nil {
		if l := h.link.Load(); l != nil {
			log = l.Log // which says of which hub
		} else if h.cfg != nil {
			log = h.cfg.Logger
		}
	}
	log.Warn("wskit: "+text, attrs...)
}

// defaultLog is for what is asked of no hub, or of one that others made.
var defaultLog = actors.NewLog(nil)

// house makes a new connection one of the hub's, which it may be registered with from now on. Its actor does not run yet.
func (h *Hub) house(m *actors.Adopt) *actors.Adopt {
	l := h.up()
	m.Outbox.SetHome(l, m.Subscriber)
	m.Outbox.OnDrop(l.OnDrop)
	l.Adoptions.Add(m)
	return m
}

// adopt has the hub run the actor. A hub that stopped before the message was sent may not have seen it.
func (h *Hub) adopt(m *actors.Adopt) {
	l := h.up()
	l.System.Root.Send(l.Connections, m)
	if l.Gate.Stopped() {
		m.Refuse(actors.ReasonShutdown)
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

func orDefault[T int | time.Duration](v, standard T) T {
	if v <= 0 {
		return standard
	}
	return v
}
