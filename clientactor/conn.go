// Package clientactor is one WebSocket connection: its actor, which writes, and its read loop.
package clientactor

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// Config is how a connection behaves. All fields are set, and not changed any more: one Config may serve many connections.
type Config struct {
	WriteWait      time.Duration // to write what was handed to the socket, and for a pong
	PingInterval   time.Duration
	MaxMessageSize int64        // bytes of one incoming message; negative: no limit
	Queue          actors.Bound // of what waits for the peer
	Rate           float64      // messages a second that are read; <= 0: no limit
	Burst          int          // how many may come at once; < 1: one
}

// Conn is one WebSocket connection. Its methods may be called from any goroutine.
type Conn struct {
	cfg     *Config
	wire    *wire // nil when the caller brought the connection
	lent    *lent // nil when it did not
	box     *actors.Outbox
	end     ending
	reading atomic.Bool
	alive   atomic.Bool // something was read since the last ping
	speaks  bool        // actors.Subprotocol
	unwatch func() bool // stops watching the context; nil without one
	failure error       // of reading; belongs to the reader, until the connection has ended
	rare    *rare       // nil while there is nothing in it; the reader's, once there is one

	goroutines *actors.Runner // for reading what has arrived
	turn       sync.WaitGroup // of that
	upgrade    sync.WaitGroup // done when it is over

	// Parts of every connection, here and not elsewhere: memory that is used together is fetched together.
	actor  connection
	own    wire
	handle func(binary bool, data []byte) error // a message of the peer; may be nil
}

// ending is the end of a connection's actor, or of what was to have one.
type ending struct {
	mu   sync.Mutex
	over bool
	done chan struct{} // nil while nobody waits
}

// rare is what few connections have.
type rare struct {
	ping  func(ctx context.Context, payload []byte) bool // told of the peer's pings; may be nil
	pong  func(ctx context.Context, payload []byte)      // and of its pongs
	meter *meter                                         // of its messages; nil while there is no limit, or there were none
}

// Accept upgrades the request. An error has been answered already, and is the WebSocket library's. handle is called with each
// message of the peer, one at a time, if it is not nil, and may keep the data. An error from it ends the connection: an
// *actors.CloseError with its code and text, any other, which is reported, as a panic would.
//
// enter, which may be nil, is called once, with what is to be returned, when nothing is wrong with the request and right before its client learns that: the
// Conn may be sent to then, and its actor must not run before Accept has returned. An error may follow, or a panic of the writer's.
func Accept(w http.ResponseWriter, r *http.Request, opts *websocket.AcceptOptions, cfg *Config, goroutines *actors.Runner,
	handle func(binary bool, data []byte) error, enter func(*Conn)) (*Conn, error) {
	c := newConn(cfg, goroutines, handle)
	var o websocket.AcceptOptions
	if opts != nil {
		o = *opts
	}
	if o.OnPingReceived != nil || o.OnPongReceived != nil {
		c.rare = &rare{ping: o.OnPingReceived, pong: o.OnPongReceived}
	}
	upgraded := false
	defer func() {
		if upgraded {
			return
		}
		if c.wire != nil { // the writer may be the user's, and panic
			_ = c.wire.Conn.Close()
		}
		c.ended() // for who has had it from enter
	}()
	c.upgrade.Add(1)
	defer c.upgrade.Done()
	h := &hijackWriter{w, c, &o, enter}
	ws, err := websocket.Accept(h.wrap(), r, &o)
	if err != nil {
		return nil, err
	}
	_ = ws.CloseNow() // it has done its part: the connection is ours, see handover
	upgraded = true
	return c, nil
}

// New makes a Conn of a connection that the caller accepted or dialled and from now on leaves to it. handle is as with Accept.
func New(ws *websocket.Conn, cfg *Config, goroutines *actors.Runner, handle func(binary bool, data []byte) error) *Conn {
	c := newConn(cfg, goroutines, handle)
	ctx, cut := context.WithCancel(context.Background())
	c.lent = &lent{ws: ws, box: c.box, ctx: ctx, cut: cut, wait: cfg.WriteWait, written: c.wrote, ponged: c.ponged}
	if c.agree(ws.Subprotocol()) {
		c.lent.envelop = true
		c.box.EncodeWith(enveloped)
	}
	ws.SetReadLimit(max(cfg.MaxMessageSize, -1))
	return c
}

func newConn(cfg *Config, goroutines *actors.Runner, handle func(binary bool, data []byte) error) *Conn {
	box := actors.NewBoundOutbox(cfg.Queue)
	box.SetTransport(actors.TransportWebSocket)
	return &Conn{cfg: cfg, goroutines: goroutines, handle: handle, box: box}
}

// agree notes which subprotocol the peer has agreed on, in whatever case, and reports whether it is actors.Subprotocol.
func (c *Conn) agree(subprotocol string) bool {
	if c.speaks = strings.EqualFold(subprotocol, actors.Subprotocol); c.speaks {
		c.box.KeepCursor()
	}
	return c.speaks
}

