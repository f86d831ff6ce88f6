package contract_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

type key struct{ name string }

// seen is what a callback could find out of a Member.
type seen struct {
	id, user string
	values   []any
	topics   []string
	request  *http.Request
}

func look(s wskit.Subscriber) seen {
	m := s.(wskit.Member)
	return seen{m.ID(), m.User(), []any{m.Value(key{"a"}), m.Value(key{"b"}), m.Value("c"), m.Value(nil), m.Value([]int{1})}, m.Topics(), m.Request()}
}

// "All of it is there before OnConnect, and stays when the connection has ended, but for Topics."
func TestWhoConnectsIsKnownInTheCallbacks(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		came, went := make(chan seen, 1), make(chan seen, 1)
		hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { came <- look(s) }), wskit.WithOnDisconnect(func(s wskit.Subscriber) { went <- look(s) }))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: []wskit.ClientOption{
			wskit.WithUser("ann"), wskit.WithTopics("z", "a"), wskit.WithTopics("b", "a"), wskit.WithValue(key{"a"}, 1), wskit.WithValue(key{"b"}, 2), wskit.WithValue(key{"b"}, 3), wskit.WithValue("c", nil),
		}})
		b, c := srv.Browser(t)
		s := wstest.Receive(t, "OnConnect", came)
		if s.user != "ann" || fmt.Sprint(s.values) != "[1 3 <nil> <nil> <nil>]" || !slices.Equal(s.topics, []string{"a", "b", "z"}) {
			t.Errorf("%+v", s)
		}
		if s.id == "" || s.id != c.ID() || c.User() != "ann" {
			t.Error(s.id, c.ID())
		}
		if (s.request == nil) != (kind == wstest.NewClient) {
			t.Error(s.request)
		}
		hub.Topic("z").Broadcast([]byte("1"))
		hub.User("ann").Broadcast([]byte("2"))
		b.Expect(t, "1", "2")
		_ = b.CloseNow()
		after := wstest.Receive(t, "OnDisconnect", went)
		if after.id != s.id || after.user != s.user || fmt.Sprint(after.values) != fmt.Sprint(s.values) || after.topics != nil {
			t.Errorf("%+v", after)
		}
		if n := hub.User("ann").SubscriberCount() + len(hub.Topics()); n != 0 {
			t.Error(n, "left")
		}
	})
}

// "WithTopics: member from the first moment; nothing is missed": what is broadcast once Accept is known to have returned or OnConnect began.
func TestATopicAtConnectMissesNothing(t *testing.T) {
	var hub *wstest.Hub
	hub = wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) {
		hub.Topic("a").Broadcast([]byte("2"))
		s.Send([]byte("1"))
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithTopics("a")}})
	b, _ := srv.Browser(t)
	b.Expect(t, "1", "2")
}

// A client that was made without a request is in its topics from its Register, and another Register does not undo a Leave.
func TestANewClientIsInItsTopicsFromItsRegister(t *testing.T) {
	hub := wstest.Run(t)
	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.NewClient, Client: []wskit.ClientOption{wskit.WithTopics("a", "b")}}).Browser(t)
	if got := c.Topics(); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
	no(t, hub.Topic("a").Leave(c))
	hub.Register(c)
	no(t, hub.RegisterContext(t.Context(), c))
	hub.Topic("a").Broadcast([]byte("1"))
	hub.Topic("b").Broadcast([]byte("2"))
	b.Expect(t, "2")
}

// "Request is what outlives the request that was accepted".
func TestTheRequestsFactsOutliveIt(t *testing.T) {
	members := make(chan wskit.Member, 2)
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { members <- s.(wskit.Member) }))
	seenBy := make(chan string, 2)
	srv := wstest.Listen(t, wstest.TCP, http.StripPrefix("/app", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seenBy <- r.RemoteAddr
		r.Header.Set("X-Added", "by middleware")
		if r.URL.Path == "/sse" {
			_ = wskit.AcceptSSE(w, r, hub.Hub)
			return
		}
		c, err := wskit.Accept(r.Context(), w, r, hub.Hub, nil)
		if err == nil {
			go c.Serve()
		}
	})))
	path := "/ws%2Fx?topic=a&b=c%20d"
	p := srv.Handshake(t, wstest.Handshake{Path: "/app" + path, Header: map[string]string{
		"Cookie": "s=1", "User-Agent": strings.Repeat("x", 300), "X-Empty": " ", "Sec-WebSocket-Protocol": "v1", "Sec-WebSocket-Extensions": "permessage-deflate"}})
	p.Upgraded(t)
	m, addr := wstest.Receive(t, "OnConnect", members), wstest.Receive(t, "the request", seenBy)
	for range 2 {
		r := m.Request()
		if r.Method != "GET" || r.Host != srv.Host() || r.RemoteAddr != addr || r.URL.RequestURI() != path || r.URL.Query().Get("b") != "c d" || r.URL.Path != "/ws/x" || r.Body != nil {
			t.Errorf("%+v", r)
		}
		if got := r.Header; len(got) != 5 || got.Get("Cookie") != "s=1" || len(got.Get("User-Agent")) != 300 || got.Get("X-Added") == "" || got["X-Empty"][0] != "" || got.Get("Sec-WebSocket-Protocol") != "v1" {
			t.Error(got)
		}
		if c, err := r.Cookie("s"); err != nil || c.Value != "1" {
			t.Error(err)
		}
		if r.Context().Done() != nil {
			t.Error("its context ends")
		}
		r.Header.Set("Cookie", "changed")
		r.URL.Path = "changed"
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/app/sse", strings.NewReader("body"))
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	m = wstest.Receive(t, "OnConnect", members)
	if r := m.Request(); r.Method != "POST" || r.URL.Path != "/sse" || r.Header.Get("X-Added") == "" || r.RemoteAddr != wstest.Receive(t, "the request", seenBy) {
		t.Errorf("%+v", r)
	}
	if m.User() != "" || m.Value("x") != nil || m.Topics() != nil || m.ID() == "" {
		t.Error("it is somebody")
	}
}

