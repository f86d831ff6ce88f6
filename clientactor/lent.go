package clientactor

import (
	"context"
	"slices"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// lent is the writing half of a connection that the caller accepted or dialled: there is no way to its socket but through
// the library, which may block, so everything happens in goroutines.
type lent struct {
	ws      *websocket.Conn
	ctx     context.Context // ends when the connection is to be cut
	cut     context.CancelFunc
	wait    time.Duration
	written func(error)
	ponged  func(error) // told how a ping went
}

// own runs fn on a goroutine of its own. What panics there is the user's: a callback of the library's, or a net.Conn. then is
// called with that, or what fn returned, whatever becomes of the goroutine.
func (l *lent) own(fn func() error, then func(error)) {
	go func() {
		err := actors.NewGoexitError("websocket.Conn")
		defer func() { then(err) }()
		if crash := actors.Fence("websocket.Conn", func() { err = fn() }); crash != nil {
			err = crash
		}
	}()
}

func (l *lent) write(b *actors.Batch) (pending bool, err error) {
	frames := slices.Collect(b.Messages) // the batch is valid only now
	l.own(func() error {
		for _, f := range frames {
			ctx, cancel := context.WithTimeout(l.ctx, l.wait)
			err := l.ws.Write(ctx, websocket.MessageText, f.Payload())
			cancel()
			if err != nil {
				return err
			}
		}
		return nil
	}, l.written)
	return true, nil
}

func (l *lent) ping() {
	l.own(func() error {
		ctx, cancel := context.WithTimeout(l.ctx, l.wait)
		defer cancel()
		return l.ws.Ping(ctx)
	}, l.ponged)
}

func (l *lent) goodbye(r actors.Reason) {
	l.own(func() error { return l.ws.Close(websocket.StatusCode(r.Code()), r.Text()) }, func(error) {})
}
