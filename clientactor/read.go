package clientactor

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// linger is how long a connection whose reading failed is kept half open, so that the peer gets to read why.
const linger = time.Second

// What user code runs in, for reports.
const (
	opRead    = "ReadPump" // the library's callbacks, and a net.Conn of a listener of the user's
	opMessage = "OnMessage"
)

// ReadLoop reads until the connection ends, hands each message to the handler, and then has the actor end. There is one
// reader: it reports false when another reads already.
func (c *Conn) ReadLoop() bool {
	if !c.reading.CompareAndSwap(false, true) {
		return false
	}
	c.box.AwaitRelease() // what the peer says is for after OnConnect
	c.read()
	return true
}

func (c *Conn) read() {
	over := false
	defer func() {
		if !over { // user code has ended this goroutine, as a test's FailNow does; somebody has to go on
			go c.read()
		}
	}()
	for c.failure == nil {
		if !c.apart {
			c.take()
			continue
		}
		c.wire.await()
		c.turn.Add(1)
		c.goroutines.Schedule(func() {
			defer c.turn.Done()
			c.take()
		})
		c.turn.Wait()
	}
	over = true
	if c.wire != nil {
		c.wire.recycle()
	}
	c.box.PostUserMessage(readEnded{})
	if c.wire != nil && !isCrash(c.failure) && websocket.CloseStatus(c.failure) != -1 {
		return // the library has answered the peer's close frame and closed the connection
	}
	defer c.cut()
	_ = actors.Fence("net.Conn", c.linger) // of a listener of the user's, perhaps
}

// take reads what has arrived and hands it to the handler. It waits for the rest of what has begun to arrive, and behind the
// rest of a ping or pong for a message too.
func (c *Conn) take() {
	at := opRead
	defer func() {
		switch at { // where this goroutine has been ended
		case opRead:
			c.crashed(actors.NewGoexitError(opRead))
		case opMessage:
			c.heard()
			c.box.EndMessage()
			c.box.PostUserMessage(&userPanic{opMessage, actors.NewGoexitError(opMessage)})
		}
	}()
	for {
		var data []byte
		var more bool
		var err error
		if crash := actors.Fence(opRead, func() { data, more, err = c.next() }); crash != nil {
			c.crashed(crash)
		} else if err != nil {
			c.failure = err
		}
		if !more || c.failure != nil {
			at = ""
			return
		}
		if data == nil || !c.box.BeginMessage() {
			continue
		}
		at = opMessage
		crash := actors.Fence(opMessage, func() { c.message(data) })
		c.heard() // what has come meanwhile has had to wait
		c.box.EndMessage()
		if crash != nil {
			c.box.PostUserMessage(&userPanic{opMessage, crash})
		}
		at = opRead
	}
}

// crashed ends reading, since nobody knows where the library was, and tells the peer before that closes the connection. On one
// that the caller brought, to tell the peer would be to read on.
func (c *Conn) crashed(err error) {
	c.failure = err
	c.box.PostUserMessage(&userPanic{opRead, err})
	if c.wire != nil {
		c.wire.goodbye(actors.ReasonCrashed)
	}
}

// next returns the next message, nil when it is nobody's, and whether there may be more. Reading apart from the library it
// reads none that has not begun to arrive.
func (c *Conn) next() (data []byte, more bool, err error) {
	if c.apart {
		c.heartbeats()
		if !c.wire.arrived() {
			return nil, false, nil
		}
		defer c.wire.unread(c.prefetch) // and before the handler runs, which may end this goroutine
	}
	data, err = c.readOne()
	return data, true, err
}

// heartbeats handles the pings and pongs that come next. When a pong cannot be written any more, reading will soon fail.
func (c *Conn) heartbeats() {
	for {
		switch opcode, payload, ok := c.wire.heartbeat(); {
		case !ok:
			return
		case opcode == opPong:
			c.heard()
		default:
			_, _ = c.wire.Write(actors.ControlFrame(opPong, payload))
		}
	}
}

// readOne returns the next message, or nil when nobody wants it.
func (c *Conn) readOne() ([]byte, error) {
	ctx := context.Background() // a context that could end would cost a timer a message, and the close frame
	if c.lent != nil {
		ctx = c.lent.ctx
	}
	_, r, err := c.ws.Reader(ctx)
	if err != nil {
		return nil, err
	}
	c.heard()
	r = hearing{r, c}
	if c.message == nil || c.box.Reason() != actors.ReasonNone {
		_, err = io.Copy(io.Discard, r)
		return nil, err
	}
	return io.ReadAll(r)
}

// maxHearing is how many bytes are read at a time: the library waits until it has them all.
const maxHearing = 1 << 10

// hearing is a message of which each part is a sign of life.
type hearing struct {
	io.Reader
	c *Conn
}

func (h hearing) Read(p []byte) (n int, err error) {
	if n, err = h.Reader.Read(p[:min(len(p), maxHearing)]); n > 0 {
		h.c.heard()
	}
	return n, err
}

// linger gives the peer the time to read a close frame that was just written: closing a socket on which input is unread
// would reset it, and take the frame along.
func (c *Conn) linger() {
	if c.wire == nil {
		return
	}
	limit := time.NewTimer(linger)
	defer limit.Stop()
	if idle := c.wire.Idle(); idle != nil { // the close frame waits behind what is being written
		select {
		case <-idle:
		case <-limit.C:
		}
	}
	if half, ok := c.wire.Conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		_ = c.wire.SetReadDeadline(time.Now().Add(linger))
		_, _ = io.CopyN(io.Discard, c.wire.Conn, 1<<20)
	}
}

func isCrash(err error) bool {
	var crash *actors.PanicError
	return errors.As(err, &crash)
}
