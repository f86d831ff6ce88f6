package contract_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// A failed upgrade is answered by the WebSocket library, its error is returned, and nothing is left behind.
func TestAFailedUpgradeIsAnsweredAndReturnedAndLeavesNothing(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	upgrade := string(wstest.Handshake{}.Request("x"))
	without := func(line string) string { return strings.Replace(upgrade, line+"\r\n", "", 1) }
	for name, c := range map[string]struct {
		request string
		status  int
		text    string
	}{
		"plain GET":   {"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426, "Connection header"},
		"bad origin":  {strings.Replace(upgrade, "Host: x\r\n", "Host: x\r\nOrigin: http://evil.example\r\n", 1), 403, "evil.example"},
		"HTTP/1.0":    {strings.Replace(upgrade, "HTTP/1.1", "HTTP/1.0", 1), 426, "HTTP/1.1"},
		"POST":        {strings.Replace(upgrade, "GET", "POST", 1), 405, "POST"},
		"no key":      {without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400, "Sec-WebSocket-Key"},
		"bad version": {strings.Replace(upgrade, "13", "8", 1), 400, "version"},
	} {
		conn := srv.Conn(t)
		_, _ = io.WriteString(conn, c.request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != c.status {
			t.Errorf("%s: %v %v", name, resp, err)
		}
		err = wstest.Receive(t, "Accept returns", srv.Refused)
		if err == nil || !strings.Contains(err.Error(), c.text) || errors.Is(err, wskit.ErrHubStopped) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if n := hub.SubscriberCount(); n != 0 {
		t.Error(n, "subscribers")
	}
	if names := wstest.Tree(t, hub.Hub); len(names) != 4 {
		t.Error(names)
	}
}

func TestAWriterThatCannotBeHijackedIsAnswered501(t *testing.T) {
	hub := wstest.Run(t)
	for name, w := range map[string]interface {
		http.ResponseWriter
		result() int
	}{
		"no Hijack":     &recorder{ResponseRecorder: httptest.NewRecorder()},
		"Hijack failed": &failing{recorder{ResponseRecorder: httptest.NewRecorder()}},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		for _, line := range strings.Split(string(wstest.Handshake{}.Request("x")), "\r\n")[1:] {
			if k, v, ok := strings.Cut(line, ": "); ok {
				r.Header.Set(k, v)
			}
		}
		c, err := wskit.Accept(t.Context(), w, r, hub.Hub, nil)
		if err == nil || c != nil {
			t.Errorf("%s: %v, %v", name, c, err)
		}
		if name == "no Hijack" && w.result() != http.StatusNotImplemented {
			t.Error(w.result())
		}
	}
	if names := wstest.Tree(t, hub.Hub); len(names) != 4 {
		t.Error(names)
	}
}

type recorder struct{ *httptest.ResponseRecorder }

func (r *recorder) result() int { return r.Code }

type failing struct{ recorder }

func (*failing) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errors.New("no") }

// Accept and AcceptSSE on a stopped hub: answered 503, an error that wraps ErrHubStopped, nothing left.
func TestAcceptOnAStoppedHubAnswers503AndErrHubStopped(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	hub.Count(t, 0)
	hub.Halt(t)
	_, resp, err := websocket.Dial(t.Context(), srv.URL+"/ws", &websocket.DialOptions{HTTPClient: srv.Client()})
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Error(resp, err)
	}
	if err := wstest.Receive(t, "Accept returns", srv.Refused); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	st := srv.Stream(t)
	if st.StatusCode != http.StatusServiceUnavailable || st.Header.Get("Content-Type") == "text/event-stream" {
		t.Error(st.Response)
	}
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
}

// Accept when the hub's queue stays full: the connection is closed with 1013, AcceptSSE has the client come back; nothing is left.
func TestAcceptWhenTheQueueStaysFullRefuses(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(wstest.Hush))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p := srv.Open(t)
	p.Ends(t, websocket.StatusTryAgainLater)
	if err := wstest.Receive(t, "Accept returns", srv.Refused); !errors.Is(err, wskit.ErrTimeout) {
		t.Error(err)
	}
	st := srv.Stream(t)
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); !errors.Is(err, wskit.ErrTimeout) || st.StatusCode != 200 {
		t.Error(err, st.StatusCode)
	}
	hub.Start(t)
	wstest.Eventually(t, "no connection's actor is left", func() bool { return len(wstest.Tree(t, hub.Hub)) == 4 })
	hub.Count(t, 0)
}