// Speaks reports whether the peer has agreed on actors.Subprotocol: then each message goes out in its envelope.
func (c *Conn) Speaks() bool { return c.speaks }

// Handle sets what the peer's messages are given to, in place of what Accept or New was given. It is called before the Conn is shared: by
// enter, or right after New.
func (c *Conn) Handle(handle func(binary bool, data []byte) error) { c.handle = handle }

// Watch closes the connection when ctx ends. It is called once, before the connection is shared.
func (c *Conn) Watch(ctx context.Context) {
	if ctx.Done() != nil {
		c.unwatch = context.AfterFunc(ctx, func() { c.box.Close(&actors.Close{Reason: actors.ReasonContext}) })
	}
}

// propagation is how long after its parent's end a context has ended that ends with it.
const propagation = 10 * time.Millisecond

// WatchDerived is Watch of a context made of request's, whose end, which is the handler's, does not count. A context does not
// tell why it has ended: so one that ends while the request lives has been ended by the caller, and so has one that outlived it.
func (c *Conn) WatchDerived(ctx, request context.Context) {
	outlived := new(atomic.Bool)
	unsee := context.AfterFunc(request, func() {
		time.AfterFunc(propagation, func() { outlived.Store(ctx.Err() == nil) })
	})
	unwatch := context.AfterFunc(ctx, func() {
		if request.Err() == nil || outlived.Load() {
			c.box.Close(&actors.Close{Reason: actors.ReasonContext})
		}
	})
	c.unwatch = func() bool {
		unsee()
		return unwatch()
	}
}

// Outbox is where the connection's frames and control messages go.
func (c *Conn) Outbox() *actors.Outbox { return c.box }

// Actor is the connection's actor, to be spawned once, with the Outbox as its mailbox.
func (c *Conn) Actor() actor.Actor {
	c.actor.Conn = c
	return &c.actor
}

// StartWriting lets frames go out and pings begin. What was sent before has waited in the outbox.
func (c *Conn) StartWriting() { c.box.PostUserMessage(start{}) }

// Done is closed when the connection's actor has ended, or there will be none.
func (c *Conn) Done() <-chan struct{} {
	c.end.mu.Lock()
	defer c.end.mu.Unlock()
	if c.end.done == nil {
		c.end.done = make(chan struct{})
		if c.end.over {
			close(c.end.done)
		}
	}
	return c.end.done
}

// Refuse ends a connection for which there is no actor.
func (c *Conn) Refuse(r actors.Reason) {
	c.box.Close(&actors.Close{Reason: r})
	go c.turnAway()
}

// turnAway is for a connection whose upgrade may still be under way.
func (c *Conn) turnAway() {
	c.upgrade.Wait()
	if c.lent == nil && c.wire == nil { // it has failed
		return
	}
	c.sink().goodbye(c.box.Why())
	time.AfterFunc(linger, c.cut)
	c.ended()
}

// Serve writes and reads on the caller's goroutine alone until the connection has ended. It returns nil when that was this
// side's doing or a normal end of the peer's, what reading failed with when the peer closed otherwise or went away, else an
// error that says what went wrong.
func (c *Conn) Serve() error {
	c.StartWriting()
	c.ReadLoop()
	<-c.Done()
	switch r := c.box.Reason(); r {
	case actors.ReasonClosed, actors.ReasonUnregistered, actors.ReasonShutdown, actors.ReasonContext,
		actors.ReasonDisconnected, actors.ReasonReplaced, actors.ReasonExpired, actors.ReasonRestart, actors.ReasonMaxAge:
		return nil
	case actors.ReasonPeer:
		if IsNormal(c.failure) {
			return nil
		}
		return c.failure
	default:
		return fmt.Errorf("wskit: connection ended: %s", r)
	}
}

// IsNormal reports whether err is nil, or that of a connection that its peer has closed in the normal way: with 1000, 1001
// (a page that was left) or no code at all, as a browser's close() does that is given none.
func IsNormal(err error) bool {
	if err == nil {
		return true
	}
	switch websocket.CloseStatus(err) {
	case websocket.StatusNormalClosure, websocket.StatusGoingAway, websocket.StatusNoStatusRcvd:
		return true
	}
	return false
}

// cut ends the connection without another word.
func (c *Conn) cut() {
	_ = actors.Fence("net.Conn", func() { // of a listener of the user's, perhaps
		if c.lent != nil {
			c.lent.cut()
			_ = c.lent.ws.CloseNow() // frees what the library holds
		} else {
			_ = c.wire.Conn.Close()
		}
	})
}

func (c *Conn) ended() {
	if c.unwatch != nil {
		c.unwatch()
	}
	c.end.mu.Lock()
	defer c.end.mu.Unlock()
	if !c.end.over && c.end.done != nil {
		close(c.end.done)
	}
	c.end.over = true
}

func (c *Conn) wrote(err error) { c.box.PostUserMessage(&written{err}) }

func (c *Conn) sink() sink {
	if c.lent != nil {
		return c.lent
	}
	return c.wire
}
