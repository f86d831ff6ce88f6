package clientactor

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// lent is the writing half of a connection that the caller accepted or dialled: there is no way to its socket but through
// the library, which may block, so everything happens in goroutines.
//
// What the kernel knows of it is out of reach too. That a write, or a ping, gets on is known only from what was handed to the
// library and from what is read; what the kernel may hold meanwhile gets the time that a reader of leastRate takes for it.
type lent struct {
	ws      *websocket.Conn
	box     *actors.Outbox
	ctx     context.Context // ends when the connection is to be cut
	cut     context.CancelFunc
	wait    time.Duration
	written func(error)
	ponged  func(error) // told how a ping went
	envelop bool        // messages are sent in their envelopes
	tempo   actors.Tempo
	sent    atomic.Int64 // bytes of messages
	arrived atomic.Int64 // of these, when the last ping was sent that was answered
}

// What the two kernels may hold, and how fast somebody reads at least who is there.
const (
	leastRate = 100 << 10 // bytes a second
	maxHeld   = 8 << 20   // bytes
	maxStep   = 4 << 20   // a third of which, in bytes, a kernel may wait for before it takes more
	// maxControlWrite is what the library gives a ping to be written.
	maxControlWrite = 5 * time.Second
)

// own runs fn on a goroutine of its own, made by start. What panics there is the user's: a callback of the library's, or a
// net.Conn. then is called with that, or what fn returned, whatever becomes of the goroutine.
func (l *lent) own(start func(func()), fn func() error, then func(error)) {
	start(func() {
		err := actors.NewGoexitError("websocket.Conn")
		defer func() { then(err) }()
		if crash := actors.Fence("websocket.Conn", func() { err = fn() }); crash != nil {
			err = crash
		}
	})
}

func alone(fn func()) { go fn() }

func (l *lent) write(b *actors.Batch) (pending bool, err error) {
	l.writeSome(slices.Collect(b.Messages)) // the batch is valid only now
	return true, nil
}

// maxTurn is how many messages are written before others on the pool have their turn: each is a system call of its own.
const maxTurn = actors.LeastTurn

func (l *lent) writeSome(frames []*actors.Frame) {
	now := min(len(frames), maxTurn)
	run := func(fn func()) { l.tempo.Schedule(l.box.Pools().Streams(), fn, false) }
	l.own(run, func() error { return l.send(frames[:now]) }, func(err error) {
		if err == nil && now < len(frames) {
			l.writeSome(frames[now:])
			return
		}
		l.written(err)
	})
}

// send writes messages, and cuts the connection if it does not get on.
func (l *lent) send(frames []*actors.Frame) error {
	began := time.Now()
	w := &passage{lent: l, began: began, arrived: l.arrived.Load()}
	w.stall = actors.NewStall(l.wait, w.moved, l.cut)
	defer func() {
		w.stall.Stop()
		l.tempo.Wrote(time.Since(began))
	}()
	for _, f := range frames {
		if l.envelop {
			f = f.Enveloped()
		}
		kind := websocket.MessageText
		if f.Binary() {
			kind = websocket.MessageBinary
		}
		if err := w.write(kind, f.Payload()); err != nil {
			return err
		}
	}
	return nil
}

// passage is messages on their way into the library.
type passage struct {
	*lent
	stall   *actors.Stall
	began   time.Time
	last    atomic.Int64 // when something was taken last, in nanoseconds since
	arrived int64        // of lent, when it was looked at last
}

// maxWhole is the largest message, in bytes, that is written as one frame. Of another it is seen how it gets on, and pongs go in
// between.
const maxWhole = 32 << 10

func (p *passage) write(kind websocket.MessageType, b []byte) error {
	if len(b) <= maxWhole {
		return p.took(len(b), p.ws.Write(p.ctx, kind, b))
	}
	w, err := p.ws.Writer(p.ctx, kind)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(b, maxWhole) {
		n, err := w.Write(part)
		if err := p.took(n, err); err != nil {
			return err
		}
	}
	return w.Close()
}

func (p *passage) took(n int, err error) error {
	p.sent.Add(int64(n))
	p.last.Store(int64(time.Since(p.began)))
	p.stall.Moved()
	return err
}

// moved is for the Stall: a ping was answered, or it is too early to tell.
func (p *passage) moved() bool {
	arrived := p.lent.arrived.Load()
	answered := arrived != p.arrived
	p.arrived = arrived
	return answered || time.Since(p.began)-time.Duration(p.last.Load()) < p.slack(maxStep)/3
}

// slack is how long a peer may take for what the kernels hold, if that is at most so many bytes.
func (l *lent) slack(most int64) time.Duration {
	return time.Duration(min(l.sent.Load()-l.arrived.Load(), most)) * time.Second / leastRate
}

// Wait implements sink.
func (l *lent) Wait() time.Duration { return l.wait + l.slack(maxHeld) }

// ping implements sink. A deadline that passed while the ping is written would end the connection, one that passes later does not.
func (l *lent) ping() error {
	before, patience := l.sent.Load(), max(l.Wait(), maxControlWrite+time.Second)
	l.own(alone, func() error {
		ctx, cancel := context.WithTimeout(l.ctx, patience)
		defer cancel()
		return l.ws.Ping(ctx)
	}, func(err error) {
		switch {
		case err == nil:
			l.arrived.Store(before)
		case errors.Is(err, context.DeadlineExceeded), l.ctx.Err() != nil:
			return // it may not even have been written
		}
		l.ponged(err)
	})
	return nil
}

// Vitals implements sink: nothing is known.
func (l *lent) Vitals() actors.Vitals { return actors.Vitals{} }

func (l *lent) goodbye(code uint16, text string) {
	l.own(alone, func() error { return l.ws.Close(websocket.StatusCode(code), actors.CloseText(text)) }, func(error) {})
}