// TLS, for WebSocket and SSE.
func TestTLSServersWork(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.TLS})
	p, c := srv.Browser(t)
	es := srv.Stream(t)
	hub.Count(t, 2)
	p.Say(t, "1")
	p.Expect(t, "echo 1")
	var want []string
	for i := range 200 {
		hub.Broadcast([]byte(block(i)))
		want = append(want, block(i))
	}
	p.Expect(t, want...)
	es.Expect(t, want...)
	c.Close()
	p.Ends(t, websocket.StatusNormalClosure)
}

// gin's writer is recognised by WriteHeaderNow, writers that only Unwrap are looked through.
func TestWritersThatWrapOthersWork(t *testing.T) {
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"Unwrap":       func(w http.ResponseWriter) http.ResponseWriter { return &unwrapper{w} },
		"Unwrap twice": func(w http.ResponseWriter) http.ResponseWriter { return &unwrapper{&unwrapper{w}} },
		"gin":          func(w http.ResponseWriter) http.ResponseWriter { return &ginWriter{ResponseWriter: w} },
		"gin, wrapped": func(w http.ResponseWriter) http.ResponseWriter {
			return &ginOver{unwrapper{&ginWriter{ResponseWriter: w}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Wrap: wrap})
			p, _ := srv.Browser(t)
			p.Say(t, "1")
			p.Expect(t, "echo 1")
			es := srv.Stream(t)
			hub.Count(t, 2)
			hub.Broadcast([]byte("2"))
			p.Expect(t, "2")
			es.Expect(t, "2")
		})
	}
}

// unwrapper is a middleware's writer that can do nothing by itself.
type unwrapper struct{ w http.ResponseWriter }

func (u *unwrapper) Header() http.Header         { return u.w.Header() }
func (u *unwrapper) Write(p []byte) (int, error) { return u.w.Write(p) }
func (u *unwrapper) WriteHeader(code int)        { u.w.WriteHeader(code) }
func (u *unwrapper) Unwrap() http.ResponseWriter { return u.w }

// ginWriter keeps the status until WriteHeaderNow, as gin's does, and refuses to be hijacked after Write.
type ginWriter struct {
	http.ResponseWriter
	status  int
	written bool
}

func (g *ginWriter) WriteHeader(code int) { g.status = code }

func (g *ginWriter) WriteHeaderNow() {
	if !g.written && g.status != 0 {
		g.written = true
		g.ResponseWriter.WriteHeader(g.status)
	}
}

func (g *ginWriter) Write(p []byte) (int, error) {
	g.WriteHeaderNow()
	return g.ResponseWriter.Write(p)
}

func (g *ginWriter) Flush() {
	g.WriteHeaderNow()
	g.ResponseWriter.(http.Flusher).Flush()
}

func (g *ginWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return g.ResponseWriter.(http.Hijacker).Hijack()
}

// ginOver is a wrapper that knows gin.
type ginOver struct{ unwrapper }

func (g *ginOver) WriteHeaderNow() { g.w.(*ginWriter).WriteHeaderNow() }

// A listener may hand the server connections of its own, which change or count what passes. What they do to Write happens.
func TestAConnectionThatOverridesWriteIsWrittenThrough(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	var passed atomic.Int64
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Setup: func(s *httptest.Server) { s.Listener = countingListener{s.Listener, &passed} }})
	p, _ := srv.Browser(t)
	before := passed.Load()
	text := strings.Repeat("x", 1000)
	hub.Broadcast([]byte(text))
	p.Expect(t, text)
	if n := passed.Load() - before; n < 1000 {
		t.Errorf("%d bytes passed the connection's Write, at least 1000 were sent", n)
	}
}

