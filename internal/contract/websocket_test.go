package contract_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// "Accept upgrades, makes a client and registers it; the caller runs the two pumps. acceptOpts may be nil."
// "Messages go out as text" (Expect checks that of every message in this package); "what is not valid UTF-8 ... as a binary message."
func TestAcceptUpgradesAndRegistersAndMessagesGoOutAsText(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	p, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	hub.Broadcast([]byte("to all")) // Accept has returned, so it is registered
	p.Expect(t, "to all")
	if !c.Send([]byte("to one")) {
		t.Error("Send: false")
	}
	if err := c.SendErr([]byte("\x00\xff not even text")); err != nil {
		t.Error(err)
	}
	p.Expect(t, "to one")
	p.ExpectBinary(t, "\x00\xff not even text")
	p.Say(t, "hi")
	p.Expect(t, "echo hi")
	c.Send(nil)
	c.Send([]byte(strings.Repeat("x", 1<<20)))
	p.Expect(t, "", strings.Repeat("x", 1<<20))
	for _, n := range []int{125, 126, 65535, 65536} { // where the header grows
		hub.Broadcast(bytes.Repeat([]byte("y"), n))
		p.Expect(t, strings.Repeat("y", n))
	}
	if n := hub.SubscriberCount(); n != 1 {
		t.Error(n)
	}
}

// "Accept(r.Context(), …) followed by the two pumps and a return from the handler must keep the connection alive (net/http
// cancels that context when the handler returns)".
func TestAcceptWithTheRequestsOwnContextKeepsTheConnectionAliveAfterTheHandlerReturned(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	ended := make(chan struct{})
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Ctx: func(r *http.Request) context.Context {
		context.AfterFunc(r.Context(), func() { close(ended) })
		return r.Context()
	}})
	p, c := srv.Browser(t)
	wstest.Receive(t, "net/http ends the request's context", ended)
	p.Say(t, "1")
	p.Expect(t, "echo 1")
	hub.Broadcast([]byte("2"))
	p.Expect(t, "2")
	if err := c.SendErr([]byte("3")); err != nil {
		t.Error(err)
	}
	p.Expect(t, "3")
}

// "Any other ctx closes the client when it ends."
func TestAnyOtherContextClosesTheClientWhenItEnds(t *testing.T) {
	hub := wstest.Run(t)
	own, cancel := context.WithCancel(context.Background())
	p, c := wstest.Serve(t, hub.Hub, wstest.Serving{Ctx: func(*http.Request) context.Context { return own }}).Browser(t)
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
	cancel()
	p.Ends(t, websocket.StatusGoingAway)
	wstest.Eventually(t, "SendErr says so", func() bool { return errors.Is(c.SendErr(nil), wskit.ErrHubStopped) })
	hub.Count(t, 0)

	ended := func(*http.Request) context.Context { return own } // before Accept even
	p, _ = wstest.Serve(t, hub.Hub, wstest.Serving{Ctx: ended}).Browser(t)
	p.Ends(t, websocket.StatusGoingAway)
	hub.Count(t, 0)
}

// "of the request's own context, and of what was derived from it, that end does not count"
func TestTheEndOfTheRequestDoesNotCountHoweverItsContextWasWrapped(t *testing.T) {
	hub := wstest.Run(t)
	for name, derive := range map[string]func(context.Context) context.Context{
		"value": func(ctx context.Context) context.Context { return context.WithValue(ctx, &hub, 1) },
		"cancel": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			return ctx
		},
		"timeout of a value": func(ctx context.Context) context.Context {
			ctx, cancel := context.WithTimeout(context.WithValue(ctx, &hub, 1), time.Hour)
			t.Cleanup(cancel)
			return ctx
		},
	} {
		t.Run(name, func(t *testing.T) {
			ended := make(chan struct{})
			p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{Ctx: func(r *http.Request) context.Context {
				ctx := derive(r.Context())
				context.AfterFunc(ctx, func() { close(ended) })
				return ctx
			}}).Browser(t)
			wstest.Receive(t, "the context ends with the handler", ended)
			wstest.Silent(t, "the client leaves", wstest.Begin(func() {
				wstest.Poll(wstest.Hush*2, func() bool { return hub.SubscriberCount() == 0 })
			}))
			hub.Broadcast([]byte("still here"))
			p.Expect(t, "still here")
			_ = p.Close(websocket.StatusNormalClosure, "")
			hub.Count(t, 0)
		})
	}
}

// "Any other ctx closes the client when it ends": one made of the request's too, if the request lives.
func TestAContextThatTheCallerEndsWhileTheRequestLivesClosesTheClient(t *testing.T) {
	hub := wstest.Run(t)
	cancels := make(chan context.CancelFunc, 1)
	p := wstest.Serve(t, hub.Hub, wstest.Serving{
		Ctx: func(r *http.Request) context.Context {
			ctx, cancel := context.WithCancel(r.Context())
			cancels <- cancel
			return ctx
		},
		Pumps: func(c *wskit.Client) { _ = c.Serve() }, // on the request's goroutine
	}).Open(t)
	hub.Count(t, 1)
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
	(<-cancels)()
	p.Ends(t, websocket.StatusGoingAway)
}

