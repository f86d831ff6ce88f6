package sseactor

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/wskit/wskit/actors"
)

// Bounds of a hijacked stream.
const (
	// linger is how long a stream that this side has ended is kept half open: a connection that is closed while input is
	// unread is reset, which takes the last events along.
	linger = time.Second
	// maxInput is how many bytes a client may send that is only to listen.
	maxInput = 64 << 10
)

var errInput = errors.New("wskit: an SSE client sent more than 64 KB")

// Hijacked is a stream on a connection that was taken over from net/http. Its actor writes, on the pool, without ever waiting
// for the client; the handler's goroutine reads, which is how it learns that the client left.
type Hijacked struct {
	socket actors.Socket
	stream *Stream
	in     [16]byte       // what is read is not looked at
	stop   [2]func() bool // ends the watch of the two contexts

	mu   sync.Mutex
	over bool // how the stream ends is decided
	err  error
}

// Hijack takes the request's connection over from net/http, answers the request, and attaches the stream to the connection.
// What it returns is to be served. nil means that it could not be done and nothing has happened: Respond can do it.
func (s *Stream) Hijack(hub context.Context, w http.ResponseWriter, r *http.Request) *Hijacked {
	if !canHijack(w, r) {
		return nil
	}
	setHeader(w.Header())
	head := append(head(w.Header()), s.cfg.first(true)...)
	var conn net.Conn
	returned := false
	defer func() {
		if returned {
			return
		}
		s.Refuse(actors.ReasonWrite) // a writer around the server's has panicked
		if conn != nil {
			_ = conn.Close() // net/http does not close what it handed over
		}
	}()
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		returned = true
		return nil
	}
	actors.DropBuffers(w, conn, rw)
	setAnswered(w)
	h := &Hijacked{stream: s}
	h.socket.Attach(conn, s.cfg.WriteWait, s.box.Pools().Streams(), func(err error) { s.box.PostUserMessage(&written{err}) })
	h.attach(hub, r.Context(), head)
	returned = true
	return h
}

// canHijack reports whether the stream can be written to the connection itself: in clear text, by HTTP/1, with nobody in
// between who would see the body through w alone, and without a body of the request that is still to come.
func canHijack(w http.ResponseWriter, r *http.Request) bool {
	if _, ok := w.(http.Hijacker); !ok || r.ProtoMajor != 1 || r.TLS != nil || r.Method == http.MethodHead || r.ContentLength != 0 {
		return false
	}
	for _, name := range []string{"Content-Encoding", "Content-Length", "Trailer", "Transfer-Encoding"} {
		if len(w.Header()[name]) > 0 {
			return false
		}
	}
	return true
}

// setAnswered tells a framework's writer, which does not see the answer pass, that there is one: echo's has the field Committed for
// that. Else an error that the handler returns, such as that the client left, would be answered 500 on a connection that is not
// the server's any more.
func setAnswered(w http.ResponseWriter) {
	v := reflect.ValueOf(w)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return
	}
	if f, ok := v.Elem().Type().FieldByName("Committed"); ok && f.Type.Kind() == reflect.Bool && f.IsExported() && len(f.Index) == 1 {
		v.Elem().FieldByIndex(f.Index).SetBool(true)
	}
}

// head is the head of the response, whose body ends with the connection (RFC 9112, section 6.3).
func head(h http.Header) []byte {
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 200 OK\r\n")
	if _, set := h["Date"]; !set {
		b.WriteString("Date: " + time.Now().UTC().Format(http.TimeFormat) + "\r\n")
	}
	_ = h.WriteSubset(&b, map[string]bool{"Connection": true})
	b.WriteString("Connection: close\r\n\r\n")
	return b.Bytes()
}

// attach sends the head and lets the actor run.
func (h *Hijacked) attach(hub, request context.Context, head []byte) {
	s := h.stream
	s.lane.direct.Store(true)
	alive := s.attach(h)
	pending, _ := h.socket.Send(actors.Gathered{Bytes: head}) // it fails on a connection that has ended, as read will see
	switch {
	case !alive:
		h.decide(nil, false)
	case !pending:
		s.box.PostUserMessage(&written{})
	}
	h.stop[0] = context.AfterFunc(request, func() { h.decide(request.Err(), false) })
	// An actor that is gone, or never was, can close nothing.
	h.stop[1] = context.AfterFunc(hub, func() { h.decide(nil, false) })
}

// Serve blocks until the stream ends. It returns what Response.Serve does, with context.Canceled when the client left: net/http
// does not end the context of a request whose connection it handed over.
func (h *Hijacked) Serve() error {
	defer h.close()
	h.decide(h.read(), true)
	return h.err // which nothing changes any more
}

// read reads until the connection ends, and returns what that means if nothing else has ended the stream.
func (h *Hijacked) read() error {
	for n := 0; n <= maxInput; {
		more, err := h.socket.Read(h.in[:])
		if err != nil {
			return context.Canceled
		}
		n += more
	}
	return errInput
}

// close leaves nothing behind: no descriptor, no watch, no timer, and no actor either.
func (h *Hijacked) close() {
	_ = h.socket.Close()
	for _, stop := range h.stop {
		stop()
	}
	s := h.stream
	if s.timer != nil { // else the actor had ended before
		s.timer.Stop() // as the actor does, if there is one
	}
	s.box.Close(&actors.Close{Reason: actors.ReasonPeer}) // what is still queued meets a closed connection
}

// write implements sink.
func (h *Hijacked) write(g actors.Gathered, _ time.Time) (pending bool, err error) {
	return h.socket.Send(g)
}

// check implements sink. The socket sees to itself.
func (h *Hijacked) check() {}

// end implements sink. After an error there is nobody to wait for. As with net/http, one that says no more than that the
// connection is broken means that the client left.
func (h *Hijacked) end(err error) {
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		err = context.Canceled
	}
	h.decide(err, err != nil)
}

// decide ends the stream, for err if not for the hub; the first call counts. With cut it does so at once, else the client
// gets to read what was written, and read returns when it has or has had the time.
func (h *Hijacked) decide(err error, cut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	h.over, h.err = true, err
	if half, ok := h.socket.Conn.(interface{ CloseWrite() error }); ok && !cut && half.CloseWrite() == nil {
		_ = h.socket.SetReadDeadline(time.Now().Add(linger))
		return
	}
	_ = h.socket.Close()
}
