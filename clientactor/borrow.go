package clientactor

import (
	"io"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// borrow reads one message of a connection that the caller brought, through the library, and hands it to the handler.
func (c *Conn) borrow() {
	at := opRead
	defer func() {
		if at != "" {
			c.crashed(at, recover())
		}
	}()
	discard := c.discards()
	kind, data, err := c.readLent(discard)
	if err == nil && kind == websocket.MessageText && !utf8.Valid(data) {
		err = errText
		c.lent.refuse(errText)
	}
	if c.failure = err; err == nil && c.begin(discard) {
		at = opMessage
		c.pass(kind == websocket.MessageBinary, data)
	}
	at = ""
}

// readLent returns the next message; of one that is to be discarded, nothing.
func (c *Conn) readLent(discard bool) (kind websocket.MessageType, data []byte, err error) {
	kind, r, err := c.lent.ws.Reader(c.lent.ctx)
	if err != nil {
		return 0, nil, err
	}
	c.heard()
	r = hearing{r, c}
	if discard {
		_, err = io.Copy(io.Discard, r)
		return kind, nil, err
	}
	data, err = io.ReadAll(r)
	return kind, data, err
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

// refuse tells the peer why nothing of it is read any more, and waits for the answer, for a while.
func (l *lent) refuse(v *violation) {
	limit := time.AfterFunc(actors.Linger, l.cut)
	defer limit.Stop()
	_ = l.ws.Close(v.code, v.text)
}
