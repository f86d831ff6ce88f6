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
)

// "Accept upgrades, makes a client and registers it; the caller runs the two pumps. acceptOpts may be nil."
// "Messages go out as text." (peer.next checks that of every message in this package)
func TestAcceptUpgradesAndRegistersAndMessagesGoOutAsText(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(echo))
	p, c := serve(t, hub.Hub, serving{}).dial(t)
	hub.Broadcast([]byte("to all")) // Accept has returned, so it is registered
	p.expect(t, "to all")
	if !c.Send([]byte("to one")) {
		t.Error("Send: false")
	}
	if err := c.SendErr([]byte("\x00\xff not even text")); err != nil {
		t.Error(err)
	}
	p.expect(t, "to one", "\x00\xff not even text")
	p.say(t, "hi")
	p.expect(t, "echo hi")
	c.Send(nil)
	c.Send([]byte(strings.Repeat("x", 1<<20)))
	p.expect(t, "", strings.Repeat("x", 1<<20))
	for _, n := range []int{125, 126, 65535, 65536} { // where the header grows
		hub.Broadcast(bytes.Repeat([]byte("y"), n))
		p.expect(t, strings.Repeat("y", n))
	}
	if n := hub.SubscriberCount(); n != 1 {
		t.Error(n)
	}
}

// "Accept(r.Context(), …) followed by the two pumps and a return from the handler must keep the connection alive (net/http
// cancels that context when the handler returns)".
func TestAcceptWithTheRequestsOwnContextKeepsTheConnectionAliveAfterTheHandlerReturned(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(echo))
	ended := make(chan struct{})
	srv := serve(t, hub.Hub, serving{ctx: func(r *http.Request) context.Context {
		context.AfterFunc(r.Context(), func() { close(ended) })
		return r.Context()
	}})
	p, c := srv.dial(t)
	receive(t, "net/http ends the request's context", ended)
	p.say(t, "1")
	p.expect(t, "echo 1")
	hub.Broadcast([]byte("2"))
	p.expect(t, "2")
	if err := c.SendErr([]byte("3")); err != nil {
		t.Error(err)
	}
	p.expect(t, "3")
}

// "Any other ctx closes the client when it ends."
func TestAnyOtherContextClosesTheClientWhenItEnds(t *testing.T) {
	hub := run(t)
	own, cancel := context.WithCancel(context.Background())
	p, c := serve(t, hub.Hub, serving{ctx: func(*http.Request) context.Context { return own }}).dial(t)
	hub.Broadcast([]byte("1"))
	p.expect(t, "1")
	cancel()
	p.ends(t, websocket.StatusGoingAway)
	eventually(t, "SendErr says so", func() bool { return errors.Is(c.SendErr(nil), wskit.ErrHubStopped) })
	hub.count(t, 0)

	ended := func(*http.Request) context.Context { return own } // before Accept even
	p, _ = serve(t, hub.Hub, serving{ctx: ended}).dial(t)
	p.ends(t, websocket.StatusGoingAway)
	hub.count(t, 0)
}

// "of the request's own context, and of what was derived from it, that end does not count"
func TestTheEndOfTheRequestDoesNotCountHoweverItsContextWasWrapped(t *testing.T) {
	hub := run(t)
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
			p, _ := serve(t, hub.Hub, serving{ctx: func(r *http.Request) context.Context {
				ctx := derive(r.Context())
				context.AfterFunc(ctx, func() { close(ended) })
				return ctx
			}}).dial(t)
			receive(t, "the context ends with the handler", ended)
			silent(t, "the client leaves", begin(func() {
				poll(hush*2, func() bool { return hub.SubscriberCount() == 0 })
			}))
			hub.Broadcast([]byte("still here"))
			p.expect(t, "still here")
			_ = p.Close(websocket.StatusNormalClosure, "")
			hub.count(t, 0)
		})
	}
}

// "Any other ctx closes the client when it ends": one made of the request's too, if the request lives.
func TestAContextThatTheCallerEndsWhileTheRequestLivesClosesTheClient(t *testing.T) {
	hub := run(t)
	cancels := make(chan context.CancelFunc, 1)
	p := serve(t, hub.Hub, serving{
		ctx: func(r *http.Request) context.Context {
			ctx, cancel := context.WithCancel(r.Context())
			cancels <- cancel
			return ctx
		},
		pumps: func(c *wskit.Client) { _ = c.Serve() }, // on the request's goroutine
	}).open(t)
	hub.count(t, 1)
	hub.Broadcast([]byte("1"))
	p.expect(t, "1")
	(<-cancels)()
	p.ends(t, websocket.StatusGoingAway)
}

