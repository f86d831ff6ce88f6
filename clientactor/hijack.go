package clientactor

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// hijackWriter takes the connection over when the WebSocket library upgrades it, and lets the library have as much of it as
// it needs for that. Nothing keeps a reference to it, or to the writer within, after the upgrade.
type hijackWriter struct {
	http.ResponseWriter
	conn  *Conn // whose wire is to be
	opts  *websocket.AcceptOptions
	enter func(*Conn) // is called right before the client learns that it is connected
}

// handover is what the library has of the connection: nothing. It writes the answer to the request before it asks for the
// connection, and after that it is to let go, without closing what is not its own any more.
type handover struct{ net.Conn }

func (handover) Close() error { return nil }

// ginWriter is a hijackWriter over a gin.ResponseWriter, which the library recognises by this method.
type ginWriter struct{ *hijackWriter }

func (g ginWriter) WriteHeaderNow() {
	g.ResponseWriter.(interface{ WriteHeaderNow() }).WriteHeaderNow()
}

// wrap returns h to upgrade through, which makes the wire. A writer that cannot be hijacked is returned as it is, for the library to
// refuse it in its own words.
func (h *hijackWriter) wrap() http.ResponseWriter {
	w := h.ResponseWriter
	if _, can := actors.Within[http.Hijacker](w); !can {
		return w
	}
	if _, gin := w.(interface{ WriteHeaderNow() }); gin {
		return ginWriter{h}
	}
	return h
}

func (h *hijackWriter) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack comes when the request has been found to be in order, and is what sends the answer to it. Who has read that may have a
// broadcast made, and expect to get it.
func (h *hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if extensions := h.Header().Get("Sec-WebSocket-Extensions"); strings.HasPrefix(extensions, "permessage-deflate") {
		h.conn.own.compress(*h.opts, !strings.Contains(extensions, "client_no_context_takeover"))
		h.conn.box.EncodeWith(h.conn.own.encode)
	}
	if h.conn.agree(h.Header().Get("Sec-WebSocket-Protocol")) {
		h.conn.own.envelop()
		h.conn.box.EncodeWith(h.conn.own.encode)
	}
	if h.enter != nil {
		h.enter(h.conn)
	}
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	wire := &h.conn.own
	h.conn.wire = wire
	wire.attach(conn, h.conn.cfg.WriteWait, h.conn.box.Pools().Streams(), h.conn.wrote)
	wire.limit = h.conn.cfg.MaxMessageSize
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // frames that came along with the request
	wire.came = bytes.Clone(early)
	_, _ = rw.Reader.Discard(len(early)) // a conn that reads through rw shall not have them again
	actors.DropBuffers(h.ResponseWriter, conn, rw)
	none := handover{conn}
	return none, bufio.NewReadWriter(bufio.NewReaderSize(none, 16), bufio.NewWriterSize(none, 16)), nil
}
