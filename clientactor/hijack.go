package clientactor

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
)

// Buffer sizes in bytes. What the peer sends is mostly small, and larger payloads bypass the read buffer. The write buffer
// takes a control frame whole (RFC 6455, section 5.5: 2+125 bytes), so each reaches the wire in one Write.
const (
	readBuffer  = 256
	writeBuffer = 128
)

// hijackWriter gives the WebSocket library small buffers over our own wire in place of net/http's two of 4 KB, which
// would live as long as the connection. Nothing keeps a reference to it, or to the writer within, after the upgrade.
type hijackWriter struct {
	http.ResponseWriter
	wire *wire
}

// ginWriter is a hijackWriter over a gin.ResponseWriter, which the library recognises by this method.
type ginWriter struct{ *hijackWriter }

func (g ginWriter) WriteHeaderNow() {
	g.ResponseWriter.(interface{ WriteHeaderNow() }).WriteHeaderNow()
}

// wrapHijack returns a writer to upgrade through, and where to find the wire afterwards. A writer that cannot be hijacked
// is returned as it is, for the library to refuse it in its own words.
func wrapHijack(w http.ResponseWriter) (http.ResponseWriter, *hijackWriter) {
	h := &hijackWriter{ResponseWriter: w}
	if !canHijack(w) {
		return w, h
	}
	if _, gin := w.(interface{ WriteHeaderNow() }); gin {
		return ginWriter{h}, h
	}
	return h, h
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
	h.wire = newWire(conn)
	var source io.Reader = conn
	size := readBuffer
	early, _ := rw.Reader.Peek(rw.Reader.Buffered())
	if len(early) > 0 { // frames that came along with the request
		source = io.MultiReader(bytes.NewReader(bytes.Clone(early)), conn)
		size = max(size, len(early))
	}
	reader := bufio.NewReaderSize(source, size)
	if _, err := reader.Peek(len(early)); err != nil {
		return nil, nil, err
	}
	return h.wire, bufio.NewReadWriter(reader, bufio.NewWriterSize(h.wire, writeBuffer)), nil
}
