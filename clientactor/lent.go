package clientactor

import (
	"context"
	"slices"
	"sync"
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
	ponged  func(error)   // told how a ping went
	parted  chan struct{} // closed when the goodbye has been said and answered, or has failed
	once    sync.Once
}

func (l *lent) write(b *actors.Batch) (pending bool, err error) {
	frames := slices.Collect(b.Messages) // the batch is valid only now
	go func() {
		var err error
		for _, f := range frames {
			ctx, cancel := context.WithTimeout(l.ctx, l.wait)
			err = l.ws.Write(ctx, websocket.MessageText, f.Payload())
			cancel()
			if err != nil {
				break
			}
		}
		l.written(err)
	}()
	return true, nil
}

func (l *lent) ping() {
	go func() {
		ctx, cancel := context.WithTimeout(l.ctx, l.wait)
		defer cancel()
		l.ponged(l.ws.Ping(ctx))
	}()
}

func (l *lent) goodbye(r actors.Reason) {
	go func() {
		_ = l.ws.Close(websocket.StatusCode(r.Code()), r.Text())
		l.once.Do(func() { close(l.parted) })
	}()
}
