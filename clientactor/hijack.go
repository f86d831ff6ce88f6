package clientactor

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
)

// writeBuffer, in bytes, takes a control frame whole (RFC 6455, section 5.5: 2+125 bytes), so each reaches the wire in one Write.
const writeBuffer = 128

// hijackWriter gives the WebSocket library small buffers over our own wire in place of net/http's two of 4 KB, which
// would live as long as the connection. Nothing keeps a reference to it, or to the writer within, after the upgrade.
type hijackWriter struct {
	http.ResponseWriter
	conn *Conn // whose wire is to be
}

// ginWriter is a hijackWriter over a gin.ResponseWriter, which the library recognises by this method.
type ginWriter struct{ *hijackWriter }

func (g ginWriter) WriteHeaderNow() {
	g.ResponseWriter.(interface{ WriteHeaderNow() }).WriteHeaderNow()
}

// wrapHijack returns a writer to upgrade through, which makes c's wire. A writer that cannot be hijacked is returned as it
// is, for the library to refuse it in its own words.
func wrapHijack(w http.ResponseWriter, c *Conn) http.ResponseWriter {
	if !canHijack(w) {
		return w
	}
	h := &hijackWriter{w, c}
	if _, gin := w.(interface{ WriteHeaderNow() }); gin {
		return ginWriter{h}
	}
	return h
}

func canHijack(w http.ResponseWriter) bool {
	for w != nil {
		switch t := w.(type) {
		case http.Hijacker:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
	return false
}

func (h *hijackWriter) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *hijackWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	early, _ := rw.Reader.Peek(rw.Reader.Buffered()) // frames that came along with the request
	h.conn.wire = &h.conn.own
	h.conn.wire.attach(conn, bytes.Clone(early), h.conn.cfg.WriteWait, h.conn.wrote)
	h.conn.prefetch = bufio.NewReaderSize(h.conn.wire, h.conn.wire.readBuffer())
	// A handler that stays until the connection ends keeps what these are part of; their 8 KB it shall not keep.
	*rw.Reader, *rw.Writer = bufio.Reader{}, bufio.Writer{}
	return h.conn.wire, bufio.NewReadWriter(h.conn.prefetch, bufio.NewWriterSize(h.conn.wire, writeBuffer)), nil
}
