package contract_test

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// hijacking is a middleware's writer whose connection reads through the buffer that net/http hands over with it, as the
// contract of http.Hijacker has it.
type hijacking struct{ http.ResponseWriter }

type throughBuffer struct {
	net.Conn
	in *bufio.Reader
}

func (c throughBuffer) Read(p []byte) (int, error) { return c.in.Read(p) }

func (h hijacking) Flush() { h.ResponseWriter.(http.Flusher).Flush() }

func (h hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := h.ResponseWriter.(http.Hijacker).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return throughBuffer{conn, rw.Reader}, rw, nil
}

// Such a connection works for both kinds of client, and what came along with the request is read once.
func TestAHijackedConnectionThatReadsThroughItsBufferWorks(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo), wskit.WithSSEHijack())
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Wrap: func(w http.ResponseWriter) http.ResponseWriter { return hijacking{w} }})
	st := srv.Stream(t)
	hub.Count(t, 1)
	hub.Broadcast([]byte("to the stream"))
	st.Expect(t, "to the stream")
	p, _ := srv.Peer(t, bytes.Join([][]byte{wstest.Masked(wstest.Text, "early"), wstest.Masked(wstest.Text, "too")}, nil)...)
	p.Expect(t, "echo early", "echo too")
	p.Say(t, "late")
	p.Expect(t, "echo late")
}

// fallible is a writer whose header cannot be had any more once the connection was hijacked.
type fallible struct {
	http.ResponseWriter
	hijacked bool
}

func (f *fallible) Header() http.Header {
	if f.hijacked {
		panic("the header is gone")
	}
	return f.ResponseWriter.Header()
}

func (f *fallible) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	f.hijacked = true
	return f.ResponseWriter.(http.Hijacker).Hijack()
}

// What fails after the connection was taken over closes it: nobody else would.
func TestAnUpgradeThatFailsAfterHijackClosesTheConnection(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Listen(t, wstest.Kinds[0], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() == nil {
				t.Error("Accept has swallowed the panic")
			}
		}()
		_, _ = wskit.Accept(r.Context(), &fallible{ResponseWriter: w}, r, hub.Hub, nil)
	}))
	conn := srv.Conn(t)
	if _, err := conn.Write(wstest.Handshake{}.Request(srv.Host())); err != nil {
		t.Fatal(err)
	}
	_, err := bufio.NewReader(conn).WriteTo(&bytes.Buffer{}) // until the end, which the deadline would be too
	if err != nil {
		t.Errorf("the connection stays open: %v", err)
	}
	hub.Count(t, 0)
}
