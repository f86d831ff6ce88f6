package clientactor

import (
	"net"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// wire is a connection whose net.Conn is ours. The connection's actor writes ready-made frames through
// it, and so does the WebSocket library for its pongs and close frames: all of them whole, and nothing after a close frame
// (RFC 6455, section 5.5.1), whoever sent it.
type wire struct {
	actors.Socket
	encode func(*actors.Frame) []byte
	input
}

// attach is called once, before the wire is used; early is what the peer has sent already.
func (w *wire) attach(conn net.Conn, early []byte, wait time.Duration, written func(error)) {
	w.encode = (*actors.Frame).WebSocket
	w.Attach(conn, wait, written)
	w.fill, w.came = w.tryFill, early
}

// deflate has messages compressed, as the client has agreed to.
func (w *wire) deflate(o websocket.AcceptOptions) {
	threshold := o.CompressionThreshold
	switch {
	case threshold > 0:
	case o.CompressionMode == websocket.CompressionContextTakeover:
		threshold = takeoverThreshold
	default:
		threshold = noTakeoverThreshold
	}
	w.encode = func(f *actors.Frame) []byte { return f.Deflated(threshold) }
}

// The library's own defaults for AcceptOptions.CompressionThreshold, in bytes.
const (
	takeoverThreshold   = 128
	noTakeoverThreshold = 512
)

// write hands over a batch; pending means that the Conn's wrote will be called.
func (w *wire) write(b *actors.Batch) (pending bool, err error) { return w.Send(b.Gather(w.encode)) }

// Write is the library's way to the socket. It always gives it one whole control frame.
func (w *wire) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := w.Control(p, p[0]&0x0f == opClose); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Close is the library's way to end the connection, when the peer's close frame has come and been answered. The answer may wait
// behind something that is being written, or for a goroutine to write it, as with TLS.
func (w *wire) Close() error {
	if idle := w.Idle(); idle != nil {
		limit := time.NewTimer(linger)
		defer limit.Stop()
		select {
		case <-idle:
		case <-limit.C:
		}
	}
	return w.Conn.Close()
}

func (w *wire) ping() error { return w.Control(pingFrame, false) }

func (w *wire) vitals() actors.Vitals { return w.Vitals() }

func (w *wire) patience() time.Duration { return w.Wait() }

func (w *wire) goodbye(r actors.Reason) { _, _ = w.Write(actors.CloseFrame(r)) }

const (
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa

	maxControl = 125 // bytes of payload: RFC 6455, section 5.5
)

var pingFrame = actors.ControlFrame(opPing, nil)
