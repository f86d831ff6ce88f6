package clientactor

import (
	"context"
	"errors"
	"time"

	"github.com/wskit/wskit/actors"
)

// discards reports whether nobody wants the peer's messages: there is no handler, or the end has begun.
func (c *Conn) discards() bool { return c.handle == nil || c.box.Reason() != actors.ReasonNone }

// begin reports whether a message that has come whole is to be handed on, now: it waits while the hub holds the client back, or
// the peer's rate does. After true comes handled. A message that is discarded is counted too, while the connection is open.
func (c *Conn) begin(discard bool) bool {
	limited := c.limited()
	if discard && !limited || !c.box.BeginMessage() {
		return false
	}
	if !limited || c.abide() && !discard {
		return true
	}
	c.handled()
	return false
}

// pass hands a message to the handler. An error has nothing more of the peer's handed on.
func (c *Conn) pass(binary bool, data []byte) {
	end, failure := c.verdict(c.handle(binary, data))
	c.handled()
	switch {
	case failure != nil:
		c.fault(opHandler, failure)
	case end != nil:
		c.box.Close(end)
	}
}

// verdict is what becomes of the connection after the handler's error: it is closed as that says, or has failed. One that says no
// more than that the connection has ended, as the handler's context did, is none. Looking into an error is user code.
func (c *Conn) verdict(err error) (end *actors.Close, failure error) {
	if err == nil {
		return nil, nil
	}
	var wish *actors.CloseError
	switch {
	case errors.As(err, &wish) && wish != nil && validCloseCode(wish.Code):
		return &actors.Close{Reason: actors.ReasonDisconnected, Code: wish.Code, Text: wish.Text}, nil
	case c.box.Reason() != actors.ReasonNone && errors.Is(err, context.Canceled):
		return nil, nil
	}
	return nil, err
}

// fault begins the end of a connection whose user code has failed, which is reported.
func (c *Conn) fault(op string, err error) {
	c.box.PostUserMessage(&userFailed{op, err})
	c.box.Close(&actors.Close{Reason: actors.ReasonCrashed})
}

// handled is for when a message's handler has returned, or ended otherwise.
func (c *Conn) handled() {
	c.heard() // what has come meanwhile has had to wait
	if c.rare != nil && c.rare.meter != nil {
		c.rare.meter.ready = time.Now()
	}
	c.box.EndMessage()
}
