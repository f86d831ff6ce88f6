package clientactor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// linger is how long a connection whose reading has ended is kept half open after that, so that the peer gets to read why.
const linger = time.Second

// What user code runs in, for reports.
const (
	opRead    = "ReadPump"  // the caller's OnPingReceived and OnPongReceived, and a net.Conn of a listener of the user's
	opMessage = "OnMessage" // the handler, which panics
	opHandler = "Handler"   // and which returns an error
)

// ReadLoop reads until the connection ends, hands each message to the handler, and then has the actor end. There is one
// reader: it reports false when another reads already.
func (c *Conn) ReadLoop() bool {
	if !c.reading.CompareAndSwap(false, true) {
		return false
	}
	c.upgrade.Wait()
	if c.lent == nil && c.wire == nil { // the upgrade has failed
		return true
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
		switch {
		case c.lent != nil:
			c.borrow()
		case c.wire.Raw() == nil: // reading may be the user's code, and takes more stack than handling does
			c.take()
		default:
			c.wire.await()
			c.turn.Add(1)
			c.goroutines.Schedule(c.takeTurn)
			c.turn.Wait()
		}
		if c.own.rest > 0 && c.failure == nil {
			c.pause()
		}
	}
	over = true
	c.turn.Add(1)
	c.goroutines.Schedule(c.conclude)
	c.turn.Wait()
}

// conclude has the actor end when reading has, and then ends the connection. It runs on a kept goroutine, since the reader's
// stack would have to grow for it.
func (c *Conn) conclude() {
	c.own.recycle()
	end := &readEnded{farewell: farewell(c.failure), code: closeCode(c.failure)}
	if errors.Is(c.failure, websocket.ErrMessageTooBig) {
		end.tooBig = c.cfg.MaxMessageSize
	}
	c.box.PostUserMessage(end)
	defer c.cut()
	if c.lent != nil {
		c.turn.Done()
		return
	}
	limit := time.NewTimer(actors.Linger + linger)
	defer limit.Stop()
	select {
	case <-c.Done(): // all is said that there is to say
	case <-limit.C:
	}
	c.turn.Done() // the rest is between the sockets
	if !c.nothingUnread() {
		_ = actors.Fence("net.Conn", c.linger) // of a listener of the user's, perhaps
	}
}

// nothingUnread reports whether the socket can be closed at once: the peer has said that it says no more, and all that was said to
// it is with the kernel, which sees that through.
func (c *Conn) nothingUnread() bool {
	var crash *actors.PanicError // whose value may be anything
	return c.wire.Raw() != nil && c.wire.Idle() == nil &&
		(c.failure == errLeft || websocket.CloseStatus(c.failure) != -1 && !errors.As(c.failure, &crash))
}

// takeTurn is take on a kept goroutine.
func (c *Conn) takeTurn() {
	defer c.turn.Done()
	c.take()
}

// pause waits for as long as the peer is to be slowed down.
func (c *Conn) pause() {
	timer := time.NewTimer(c.own.rest)
	defer timer.Stop()
	c.own.rest = 0
	select {
	case <-timer.C:
	case <-c.Done():
	}
}

// maxTake bounds, in bytes, what is taken of a large message before others have their turn.
const maxTake = 256 << 10

// take decodes what has come and handles it. It waits for nothing but the handler.
func (c *Conn) take() {
	at := opRead
	defer func() {
		if at != "" { // user code has panicked, or ended this goroutine
			c.crashed(at, recover())
		}
	}()
	w := c.wire
	if w.Raw() == nil {
		w.await()
	}
	t := turn{Conn: c}
	if w.direct > 0 || len(w.came) > 0 {
		c.heard()
	}
	for c.failure == nil {
		if w.direct == 0 && len(w.came) == 0 && w.err != nil {
			c.failure = w.err
			if w.err == io.EOF {
				c.failure = errLeft
			}
			break
		}
		t.taken += w.direct
		w.discard = c.discards()
		u, err := w.unit()
		switch {
		case err != nil:
			c.failure = err
		case u.opcode >= opClose:
			c.failure = t.heartbeat(u)
		case u.opcode != 0:
			t.answer()
			if !c.begin(w.discard) {
				continue
			}
			at = opMessage
			c.pass(u.opcode == opBinary, u.payload)
			at = opRead
		case w.space() == nil || t.taken > maxTake || !w.poll():
			t.over()
			at = ""
			return
		}
	}
	t.over()
	at = ""
}

// crashed is for when user code has panicked, or ended its goroutine without a value. After a message's handler reading goes
// on, for the peer's answer, and hands nothing more on; else it has ended.
func (c *Conn) crashed(at string, value any) {
	if at == opMessage {
		c.handled()
	}
	err := actors.NewGoexitError(at)
	if value != nil {
		err = actors.NewPanicError(at, value)
	}
	c.fault(at, err)
	if at == opRead {
		c.failure = err
	}
}

// linger gives the peer the time to read what was said last: closing a socket on which input is unread would reset it, and take
// that along.
func (c *Conn) linger() {
	limit := time.NewTimer(linger)
	defer limit.Stop()
	if idle := c.wire.Idle(); idle != nil {
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

// turn is what the reader is at while it takes what has come.
type turn struct {
	*Conn
	taken   int    // bytes of large messages
	control int    // frames
	pongs   []byte // that are still to be sent
	newest  int    // where in pongs the newest begins
}

// maxPongs is how many bytes of pongs are sent at once.
const maxPongs = inputBuffer

// heartbeat handles a control frame. The error is what a close frame says.
func (t *turn) heartbeat(u unit) error {
	t.control++
	switch u.opcode {
	case opClose:
		peers, err := parseClose(u.payload)
		if err != nil {
			return err
		}
		return fmt.Errorf("wskit: the peer has closed: %w", peers)
	case opPing:
		if t.rare != nil && t.rare.ping != nil {
			ctx, cancel := hookContext()
			defer cancel()
			if !t.rare.ping(ctx, append([]byte(nil), u.payload...)) {
				return nil
			}
		}
		if len(t.pongs)+2+len(u.payload) > maxPongs {
			t.answer()
		}
		t.newest = len(t.pongs)
		t.pongs = append(append(t.pongs, finBit|opPong, byte(len(u.payload))), u.payload...)
	case opPong:
		if t.rare != nil && t.rare.pong != nil {
			ctx, cancel := hookContext()
			defer cancel()
			t.rare.pong(ctx, append([]byte(nil), u.payload...))
		}
	}
	return nil
}

// hookContext is the context of a hook: as the WebSocket library has it.
func hookContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 5*time.Second)
}

// answer sends the pongs there are. When they cannot be written any more, reading will soon fail.
func (t *turn) answer() {
	if len(t.pongs) > 0 {
		_ = t.wire.Answer(t.pongs, t.newest)
		t.pongs = t.pongs[:0]
	}
}

// over ends the turn.
func (t *turn) over() {
	t.answer()
	if n := t.control + t.wire.empty; n > 0 {
		t.wire.empty = 0
		t.wire.pace(n, time.Now().UnixNano())
	}
}