// A context with the request's values that does not end with it is any other.
func TestAContextThatOutlivesTheRequestClosesTheClientWhenItEnds(t *testing.T) {
	hub := run(t)
	var end context.CancelFunc
	over := make(chan struct{})
	p, _ := serve(t, hub.Hub, serving{ctx: func(r *http.Request) context.Context {
		context.AfterFunc(r.Context(), func() { close(over) })
		ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
		end = cancel
		return ctx
	}}).dial(t)
	receive(t, "the handler has returned", over)
	hub.Broadcast([]byte("1"))
	p.expect(t, "1")
	time.AfterFunc(hush, end)
	p.ends(t, websocket.StatusGoingAway)
}

// A context is any value with the right methods, also one that == panics on.
func TestAcceptWithAContextThatCannotBeCompared(t *testing.T) {
	hub := run(t)
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
	if err := receive(t, "Accept returns", result); err != nil {
		t.Error(err)
	}
}

type fatContext struct {
	context.Context
	values []string
}

// "An incoming message over the limit closes the connection with 1009." At N and N+1, whole and in fragments.
func TestAnIncomingMessageOverTheLimitClosesTheConnectionWith1009(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(fmt.Append(nil, len(data))) }))
	for _, limit := range []struct {
		opts []wskit.ClientOption
		n    int
	}{
		{nil, wskit.DefaultMaxMessageSize},
		{[]wskit.ClientOption{wskit.WithMaxMessageSize(0)}, wskit.DefaultMaxMessageSize}, // "WithMaxMessageSize: 0 = default"
		{[]wskit.ClientOption{nil, wskit.WithMaxMessageSize(1)}, 1},
		{[]wskit.ClientOption{wskit.WithMaxMessageSize(70_000)}, 70_000},
	} {
		srv := serve(t, hub.Hub, serving{client: limit.opts})
		p, _ := srv.dial(t)
		p.say(t, strings.Repeat("x", limit.n))
		p.expect(t, fmt.Sprint(limit.n))
		p.say(t, strings.Repeat("x", limit.n+1))
		p.ends(t, websocket.StatusMessageTooBig)

		if limit.n > 1 {
			r, _ := srv.raw(t)
			first := masked(opText, strings.Repeat("x", limit.n/2))
			first[0] &^= 0x80
			r.put(t, append(first, masked(0, strings.Repeat("x", limit.n-limit.n/2+1))...))
			if op, payload, err := r.frame(); op != opClose || code(payload) != 1009 {
				t.Error(op, payload, err)
			}
		}
		hub.count(t, 0)
	}
}

// "negative = no limit."
func TestANegativeMaxMessageSizeMeansNoLimit(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(fmt.Append(nil, len(data))) }))
	for _, n := range []int64{-1, -1 << 62, 1<<63 - 1} {
		p, _ := serve(t, hub.Hub, serving{client: []wskit.ClientOption{wskit.WithMaxMessageSize(n)}}).dial(t)
		p.say(t, strings.Repeat("x", 1<<20))
		p.expect(t, fmt.Sprint(1<<20))
	}
}

// "WithSendBufSize <= 0 = default." "Send never blocks; false = buffer full or closed". At N and N+1.
func TestSendIsFalseWhenTheBufferIsFullOrTheClientClosed(t *testing.T) {
	hub := run(t)
	for size, want := range map[int]int{0: 256, -1: 256, 1: 1, 7: 7} {
		srv := serve(t, hub.Hub, serving{client: []wskit.ClientOption{wskit.WithSendBufSize(size)}, pumps: func(*wskit.Client) {}})
		p, c := srv.dial(t)
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
		p.expect(t, msgs...)
		c.Close()
		if err := c.SendErr([]byte("late")); !errors.Is(err, wskit.ErrHubStopped) || c.Send(nil) {
			t.Error(err)
		}
		p.ends(t, websocket.StatusNormalClosure)
	}
}

// "ErrHubStopped: Client.SendErr on a closed client, one that was unregistered or whose hub stopped."
func TestSendErrIsErrHubStoppedOnAClosedUnregisteredOrStoppedClient(t *testing.T) {
	hub := run(t)
	srv := serve(t, hub.Hub, serving{})
	for _, end := range []struct {
		how  func(*wskit.Client)
		code websocket.StatusCode
	}{
		{func(c *wskit.Client) { c.Close(); c.Close() }, websocket.StatusNormalClosure},
		{func(c *wskit.Client) { hub.Unregister(c); hub.Unregister(c) }, websocket.StatusNormalClosure},
		{func(c *wskit.Client) { hub.stop() }, websocket.StatusGoingAway},
	} {
		p, c := srv.dial(t)
		if err := c.SendErr([]byte("x")); err != nil {
			t.Error(err)
		}
		end.how(c)
		p.expect(t, "x") // what was queued is written first
		p.ends(t, end.code)
		if err := c.SendErr([]byte("x")); !errors.Is(err, wskit.ErrHubStopped) || c.Send(nil) {
			t.Error(err)
		}
		hub.count(t, 0)
	}
}

