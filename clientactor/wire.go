package clientactor

import (
	"net"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// wire is a connection whose net.Conn is ours. The connection's actor writes ready-made frames through it, and so does its
// reader, for pongs: all of them whole, and nothing after a close frame (RFC 6455, section 5.5.1).
type wire struct {
	actors.Socket
	encode func(*actors.Frame) []byte
	input
}

// attach is called once, before the wire is used.
func (w *wire) attach(conn net.Conn, wait time.Duration, on *actors.Elastic, written func(error)) {
	if w.encode == nil {
		w.encode = (*actors.Frame).WebSocket
	}
	w.Attach(conn, wait, on, written)
	w.fill = w.tryFill
}

// compress has messages compressed and decompressed, as the client has agreed to.
func (w *wire) compress(o websocket.AcceptOptions, clientTakeover bool) {
	w.deflate = true
	if clientTakeover {
		w.window = new(window)
	}
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

// envelop has messages sent in their envelopes. It comes after compress.
func (w *wire) envelop() {
	plain := w.encode
	if plain == nil {
		w.encode = enveloped
		return
	}
	w.encode = func(f *actors.Frame) []byte { return plain(f.Enveloped()) }
}

func enveloped(f *actors.Frame) []byte { return f.Enveloped().WebSocket() }

// The library's own defaults for AcceptOptions.CompressionThreshold, in bytes.
const (
	takeoverThreshold   = 128
	noTakeoverThreshold = 512
)

// write hands over a batch; pending means that the Conn's wrote will be called.
func (w *wire) write(b *actors.Batch) (pending bool, err error) { return w.Send(b.Gather(w.encode)) }

// control writes one whole control frame; a close frame is the last.
func (w *wire) control(frame []byte) error { return w.Control(frame, frame[0]&0x0f == opClose) }

func (w *wire) ping() error { return w.Control(pingFrame, false) }

func (w *wire) goodbye(code uint16, text string) { _ = w.control(actors.CloseFrame(code, text)) }

var pingFrame = actors.ControlFrame(opPing, nil)