// "ID is the connection's own, unique over all instances."
func TestIDsAreUnique(t *testing.T) {
	hub := wstest.Run(t)
	ids := map[string]bool{}
	form := regexp.MustCompile(`^[A-Z2-7]{16}-[0-9a-z]+$`)
	for range 100 {
		for _, m := range []wskit.Member{wskit.NewSSEClient(hub.Hub, 1), &wskit.Client{}} {
			id := make(chan string)
			for range 4 {
				go func() { id <- m.ID() }()
			}
			a, b, c, d := <-id, <-id, <-id, <-id
			if a != b || b != c || c != d || ids[a] || !form.MatchString(a) {
				t.Fatal(a, b, c, d)
			}
			ids[a] = true
		}
	}
	var none *wskit.Client
	var noSSE *wskit.SSEClient
	for _, m := range []wskit.Member{none, noSSE} {
		if m.ID() != "" || m.User() != "" || m.Value(1) != nil || m.Request() != nil || m.Topics() != nil {
			t.Error("nil is somebody")
		}
	}
}

// "is the program's mistake: Accept and the like answer 500 and return an error", before any upgrade.
func TestOptionsThatCannotBeAreAnswered500(t *testing.T) {
	hub := wstest.Run(t, wskit.WithMaxTopics(2), wskit.WithOnConnect(func(wskit.Subscriber) { t.Error("OnConnect") }))
	for name, c := range map[string]struct {
		opt  wskit.ClientOption
		want error
	}{
		"topic": {wskit.WithTopics("ok", ""), wskit.ErrInvalidTopic}, "user": {wskit.WithUser("a\n"), wskit.ErrInvalidTopic}, "long user": {wskit.WithUser(strings.Repeat("x", 256)), wskit.ErrInvalidTopic},
		"topics": {wskit.WithTopics("a", "b", "c"), wskit.ErrTooManyTopics}, "nil key": {wskit.WithValue(nil, 1), wskit.ErrInvalidArgument}, "key": {wskit.WithValue([]int{1}, 1), wskit.ErrInvalidArgument},
		"key inside": {wskit.WithValue(holder{[]int{1}}, 1), wskit.ErrInvalidArgument},
	} {
		w := httptest.NewRecorder()
		if got, err := wskit.Accept(t.Context(), w, httptest.NewRequest("GET", "/", nil), hub.Hub, nil, c.opt); got != nil || w.Code != 500 {
			t.Error(name, got, w.Code)
		} else {
			is(t, err, c.want)
		}
		lent := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.NewClient, Client: []wskit.ClientOption{c.opt}})
		b, client := lent.Browser(t)
		if client.Send([]byte("x")) {
			t.Error(name, "it is open")
		}
		b.Ends(t, websocket.StatusInternalError)
	}
	if n := hub.SubscriberCount(); n != 0 {
		t.Error(n)
	}
	ok := wstest.Serve(t, wstest.Run(t, wskit.WithMaxTopics(2)).Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithTopics("a", "b", "a"), wskit.WithUser(""), wskit.WithTopics()}})
	if _, c := ok.Browser(t); c.User() != "" || len(c.Topics()) != 2 {
		t.Error(c.User(), c.Topics())
	}
}

// "Its Value gives the client's values, then those of the context that Accept was given"; it "ends when the end of the connection begins".
func TestTheHandlersContextIsTheConnections(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		ctxs := make(chan context.Context, 2)
		hub := wstest.Run(t, wskit.WithHandler(func(ctx context.Context, c *wskit.Client, m wskit.Message) error {
			ctxs <- ctx
			return nil
		}))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: []wskit.ClientOption{wskit.WithValue(key{"a"}, "client's")},
			Ctx: func(r *http.Request) context.Context {
				ctx := context.WithValue(context.WithoutCancel(r.Context()), key{"a"}, "context's")
				return context.WithValue(ctx, key{"b"}, "context's too")
			}})
		b, c := srv.Browser(t)
		b.Say(t, "1")
		b.Say(t, "2")
		ctx := wstest.Receive(t, "a message", ctxs)
		if ctx != wstest.Receive(t, "a message", ctxs) {
			t.Error("another context for another message")
		}
		if ctx.Value(key{"a"}) != "client's" || ctx.Value(key{"b"}) != "context's too" || ctx.Value(key{"c"}) != nil || ctx.Err() != nil {
			t.Error(ctx)
		}
		c.Close()
		wstest.Receive(t, "the end of the context", ctx.Done())
		b.Ends(t, websocket.StatusNormalClosure)
	})
}