// A context with the request's values that does not end with it is any other.
func TestAContextThatOutlivesTheRequestClosesTheClientWhenItEnds(t *testing.T) {
	hub := wstest.Run(t)
	var end context.CancelFunc
	over := make(chan struct{})
	p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{Ctx: func(r *http.Request) context.Context {
		context.AfterFunc(r.Context(), func() { close(over) })
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		end = cancel
		return ctx
	}}).Browser(t)
	wstest.Receive(t, "the handler has returned", over)
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
	time.AfterFunc(wstest.Hush, end)
	p.Ends(t, websocket.StatusGoingAway)
}

// A context is any value with the right methods, also one that == panics on.
func TestAcceptWithAContextThatCannotBeCompared(t *testing.T) {
	hub := wstest.Run(t)
	result := make(chan error, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				result <- fmt.Errorf("Accept panicked: %v", v)
			}
		}()
		r = r.WithContext(fatContext{r.Context(), []string{"values"}})
		c, err := wskit.Accept(r.Context(), w, r, hub.Hub, nil)
		c.Close()
		result <- err
	}))
	defer srv.Close()
	conn, _, err := websocket.Dial(t.Context(), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseNow() }()
	if err := wstest.Receive(t, "Accept returns", result); err != nil {
		t.Error(err)
	}
}

type fatContext struct {
	context.Context
	values []string
}

// "An incoming message over the limit closes the connection with 1009." At N and N+1, whole and in fragments.
func TestAnIncomingMessageOverTheLimitClosesTheConnectionWith1009(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(fmt.Append(nil, len(data))) }))
	for _, limit := range []struct {
		opts []wskit.ClientOption
		n    int
	}{
		{nil, wskit.DefaultMaxMessageSize},
		{[]wskit.ClientOption{wskit.WithMaxMessageSize(0)}, wskit.DefaultMaxMessageSize}, // "WithMaxMessageSize: 0 = default"
		{[]wskit.ClientOption{nil, wskit.WithMaxMessageSize(1)}, 1},
		{[]wskit.ClientOption{wskit.WithMaxMessageSize(70_000)}, 70_000},
	} {
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: limit.opts})
		p, _ := srv.Browser(t)
		p.Say(t, strings.Repeat("x", limit.n))
		p.Expect(t, fmt.Sprint(limit.n))
		p.Say(t, strings.Repeat("x", limit.n+1))
		p.Ends(t, websocket.StatusMessageTooBig)

		if limit.n > 1 {
			r, _ := srv.Peer(t)
			r.SendFrames(t, wstest.Fragments(wstest.Text, strings.Repeat("x", limit.n/2), strings.Repeat("x", limit.n-limit.n/2+1))...)
			if f, err := r.Frame(); !f.Is(wstest.Close) || f.Code() != 1009 {
				t.Error(f, err)
			}
		}
		hub.Count(t, 0)
	}
}

// "negative = no limit."
func TestANegativeMaxMessageSizeMeansNoLimit(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(fmt.Append(nil, len(data))) }))
	for _, n := range []int64{-1, -1 << 62, 1<<63 - 1} {
		p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithMaxMessageSize(n)}}).Browser(t)
		p.Say(t, strings.Repeat("x", 1<<20))
		p.Expect(t, fmt.Sprint(1<<20))
	}
}

// "WithSendBufSize <= 0 = default." "Send never blocks; false = buffer full or closed". At N and N+1.
func TestSendIsFalseWhenTheBufferIsFullOrTheClientClosed(t *testing.T) {
	hub := wstest.Run(t)
	for size, want := range map[int]int{0: 256, -1: 256, 1: 1, 7: 7} {
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithSendBufSize(size)}, Pumps: func(*wskit.Client) {}})
		p, c := srv.Browser(t)
		var msgs []string
		for i := range want {
			if !c.Send(fmt.Append(nil, i)) {
				t.Fatalf("buffer of %d: message %d is refused", size, i)
			}
			msgs = append(msgs, fmt.Sprint(i))
		}
		if err := c.SendErr([]byte("one too many")); c.Send(nil) || err == nil || errors.Is(err, wskit.ErrHubStopped) {
			t.Errorf("buffer of %d: %v", size, err)
		}
		go c.WritePump()
		go c.ReadPump()
		p.Expect(t, msgs...)
		c.Close()
		if err := c.SendErr([]byte("late")); !errors.Is(err, wskit.ErrHubStopped) || c.Send(nil) {
			t.Error(err)
		}
		p.Ends(t, websocket.StatusNormalClosure)
	}
}