// "Close: idempotent, from any goroutine". And both pumps return.
func TestCloseIsIdempotentFromAnyGoroutineAndEndsThePumps(t *testing.T) {
	hub := run(t)
	pumps := make(chan (<-chan struct{}), 2)
	p, c := serve(t, hub.Hub, serving{pumps: func(c *wskit.Client) { pumps <- begin(c.ReadPump); pumps <- begin(c.WritePump) }}).dial(t)
	for range 20 {
		go c.Close()
		go c.Send([]byte("x"))
	}
	for {
		if _, err := p.next(); err != nil {
			if websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Error(err)
			}
			break
		}
	}
	receive(t, "a pump returns", <-pumps)
	receive(t, "the other pump returns", <-pumps)
	c.Close()
	hub.count(t, 0)
}

// "ReadPump: reads until the connection ends; then unregisters and closes." However the peer leaves.
func TestWhenThePeerLeavesTheClientIsUnregisteredAndClosed(t *testing.T) {
	gone := make(chan wskit.Subscriber, 9)
	hub := run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	pumps := make(chan (<-chan struct{}), 2)
	srv := serve(t, hub.Hub, serving{pumps: func(c *wskit.Client) { pumps <- begin(c.ReadPump); pumps <- begin(c.WritePump) }})
	leave := map[string]func() *wskit.Client{
		"close": func() *wskit.Client {
			p, c := srv.dial(t)
			if err := p.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				t.Error("the close handshake:", err)
			}
			return c
		},
		"cut": func() *wskit.Client { p, c := srv.dial(t); _ = p.CloseNow(); return c },
		"eof": func() *wskit.Client { r, c := srv.raw(t); _ = r.Conn.(*net.TCPConn).CloseWrite(); return c },
		"rst": func() *wskit.Client {
			r, c := srv.raw(t)
			_ = r.Conn.(*net.TCPConn).SetLinger(0)
			_ = r.Close()
			return c
		},
		"junk": func() *wskit.Client { r, c := srv.raw(t); r.put(t, []byte("not a frame at all, is it?")); return c },
	}
	for name, how := range leave {
		c := how()
		if s := receive(t, "OnDisconnect", gone); s != c {
			t.Error(name, "OnDisconnect of another")
		}
		receive(t, "a pump returns", <-pumps)
		receive(t, "the other pump returns", <-pumps)
		if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
			t.Error(name, err)
		}
		hub.count(t, 0)
	}
	silent(t, "another OnDisconnect", gone)
}

// "ReadPump alone ... works too, whether or not the hub runs yet."
func TestReadPumpAloneWorksBeforeTheHubRunsToo(t *testing.T) {
	hub := idle(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(data); c.Close() }))
	srv := serve(t, hub.Hub, serving{pumps: func(c *wskit.Client) { go c.ReadPump() }})
	r, _ := srv.raw(t)
	r.put(t, masked(opPing, "are you there"))
	if op, payload, err := r.frame(); op != opPong || payload != "are you there" {
		t.Error(op, payload, err)
	}
	p, _ := srv.dial(t)
	p.say(t, "last words")
	p.expect(t, "last words") // Close writes what is queued, WritePump or not
	p.ends(t, websocket.StatusNormalClosure)
	p, _ = srv.dial(t)
	if err := p.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
	hub.start(t)
	hub.count(t, 1) // the raw one
	_ = r.Close()
	hub.count(t, 0)
}

// Frames that came right behind the request's header, in the same segment, are not lost.
func TestFramesSentRightBehindTheRequestAreNotLost(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(echo))
	srv := serve(t, hub.Hub, serving{client: []wskit.ClientOption{wskit.WithMaxMessageSize(-1)}})
	for _, n := range []int{1, 100, 3000} { // beyond net/http's 4096 bytes of buffer too
		text := strings.Repeat("e", n)
		r, _ := srv.raw(t, append(masked(opText, text), masked(opText, "second")...)...)
		for _, want := range []string{"echo " + text, "echo second"} {
			if op, payload, err := r.frame(); op != opText || payload != want {
				t.Fatal(n, op, len(payload), err)
			}
		}
	}
}

// Compression may be negotiated: what the client sends compressed is read, within the limit of the message's true size.
func TestPermessageDeflateCanBeNegotiated(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) { c.Send(data) }))
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		srv := serve(t, hub.Hub, serving{accept: &websocket.AcceptOptions{CompressionMode: mode, CompressionThreshold: 1},
			client: []wskit.ClientOption{wskit.WithMaxMessageSize(10_000)}})
		p, _ := srv.dial(t, func(o *websocket.DialOptions) { o.CompressionMode, o.CompressionThreshold = mode, 1 })
		for i := range 5 {
			text := strings.Repeat(fmt.Sprint(i), 10_000)
			p.say(t, text)
			p.expect(t, text)
		}
		p.say(t, strings.Repeat("x", 10_001)) // a few bytes on the wire
		p.ends(t, websocket.StatusMessageTooBig)
	}
	hub.count(t, 0)
}