// Messages are typed; "WithOnMessage is called first", and each has its own bytes.
func TestAHandlerIsToldTextFromBinary(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		var all wstest.Journal
		hub := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
			all.Note("first %s", data)
			data[0] = '?'
		}), wskit.WithHandler(func(_ context.Context, c *wskit.Client, m wskit.Message) error {
			all.Note("%v %s", m.Type, m.Data)
			return nil
		}))
		b, _ := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind}).Browser(t)
		b.Say(t, "text")
		no(t, b.Write(t.Context(), websocket.MessageBinary, []byte("\xff\x00")))
		all.Expect(t, "first text", "MessageText text", "first \xff\x00", "MessageBinary \xff\x00")
	})
}

// "An error made by CloseError closes the connection as that says; any other closes it with 1011".
func TestAHandlersErrorClosesTheConnection(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		for name, c := range map[string]struct {
			err    error
			code   int
			reason string
		}{
			"as it says": {wskit.CloseError(4000, "bye"), 4000, "bye"}, "wrapped": {fmt.Errorf("no: %w", wskit.CloseError(1000, "")), 1000, ""},
			"any other": {io.EOF, 1011, "internal error"}, "a code that cannot be": {wskit.CloseError(1001, "x"), 1011, "internal error"},
			"long": {wskit.CloseError(3000, strings.Repeat("é", 100)), 3000, strings.Repeat("é", 61)},
		} {
			t.Run(name, func(t *testing.T) {
				hub := wstest.Run(t, wskit.WithHandler(func(context.Context, *wskit.Client, wskit.Message) error { return c.err }))
				p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind}).Peer(t)
				p.Say(t, "x")
				p.Ends(t, c.code, c.reason)
			})
		}
	})
	is(t, wskit.CloseError(1001, ""), wskit.ErrInvalidArgument)
	is(t, wskit.CloseError(4000, "\xff"), wskit.ErrInvalidArgument)
}

// "CloseWith is Close with a close code and a reason": "1000 or 3000 to 4999".
func TestCloseWithTellsThePeerCodeAndReason(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		p, c := srv.Peer(t)
		for _, code := range []int{-1, 0, 999, 1001, 1005, 1006, 1011, 2999, 5000, 65536 + 1000, math.MaxInt} {
			is(t, c.CloseWith(code, ""), wskit.ErrInvalidArgument)
		}
		is(t, c.CloseWith(1000, "\xc3"), wskit.ErrInvalidArgument)
		c.Send([]byte("queued"))
		no(t, c.CloseWith(3000, "x"+strings.Repeat("é", 100)))
		is(t, c.CloseWith(4999, "again"), wskit.ErrHubStopped)
		if n := hub.SubscriberCount(); n != 0 {
			t.Error(n)
		}
		p.Expect(t, "queued")
		p.Ends(t, 3000, "x"+strings.Repeat("é", 61))
		for code, reason := range map[int]string{1000: strings.Repeat("x", 123), 4999: ""} {
			p, c := srv.Peer(t)
			no(t, c.CloseWith(code, reason))
			p.Ends(t, code, reason)
		}
	})
	var none *wskit.Client
	is(t, none.CloseWith(1000, ""), wskit.ErrHubStopped)
	is(t, none.SendBinaryErr(nil), wskit.ErrHubStopped)
	if none.SendBinary(nil) || (&wskit.Client{}).SendBinary(nil) {
		t.Error("it is open")
	}
}

// Whatever ends a connection while it is being made, it ends in order: its context has ended already, or its Identity expires now.
func TestAConnectionMayEndWhileItIsMade(t *testing.T) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, kind := range []wstest.Kind{wstest.TCP, wstest.NewClient} {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Ctx: func(*http.Request) context.Context { return ended }})
		for range 100 {
			srv.Handshake(t, wstest.Handshake{}).Ends(t, 1001, "going away")
		}
		hub.Count(t, 0)
	}
}

// Two facades of one hub are the same hub: a client of the one that is registered with the other is in its topics.
func TestAClientIsInItsTopicsWhicheverFacadeRegistersIt(t *testing.T) {
	hub, _ := wstest.Embed(t, hubactor.Config{})
	other := wskit.Attach(nil, hub.PID())
	registered := make(chan []string, 1)
	srv := wstest.Listen(t, wstest.TCP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c := wskit.NewClient(hub.Hub, conn, context.Background(), wskit.WithTopics("a"))
		other.Register(c)
		registered <- c.Topics()
	}))
	srv.Open(t)
	if got := wstest.Receive(t, "its topics", registered); !slices.Equal(got, []string{"a"}) {
		t.Error(got)
	}
}