// "ErrHubStopped: Client.SendErr on a closed client, one that was unregistered or whose hub stopped."
func TestSendErrIsErrHubStoppedOnAClosedUnregisteredOrStoppedClient(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	for _, end := range []struct {
		how  func(*wskit.Client)
		code websocket.StatusCode
	}{
		{func(c *wskit.Client) { c.Close(); c.Close() }, websocket.StatusNormalClosure},
		{func(c *wskit.Client) { hub.Unregister(c); hub.Unregister(c) }, websocket.StatusNormalClosure},
		{func(c *wskit.Client) { hub.Stop() }, websocket.StatusGoingAway},
	} {
		p, c := srv.Browser(t)
		if err := c.SendErr([]byte("x")); err != nil {
			t.Error(err)
		}
		end.how(c)
		p.Expect(t, "x") // what was queued is written first
		p.Ends(t, end.code)
		if err := c.SendErr([]byte("x")); !errors.Is(err, wskit.ErrHubStopped) || c.Send(nil) {
			t.Error(err)
		}
		hub.Count(t, 0)
	}
}

// "Close: idempotent, from any goroutine". And both pumps return.
func TestCloseIsIdempotentFromAnyGoroutineAndEndsThePumps(t *testing.T) {
	hub := wstest.Run(t)
	pumps := make(chan (<-chan struct{}), 2)
	p, c := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) { pumps <- wstest.Begin(c.ReadPump); pumps <- wstest.Begin(c.WritePump) }}).Browser(t)
	for range 20 {
		go c.Close()
		go c.Send([]byte("x"))
	}
	for {
		if _, err := p.Next(); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Error(err)
			}
			break
		}
	}
	wstest.Receive(t, "a pump returns", <-pumps)
	wstest.Receive(t, "the other pump returns", <-pumps)
	c.Close()
	hub.Count(t, 0)
}

// "ReadPump: reads until the connection ends; then unregisters and closes." However the peer leaves.
func TestWhenThePeerLeavesTheClientIsUnregisteredAndClosed(t *testing.T) {
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	pumps := make(chan (<-chan struct{}), 2)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) { pumps <- wstest.Begin(c.ReadPump); pumps <- wstest.Begin(c.WritePump) }})
	leave := map[string]func() *wskit.Client{
		"close": func() *wskit.Client {
			p, c := srv.Browser(t)
			if err := p.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				t.Error("the close handshake:", err)
			}
			return c
		},
		"cut": func() *wskit.Client { p, c := srv.Browser(t); _ = p.CloseNow(); return c },
		"eof": func() *wskit.Client { r, c := srv.Peer(t); _ = r.Conn.(*net.TCPConn).CloseWrite(); return c },
		"rst": func() *wskit.Client {
			r, c := srv.Peer(t)
			_ = r.Conn.(*net.TCPConn).SetLinger(0)
			_ = r.Close()
			return c
		},
		"junk": func() *wskit.Client { r, c := srv.Peer(t); r.Put(t, []byte("not a frame at all, is it?")); return c },
	}
	for name, how := range leave {
		c := how()
		if s := wstest.Receive(t, "OnDisconnect", gone); s != c {
			t.Error(name, "OnDisconnect of another")
		}
		wstest.Receive(t, "a pump returns", <-pumps)
		wstest.Receive(t, "the other pump returns", <-pumps)
		if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
			t.Error(name, err)
		}
		hub.Count(t, 0)
	}
	wstest.Silent(t, "another OnDisconnect", gone)
}

// "ReadPump alone ... works too, whether or not the hub runs yet."
func TestReadPumpAloneWorksBeforeTheHubRunsToo(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(data); c.Close() }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) { go c.ReadPump() }})
	r, _ := srv.Peer(t)
	r.Put(t, wstest.Masked(wstest.Ping, "are you there"))
	r.ExpectFrame(t, wstest.Pong, "are you there")
	p, _ := srv.Browser(t)
	p.Say(t, "last words")
	p.Expect(t, "last words") // Close writes what is queued, WritePump or not
	p.Ends(t, websocket.StatusNormalClosure)
	p, _ = srv.Browser(t)
	if err := p.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	hub.Start(t)
	hub.Count(t, 1) // the raw one
	_ = r.Close()
	hub.Count(t, 0)
}

// Frames that came right behind the request's header, in the same segment, are not lost.
func TestFramesSentRightBehindTheRequestAreNotLost(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithMaxMessageSize(-1)}})
	for _, n := range []int{1, 100, 3000} { // beyond net/http's 4096 bytes of buffer too
		text := strings.Repeat("e", n)
		r, _ := srv.Peer(t, append(wstest.Masked(wstest.Text, text), wstest.Masked(wstest.Text, "second")...)...)
		for _, want := range []string{"echo " + text, "echo second"} {
			r.ExpectFrame(t, wstest.Text, want)
		}
	}
}

// Compression may be negotiated: what the client sends compressed is read, within the limit of the message's true size.
func TestPermessageDeflateCanBeNegotiated(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(data) }))
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Accept: &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1},
			Client: []wskit.ClientOption{wskit.WithMaxMessageSize(10_000)}})
		p, _ := srv.Browser(t, func(o *websocket.DialOptions) { o.CompressionMode, o.CompressionThreshold = mode, 1 })
		for i := range 5 {
			text := strings.Repeat(fmt.Sprint(i), 10_000)
			p.Say(t, text)
			p.Expect(t, text)
		}
		p.Say(t, strings.Repeat("x", 10_001)) // a few bytes on the wire
		p.Ends(t, websocket.StatusMessageTooBig)
	}
	hub.Count(t, 0)
}
