package actors

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"reflect"
)

// DropBuffers frees the two buffers of 4 KB that w has handed over with a hijacked connection. A handler that stays until the
// connection ends keeps what they are part of, and would keep them. Where conn may read or write through them they stay: it
// may, unless it is net/http's own, by its type or since nobody in between has hijacked it.
func DropBuffers(w http.ResponseWriter, conn net.Conn, rw *bufio.ReadWriter) {
	in, out := rw.Reader, rw.Writer
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn, *tls.Conn:
	default:
		if !isNetHTTPs(w) {
			return
		}
	}
	*in, *out = bufio.Reader{}, bufio.Writer{}
}

// isNetHTTPs reports whether it is net/http itself that hijacks when w is asked to. It has no exported name.
func isNetHTTPs(w http.ResponseWriter) bool {
	for w != nil {
		if _, hijacks := w.(http.Hijacker); hijacks {
			return reflect.TypeOf(w).String() == "*http.response"
		}
		within, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = within.Unwrap()
	}
	return false
}
