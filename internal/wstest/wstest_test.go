package wstest_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
	"github.com/wskit/wskit/internal/wstest/wire"
)

func TestMain(m *testing.M) { wstest.Main(m, "") }

func TestABrowserAndAPeerHearTheHubOverEveryKindOfConnection(t *testing.T) {
	for _, kind := range append(wstest.Kinds, wstest.Pipe) {
		t.Run(kind.Name, func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
			browser, _ := srv.Browser(t)
			peer, _ := srv.Peer(t, wstest.Masked(wstest.Ping, "early")...)
			peer.ExpectFrame(t, wstest.Pong, "early")
			hub.Broadcast([]byte("to all"))
			browser.Expect(t, "to all")
			peer.Expect(t, "to all")
			browser.Say(t, "hi")
			browser.Expect(t, "echo hi")
			peer.SendFrames(t, wstest.Fragments(wstest.Text, "in ", "two ", "parts")...)
			peer.Expect(t, "echo in two parts")
			hub.Stop()
			browser.Ends(t, websocket.StatusGoingAway)
			if f, err := peer.Next(false); f.Op != wstest.Close || f.Code() != 1001 || err != nil {
				t.Error(f, err)
			}
			peer.Send(t, wstest.Close, "\x03\xe9")
			_, _ = io.Copy(io.Discard, peer)
		})
	}
}

func TestServeWSTellsItsResultOverEveryKindOfConnection(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Block: true})
		b := srv.Open(t)
		hub.Count(t, 1)
		hub.Stop()
		b.Ends(t, websocket.StatusGoingAway)
		if err := wstest.Receive(t, "ServeWS returns", srv.Served); err != nil {
			t.Error(err)
		}
	})
}

func TestAStreamHearsTheHubOverEveryKindOfConnection(t *testing.T) {
	for _, kind := range append(wstest.StreamKinds, wstest.Pipe) {
		t.Run(kind.Name, func(t *testing.T) {
			hub := wstest.Run(t)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
			st := srv.Stream(t)
			if (st.ProtoMajor == 2) != (kind == wstest.HTTP2) {
				t.Error(st.Proto)
			}
			hub.Count(t, 1)
			hub.Broadcast([]byte("two\nlines"))
			st.Expect(t, "two\nlines")
			hub.Halt(t)
			st.Ends(t)
			if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheServerSeesTheConnectionThatItsKindSays(t *testing.T) {
	for _, kind := range append(wstest.Kinds, wstest.Pipe) {
		seen := make(chan string, 1)
		srv := wstest.Listen(t, kind, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			seen <- typeOf(conn)
		}))
		if _, err := srv.Client().Get(srv.URL); err == nil {
			t.Error(kind.Name, "an answer of nothing")
		}
		want := map[string]string{"TCP": "TCP", "TLS": "TLS", "wrapped net.Conn": "other", "NewClient": "TCP", "pipe": "other"}[kind.Name]
		if got := wstest.Receive(t, "the handler", seen); got != want {
			t.Errorf("%s: a connection of type %s", kind.Name, got)
		}
	}
}

func TestAFrameReadsBackAsItWasWritten(t *testing.T) {
	for _, f := range []wire.Frame{
		{}, {Fin: true}, wire.Whole(wire.Text, "hi"), wire.CloseWith(1000, "bye"),
		{RSV: wire.RSV1, Op: wire.Binary, Payload: strings.Repeat("x", 125)},
		wire.Whole(wire.Text, strings.Repeat("x", 126)), wire.Whole(wire.Text, strings.Repeat("x", 0xffff)),
		wire.Whole(wire.Text, strings.Repeat("x", 0x10000)),
	} {
		if got, err := wire.Read(strings.NewReader(string(f.Unmasked()))); got != f || err != nil {
			t.Errorf("%v reads as %v (%v)", f, got, err)
		}
		if _, err := wire.Read(strings.NewReader(string(f.Masked()))); err == nil {
			t.Errorf("%v is read from a server though it is masked", f)
		}
		b := string(f.Unmasked())
		if _, err := wire.Read(strings.NewReader(b[:len(b)-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v cut off: %v", f, err)
		}
	}
	if _, err := wire.Read(strings.NewReader("")); err != io.EOF {
		t.Error(err)
	}
	if _, err := wire.Read(strings.NewReader("\x81\x7e\x00\x01x")); err == nil {
		t.Error("a length that is not in its shortest form is read")
	}
	if f := wire.CloseWith(1008, "no"); f.Code() != 1008 || f.Reason() != "no" || wire.Whole(wire.Close, "").Code() != wire.NoCode {
		t.Error(f)
	}
	// RFC 6455, section 5.7: "A single-frame masked text message", but for the key the same every time.
	if got := string(wire.Masked(wire.Text, "Hello")); got != "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" {
		t.Errorf("%x", got)
	}
}

func TestEventsAreReadAsAnEventSourceDoes(t *testing.T) {
	var comments []string
	var events []string
	err := wstest.ReadEvents(strings.NewReader("\xef\xbb\xbf: hello\ndata: a\rdata:b\r\n\r\nevent: tick\nid: 7\ndata: c\n\nretry: 3000\ndata\n\nid: 8\n\nodd: x\ndata: unfinished"),
		func(e string) { events = append(events, e) }, func(c string) { comments = append(comments, c) })
	if got, want := strings.Join(events, "|"), "a\nb|[event:tick id:7] c|[retry:3000]||[id:8]|[odd:x]"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if err != io.EOF {
		t.Error(err)
	}
	if len(comments) != 1 || comments[0] != "hello" {
		t.Errorf("%q", comments)
	}
}

func TestALogRecorderKeepsTheLoggersAttributesToo(t *testing.T) {
	var log wstest.LogRecorder
	log.Logger().With("a", 1).With("b", 2).Error("wskit: crash", "op", "me")
	log.Logger().Debug("other")
	if r := log.Crashes("me"); len(r) != 1 || r[0].Attrs["a"] != int64(1) || r[0].Attrs["b"] != int64(2) {
		t.Error(r)
	}
	if len(log.Crashes("you")) != 0 || log.Len() != 2 {
		t.Error(log.All())
	}
}

func typeOf(conn net.Conn) string {
	switch conn.(type) {
	case *net.TCPConn:
		return "TCP"
	case *tls.Conn:
		return "TLS"
	}
	return "other"
}
