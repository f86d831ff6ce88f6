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
	h, hijacks := Within[http.Hijacker](w)
	return hijacks && reflect.TypeOf(h).String() == "*http.response"
}

// Within is the first of w and the writers that it wraps that is a T, if any is.
func Within[T any](w http.ResponseWriter) (t T, ok bool) {
	for w != nil {
		if t, ok := w.(T); ok {
			return t, true
		}
		outer, wraps := w.(interface{ Unwrap() http.ResponseWriter })
		if !wraps {
			break
		}
		w = outer.Unwrap()
	}
	return t, false
}
