package clientactor

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// connection is the actor of a Conn. It writes what the outbox hands it and pings; it never waits for the peer.
type connection struct {
	*Conn
	limit  *time.Timer // after which closing is cut short
	life   liveness
	answer []byte // to what reading ended with: a close frame; nil: there is none

	closing bool // what is queued is the last
	pending bool // a goroutine writes; frames are paused
	started bool
	told    bool // the close frame is out
	deaf    bool // nothing is read any more
	over    bool // the connection has ended, or is left to those who are ending it
}

// sink writes for a connection without ever waiting for the peer.
type sink interface {
	// write hands a batch over; pending means that the Conn's wrote will be called.
	write(b *actors.Batch) (pending bool, err error)
	// ping sends one, or begins to. An error means that the connection is broken; one that is known later is told to the Conn.
	ping() error
	// Wait is how long a ping may be unanswered.
	Wait() time.Duration
	// Vitals is what the kernel knows about the peer.
	Vitals() actors.Vitals
	// goodbye sends a close frame, the last thing that is sent.
	goodbye(code uint16, text string)
}

// What the goroutines of a connection tell its actor.
type (
	start     struct{}            // StartWriting was called
	written   struct{ err error } // the pending batch is out, or failed
	readEnded struct {            // the read loop has ended
		farewell []byte // the close frame that answers what it ended with; nil: there is none
		code     uint16 // the close code of that
		tooBig   int64  // the limit that a message was over; 0: none was
	}
	broken     struct{} // a ping could not be written
	userFailed struct { // user code that reading called panicked, ended its goroutine, or returned an error
		op  string
		err error
	}
)

func (c *connection) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actors.Batch:
		c.write(m)
	case *written:
		c.pending = false
		if m.err != nil {
			c.fail(actors.ReasonWrite)
			return
		}
		c.box.Resume()
		c.advance()
	case start:
		c.start()
	case tick:
		c.tick(ctx)
	case broken:
		if !c.over {
			c.fail(actors.ReasonWrite)
		}
	case *actors.Overflowed:
		ctx.Send(ctx.Parent(), m)
	case *userFailed:
		ctx.Send(ctx.Parent(), &actors.Failed{Op: m.op, Err: m.err, Action: actors.ActStop, Attempt: 1})
		c.box.Close(&actors.Close{Reason: actors.ReasonCrashed})
		if m.op == opRead && c.lent != nil { // to tell the peer would be to read on
			c.over = true
			c.box.Stop()
		}
	case *actors.Close:
		c.close(m)
	case *readEnded:
		if m.tooBig != 0 {
			ctx.Send(ctx.Parent(), &actors.Oversized{Limit: m.tooBig})
		}
		c.unread(m)
	case *actors.Abort:
		c.abort()
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		c.expectService()
	case *actor.Stopping:
		c.stop()
	case *actor.Stopped:
		c.box.Discard()
		c.ended()
	}
}

func (c *connection) start() {
	if c.started || c.over {
		return
	}
	c.started = true
	if !c.pending {
		c.box.Resume()
	}
	c.startPinging()
}

func (c *connection) write(b *actors.Batch) {
	if c.over {
		return
	}
	pending, err := c.sink().write(b)
	switch {
	case err != nil:
		c.fail(actors.ReasonWrite)
	case pending:
		c.pending = true
		c.box.Pause()
	default:
		c.advance()
	}
}

// unread begins the end, if it has not begun: the peer will not say another word. It gets what had been accepted for it before
// it said its last, then the answer to that. On a connection that the caller brought the library has answered already, and closed.
func (c *connection) unread(m *readEnded) {
	if c.lent != nil {
		c.over = true
		c.box.Close(&actors.Close{Reason: actors.ReasonPeer, Code: m.code})
		c.box.Stop()
		return
	}
	c.deaf, c.answer = true, m.farewell
	c.box.Close(&actors.Close{Reason: actors.ReasonPeer, Code: m.code})
	c.advance()
}

// close begins the end: what is queued goes out first, whether or not writing had been started.
func (c *connection) close(m *actors.Close) {
	if c.over {
		return
	}
	c.closing = true
	if !c.pending {
		c.box.Resume()
	}
	if c.advance(); c.over {
		return
	}
	deadline := m.Deadline
	if deadline.IsZero() {
		deadline = time.Now().Add(actors.Linger)
	}
	c.limit = time.AfterFunc(time.Until(deadline), func() { c.box.PostUserMessage(&actors.Abort{}) })
}

// advance sends the close frame once everything before it is out. The peer's own ends the read loop; when that has ended too,
// so has the connection, and ReadLoop gives the peer the time to read all that.
func (c *connection) advance() {
	if !c.closing || c.over || c.pending || !c.box.Drained() {
		return
	}
	c.tell()
	switch {
	case c.deaf:
		c.over = true
		c.box.Stop()
	case !c.reading.Load():
		go c.ReadLoop() // somebody has to read the peer's answer
	}
}

// tell sends the close frame, unless it is out already, or the peer has gone without one and nobody else had begun the end.
func (c *connection) tell() {
	switch {
	case c.told:
		return
	case c.answer != nil:
		_ = c.wire.control(c.answer)
	case c.box.Reason() != actors.ReasonPeer:
		c.sink().goodbye(c.box.Why())
	}
	c.told = true
}

// fail ends a connection that cannot be talked to any more.
func (c *connection) fail(r actors.Reason) {
	c.box.Close(&actors.Close{Reason: r})
	c.abort()
}

func (c *connection) abort() {
	if c.over {
		return
	}
	if !c.pending {
		c.tell()
	}
	c.over = true
	go c.cut()
	c.box.Stop()
}

// stop is the way out of every end. One that came without notice, by a crash or with the tree, tells the peer why, and
// gives it a moment to read that.
func (c *connection) stop() {
	actors.StopTimers(c.life.timer, c.limit)
	if c.over {
		return
	}
	c.over = true
	c.box.Close(&actors.Close{Reason: actors.ReasonShutdown})
	c.tell()
	time.AfterFunc(linger, c.cut)
}