type countingListener struct {
	net.Listener
	n *atomic.Int64
}

func (l countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{c.(*net.TCPConn), l.n}, nil
}

// countingConn embeds the concrete type, and so has its SyscallConn too.
type countingConn struct {
	*net.TCPConn
	n *atomic.Int64
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p))) // before the peer can have it
	return c.TCPConn.Write(p)
}

// "NewClient on a connection that the caller accepted or dialled itself works too, whether or not the hub runs yet."
func TestNewClientOnAConnectionThatTheCallerAcceptedOrDialled(t *testing.T) {
	for _, early := range []bool{true, false} {
		hub := wstest.Idle(t, wskit.WithOnMessage(wstest.Echo))
		if !early {
			hub.Start(t)
		}
		clients := make(chan *wskit.Client, 1)
		peers := make(chan *wstest.Browser, 1)
		adopt := func(conn *websocket.Conn) {
			c := wskit.NewClient(hub.Hub, conn, context.Background(), nil, wskit.WithMaxMessageSize(10))
			hub.Register(c)
			go c.ReadPump()
			go c.WritePump()
			clients <- c
		}
		var dialled atomic.Bool
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if dialled.Load() {
				peers <- &wstest.Browser{Conn: conn}
				return
			}
			adopt(conn)
		}))
		t.Cleanup(srv.Close)
		for _, d := range []bool{false, true} {
			dialled.Store(d)
			conn, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
			if err != nil {
				t.Fatal(err)
			}
			if d {
				adopt(conn)
			} else {
				peers <- &wstest.Browser{Conn: conn}
			}
			p, c := wstest.Receive(t, "the peer", peers), wstest.Receive(t, "the client", clients)
			t.Cleanup(func() { _ = p.CloseNow() })
			if !c.Send([]byte("sent")) {
				t.Error("Send: false")
			}
			p.Expect(t, "sent")
			p.Say(t, "1")
			p.Expect(t, "echo 1")
			if early && !d {
				hub.Start(t)
			}
			hub.Count(t, 1)
			hub.Broadcast([]byte("2"))
			p.Expect(t, "2")
			p.Say(t, "over the limit")
			p.Ends(t, websocket.StatusMessageTooBig)
			hub.Count(t, 0)
		}
	}
}

// Its ends are those of an accepted client: Close and Unregister 1000, its context and the hub 1001.
func TestAClientOfACallersConnectionEndsLikeAnyOther(t *testing.T) {
	hub := wstest.Run(t)
	ctx, cancel := context.WithCancel(context.Background())
	for _, end := range []struct {
		how  func(*wskit.Client)
		code websocket.StatusCode
	}{
		{(*wskit.Client).Close, websocket.StatusNormalClosure},
		{func(c *wskit.Client) { hub.Unregister(c) }, websocket.StatusNormalClosure},
		{func(*wskit.Client) { cancel() }, websocket.StatusGoingAway},
		{func(*wskit.Client) { hub.Stop() }, websocket.StatusGoingAway},
	} {
		clients := make(chan *wskit.Client, 1)
		own := ctx
		if ctx.Err() != nil {
			own = context.Background()
		}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			conn, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			c := wskit.NewClient(hub.Hub, conn, own)
			hub.Register(c)
			go c.ReadPump()
			go c.WritePump()
			clients <- c
		}))
		t.Cleanup(srv.Close)
		conn, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		p, c := &wstest.Browser{Conn: conn}, wstest.Receive(t, "the client", clients)
		c.Send([]byte("last"))
		end.how(c)
		p.Expect(t, "last")
		p.Ends(t, end.code)
		wstest.Eventually(t, "SendErr says so", func() bool { return errors.Is(c.SendErr(nil), wskit.ErrHubStopped) })
		hub.Count(t, 0)
	}
	cancel()
}
