package contract_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// v1 is the request of a client that asks for the subprotocol.
var v1 = wstest.Handshake{Header: map[string]string{"Sec-WebSocket-Protocol": wskit.Subprotocol}}

// offering is a server that offers the subprotocol by itself, whether or not its hub keeps history.
func offering(kind wstest.Kind, opts ...wskit.ClientOption) wstest.Serving {
	return wstest.Serving{Kind: kind, Client: opts, Accept: &websocket.AcceptOptions{Subprotocols: []string{wskit.Subprotocol}}}
}

// speak opens a WebSocket whose client speaks the subprotocol.
func speak(t *testing.T, srv *wstest.Server) (*wstest.Peer, *wskit.Client) {
	t.Helper()
	p := srv.Handshake(t, v1)
	p.Upgraded(t)
	if got := p.Answer.Header.Get("Sec-WebSocket-Protocol"); got != wskit.Subprotocol {
		t.Fatalf("agreed on %q", got)
	}
	return p, wstest.Receive(t, "Accept returns", srv.Accepted)
}

// unmarked is the next frame that says more than where the log stands.
func unmarked(t *testing.T, p *wstest.Peer) wstest.Frame {
	t.Helper()
	for {
		f, err := p.Next(false)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(f.Payload, `{"id":`) || strings.Contains(f.Payload, ",") {
			return f
		}
	}
}

// says sends commands and checks the answer to each.
func says(t *testing.T, p *wstest.Peer, dialogue ...string) {
	t.Helper()
	for i := 0; i < len(dialogue); i += 2 {
		p.Say(t, dialogue[i])
		f := unmarked(t, p)
		got, _, _ := strings.Cut(f.Payload, `,"message"`)
		if want := strings.TrimSuffix(dialogue[i+1], "}"); strings.TrimSuffix(got, "}") != want {
			t.Fatalf("%s is answered %v, want %s", dialogue[i], f, dialogue[i+1])
		}
	}
}

// may is a hook for the topics that begin with a letter, and for everybody.
func may(_ context.Context, _ wskit.Subscriber, topic string) error {
	if strings.HasPrefix(topic, "-") {
		return errHook
	}
	return nil
}

// A hub that keeps history offers the subprotocol to who asks for it, after the program's own; one that keeps none does not.
func TestTheSubprotocolIsAgreedOnWhereBothWantIt(t *testing.T) {
	keeping, _ := wstest.Embed(t, hubactor.Config{History: &actors.History{}})
	own := &websocket.AcceptOptions{Subprotocols: []string{"chat"}}
	for _, c := range []struct {
		hub     *wskit.Hub
		accept  *websocket.AcceptOptions
		asked   string
		agreed  string
		message string
	}{
		{keeping.Hub, nil, "wskit.v1", "wskit.v1", `{"data":1}`},
		{keeping.Hub, nil, "chat, WSKIT.v1", "WSKIT.v1", `{"data":1}`},
		{keeping.Hub, nil, "", "", "1"},
		{keeping.Hub, nil, "chat", "", "1"},
		{keeping.Hub, own, "wskit.v1, chat", "chat", "1"},
		{keeping.Hub, own, "wskit.v1", "wskit.v1", `{"data":1}`},
		{keeping.Hub, &websocket.AcceptOptions{Subprotocols: []string{"wskit.v1", "chat"}}, "chat,wskit.v1", "wskit.v1", `{"data":1}`},
		{wstest.Run(t).Hub, nil, "wskit.v1", "", "1"},
		{wstest.Run(t).Hub, own, "wskit.v1", "", "1"},
	} {
		srv := wstest.Serve(t, c.hub, wstest.Serving{Accept: c.accept})
		p := srv.Handshake(t, wstest.Handshake{Header: map[string]string{"Sec-WebSocket-Protocol": c.asked}})
		p.Upgraded(t)
		if got := p.Answer.Header.Get("Sec-WebSocket-Protocol"); got != c.agreed {
			t.Errorf("asked for %q, agreed on %q, want %q", c.asked, got, c.agreed)
			continue
		}
		wstest.Receive(t, "Accept returns", srv.Accepted).Send([]byte("1"))
		if f := unmarked(t, p); f.Payload != c.message {
			t.Errorf("told %v, want %s", f, c.message)
		}
	}
	if !slices.Equal(own.Subprotocols, []string{"chat"}) {
		t.Error("the program's options were changed:", own.Subprotocols)
	}
}

// The handler's and ServeWS's connections agree on it too.
func TestAHandlerOffersTheSubprotocol(t *testing.T) {
	hub, _ := wstest.Embed(t, hubactor.Config{History: &actors.History{}})
	srv := wstest.Listen(t, wstest.TCP, hub.WebSocketHandler())
	p := srv.Handshake(t, v1)
	p.Upgraded(t)
	says(t, p, `{"op":"ping","ref":1}`, `{"ref":1,"ok":true}`)
}

// Each message goes out in an envelope, whoever sent it and over whatever connection; others get it as it is.
func TestAMessageGoesOutInAnEnvelope(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, offering(kind, wskit.WithUser("ann"), wskit.WithTopics("room")))
		p, c := speak(t, srv)
		b, _ := srv.Browser(t)
		hub.Count(t, 2)
		long := strings.Repeat("long ", 8000)
		hub.Broadcast([]byte("plain <text>"))
		hub.Topic("room").Broadcast([]byte(`{"a":"<b>"}`))
		hub.User("ann").BroadcastBinary([]byte("\x00\xff"))
		hub.Broadcast([]byte(long))
		b.Expect(t, "plain <text>", `{"a":"<b>"}`)
		b.ExpectBinary(t, "\x00\xff")
		b.Expect(t, long)
		p.Expect(t, `{"text":"plain <text>"}`, `{"data":{"a":"<b>"}}`)
		if f, err := p.Next(false); err != nil || f != wstest.Whole(wstest.Binary, "\x01\x00\x00\x00\x00\xff") {
			t.Fatal(f, err)
		}
		var whole string
		for last := false; !last; { // the library writes a long one in parts
			f, err := p.Next(false)
			no(t, err)
			whole, last = whole+f.Payload, f.Fin
		}
		if whole != `{"text":"`+long+`"}` {
			t.Errorf("%.40q", whole)
		}
		c.Send([]byte("direct"))
		p.Expect(t, `{"text":"direct"}`)
	})
}

// A position, and whose topic it was, stand in the envelope. Marks and resets go to who speaks the subprotocol, and to nobody else.
func TestAnEnvelopeSaysWhereAMessageIsInTheLog(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, offering(kind))
		p, c := speak(t, srv)
		b, plain := srv.Browser(t)
		position := actors.Position{Epoch: "abc", N: 7}
		for _, box := range []*actors.Outbox{c.Outbox(), plain.Outbox()} {
			box.Replay(actors.NewReset(position, actors.ResetExpired),
				actors.NewFrame([]byte("1")).Placed(actors.Placement{Position: position, Topic: actors.UserTopic("ann")}),
				actors.NewFrame([]byte("\xff")).Placed(actors.Placement{Position: position, Topic: "room"}), actors.NewMark(position))
		}
		b.Expect(t, "1")
		b.ExpectBinary(t, "\xff")
		p.Expect(t, `{"id":"abc.7","reset":"expired"}`, `{"id":"abc.7","user":"ann","data":1}`)
		if f, err := p.Next(false); err != nil || f != wstest.Whole(wstest.Binary, "\x01\x05abc.7\x01\x04room\xff") {
			t.Fatal(f, err)
		}
		p.Expect(t, `{"id":"abc.7"}`)
	})
}

// Envelopes are compressed for who has agreed on that.
func TestAnEnvelopeIsCompressed(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		how := offering(wstest.TCP, wskit.WithMaxMessageSize(-1))
		how.Accept.CompressionMode = mode
		hub := wstest.Run(t, wskit.WithAuthorizePublish(may))
		srv := wstest.Serve(t, hub.Hub, how)
		b, _ := srv.Browser(t, func(o *websocket.DialOptions) {
			o.CompressionMode, o.Subprotocols = mode, []string{wskit.Subprotocol}
		})
		long := strings.Repeat("long ", 200)
		b.Say(t, `{"op":"publish","text":"`+long+`","ref":1}`)
		got, _ := b.Next()
		answer, _ := b.Next()
		if want := []string{`{"text":"` + long + `"}`, `{"ref":1,"ok":true}`}; !slices.Contains(want, got) || !slices.Contains(want, answer) || got == answer {
			t.Errorf("%.40q %.40q", got, answer)
		}
		p := srv.Handshake(t, wstest.Handshake{Header: map[string]string{"Sec-WebSocket-Protocol": wskit.Subprotocol, "Sec-WebSocket-Extensions": "permessage-deflate"}})
		p.Upgraded(t)
		hub.Count(t, 2)
		hub.Broadcast([]byte(long))
		if f, err := p.Next(false); err != nil || f.RSV != wstest.RSV1 || len(f.Payload) > 100 {
			t.Error(f, err)
		}
	}
}

// join, leave, publish and ping, with and without a ref; what is published comes without an envelope to others, and to the sender too.
func TestAClientJoinsLeavesAndPublishes(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t, wskit.WithAuthorize(may), wskit.WithAuthorizePublish(may))
		srv := wstest.Serve(t, hub.Hub, offering(kind, wskit.WithMaxMessageSize(-1)))
		p, c := speak(t, srv)
		b, other := srv.Browser(t)
		no(t, hub.Topic("room").Join(other))
		says(t, p, `{"op":"ping","ref":"a"}`, `{"ref":"a","ok":true}`,
			`{"op":"ping","ref":-1.50e1}`, `{"ref":-1.50e1,"ok":true}`,
			` {"ref" : "<\u0061>", "op" : "join" , "topic":"room"} `, `{"ref":"<\u0061>","ok":true}`,
			`{"op":"join","topic":"room","ref":1}`, `{"ref":1,"ok":true}`)
		if got := c.Topics(); !slices.Equal(got, []string{"room"}) {
			t.Error(got)
		}
		p.Say(t, `{"op":"ping"}`)
		p.Say(t, `{"op":"publish","topic":"room","data": {"a": 1} }`)
		p.Expect(t, `{"data":{"a": 1}}`)
		p.Say(t, `{"op":"publish","topic":"room","text":"a\n"}`)
		p.Expect(t, `{"text":"a\n"}`)
		p.Say(t, `{"op":"publish","data":null,"key":"k"}`)
		p.Expect(t, `{"data":null}`)
		p.Say(t, `{"op":"publish","text":"2"}`)
		p.Expect(t, `{"data":2}`)
		b.Expect(t, `{"a": 1}`, "a\n", "null", "2")
		says(t, p, `{"op":"leave","topic":"room","ref":2}`, `{"ref":2,"ok":true}`, `{"op":"leave","topic":"room","ref":2}`, `{"ref":2,"ok":true}`)
		if got := c.Topics(); len(got) != 0 {
			t.Error(got)
		}
		says(t, p, `{"op":"publish","topic":"room","text":"3","ref":3}`, `{"ref":3,"ok":true}`)
		b.Expect(t, "3")
	})
}

// "send: only the message handlers see it"; publish: they see it first. A binary message is for them as ever.
func TestHandlersSeeWhatIsSentAndPublished(t *testing.T) {
	var seen wstest.Journal
	hub := wstest.Run(t, wskit.WithAuthorizePublish(may),
		wskit.WithOnMessage(func(_ *wskit.Client, data []byte) { seen.Note("message %s", data); clear(data) }),
		wskit.WithHandler(func(_ context.Context, _ *wskit.Client, m wskit.Message) error {
			seen.Note("%v %s", m.Type, m.Data)
			if bytes.Equal(m.Data, []byte("end")) {
				return wskit.CloseError(4100, "over")
			}
			clear(m.Data)
			return nil
		}))
	p, _ := speak(t, wstest.Serve(t, hub.Hub, offering(wstest.TCP)))
	says(t, p, `{"op":"send","data":{"a":[1 ]},"ref":1}`, `{"ref":1,"ok":true}`, `{"op":"send","text":"","ref":2}`, `{"ref":2,"ok":true}`)
	p.Send(t, wstest.Binary, `{"op":"ping"}`)
	says(t, p, `{"op":"publish","topic":"-","text":"no","ref":3}`, `{"ref":3,"error":"forbidden"`)
	p.Say(t, `{"op":"publish","text":"yes"}`)
	p.Expect(t, `{"text":"yes"}`)
	p.Say(t, `{"op":"publish","text":"end","ref":4}`)
	p.Ends(t, 4100, "over")
	seen.Expect(t, `message {"a":[1 ]}`, `MessageText {"a":[1 ]}`, "message ", "MessageText ", `message {"op":"ping"}`, `MessageBinary {"op":"ping"}`,
		"message yes", "MessageText yes", "message end", "MessageText end")
}

// What may not be, is told.
func TestACommandThatIsNotCarriedOutIsAnsweredWhy(t *testing.T) {
	asked := 0
	hub := wstest.Run(t, wskit.WithMaxTopics(2), wskit.WithAuthorizePublish(may), wskit.WithAuthorize(func(ctx context.Context, s wskit.Subscriber, topic string) error {
		asked++
		return may(ctx, s, topic)
	}))
	p, _ := speak(t, wstest.Serve(t, hub.Hub, offering(wstest.TCP)))
	says(t, p,
		`{"op":"join","topic":"-","ref":1}`, `{"ref":1,"error":"forbidden"`,
		`{"op":"join","topic":"-"}`, `{"error":"forbidden"`,
		`{"op":"join","topic":"","ref":1}`, `{"ref":1,"error":"invalid_topic"`,
		`{"op":"join","topic":"a\u0000","ref":1}`, `{"ref":1,"error":"invalid_topic"`,
		`{"op":"leave","topic":"","ref":1}`, `{"ref":1,"error":"invalid_topic"`,
		`{"op":"publish","topic":"","data":1,"ref":1}`, `{"ref":1,"error":"invalid_topic"`,
		`{"op":"publish","topic":"\u0000ann","data":1,"ref":1}`, `{"ref":1,"error":"invalid_topic"`,
		`{"op":"publish","topic":"-","data":1,"ref":1}`, `{"ref":1,"error":"forbidden"`,
		`{"op":"join","topic":"a","ref":1}`, `{"ref":1,"ok":true}`,
		`{"op":"join","topic":"b","ref":1}`, `{"ref":1,"ok":true}`,
		`{"op":"join","topic":"c","ref":1}`, `{"ref":1,"error":"too_many_topics"`,
		`{"op":"join","topic":"b","ref":1}`, `{"ref":1,"ok":true}`)
	if asked != 5 {
		t.Error("asked", asked, "times")
	}
	p, _ = speak(t, wstest.Serve(t, wstest.Run(t).Hub, offering(wstest.TCP)))
	says(t, p, `{"op":"join","topic":"a","ref":1}`, `{"ref":1,"error":"forbidden"`, `{"op":"publish","data":1,"ref":1}`, `{"ref":1,"error":"forbidden"`)
}

// Strict: what is no command is malformed, and its ref is answered if it has one that can be read.
func TestAMalformedCommandIsAnswered(t *testing.T) {
	var seen wstest.Journal
	hub := wstest.Run(t, wskit.WithAuthorize(may), wskit.WithAuthorizePublish(may), wskit.WithOnMessage(func(_ *wskit.Client, data []byte) { seen.Note("%s", data) }))
	p, c := speak(t, wstest.Serve(t, hub.Hub, offering(wstest.TCP)))
	const withRef, without = `{"ref":7,"error":"malformed"`, `{"error":"malformed"`
	for message, want := range map[string]string{
		`{}`:                                                    without,
		`{"ref":7}`:                                             withRef,
		`{"op":"PING","ref":7}`:                                 withRef,
		`{"OP":"ping","ref":7}`:                                 withRef,
		`{"op":"ping","REF":7}`:                                 without,
		`{"op":["ping"],"ref":7}`:                               withRef,
		`{"op":null,"ref":7}`:                                   withRef,
		`{"op":"ping","x":1,"ref":7}`:                           withRef,
		`{"op":"ping","topic":"a","ref":7}`:                     withRef,
		`{"op":"ping","op":"ping","ref":7}`:                     withRef,
		`{"op":"ping","o\u0070":"ping","ref":7}`:                withRef,
		`{"op":"ping","ref":7,"ref":7}`:                         without,
		`{"op":"ping","ref":null}`:                              without,
		`{"op":"ping","ref":{"a":1}}`:                           without,
		`{"op":"ping","ref":true}`:                              without,
		`{"op":"ping","ref":"` + strings.Repeat("x", 63) + `"}`: without,
		`{"op":"ping","ref":7} {"op":"ping"}`:                   withRef,
		`{"op":"ping","ref":7}]`:                                withRef,
		`{"op":"join","ref":7}`:                                 withRef,
		`{"op":"join","topic":null,"ref":7}`:                    withRef,
		`{"op":"join","topic":1,"ref":7}`:                       withRef,
		`{"op":"join","topic":"a","data":1,"ref":7}`:            withRef,
		`{"op":"publish","topic":"a","ref":7}`:                  withRef,
		`{"op":"publish","data":1,"text":"","ref":7}`:           withRef,
		`{"op":"publish","text":1,"ref":7}`:                     withRef,
		`{"op":"publish","data":1,"key":"","ref":7}`:            withRef,
		`{"op":"publish","data":1,"key":1,"ref":7}`:             withRef,
		`{"op":"publish","data":1,"key":"` + strings.Repeat("k", 256) + `","ref":7}`: withRef,
		`{"op":"send","data":1,"key":"k","ref":7}`:                                   withRef,
		`{"op":"send","data":1,"topic":"a","ref":7}`:                                 withRef,
		`{"op":"send","ref":7}`:                                                      withRef,
	} {
		says(t, p, message, want, `{"op":"ping","ref":0}`, `{"ref":0,"ok":true}`)
	}
	longest := `"` + strings.Repeat("x", 62) + `"`
	says(t, p, `{"op":"ping","ref":`+longest+`}`, `{"ref":`+longest+`,"ok":true}`)
	p.Say(t, `{"op":"publish","data":1,"key":"`+strings.Repeat("k", 255)+`"}`)
	p.Expect(t, `{"data":1}`)
	seen.Expect(t, "1")
	if len(c.Topics()) != 0 {
		t.Error(c.Topics())
	}
}

// "three malformed ones in a row close with 1008"; a command in between begins anew.
func TestThreeMalformedCommandsInARowEndTheConnection(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t, wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))
		p, _ := speak(t, wstest.Serve(t, hub.Hub, offering(kind)))
		bad, answer := `{"ref":1}`, `{"ref":1,"error":"malformed"`
		says(t, p, bad, answer, bad, answer, `{"op":"ping","ref":2}`, `{"ref":2,"ok":true}`, bad, answer, bad, answer)
		p.Send(t, wstest.Binary, "x")
		says(t, p, bad, answer)
		p.Ends(t, 1008, "malformed commands")
	})
}

// "not a JSON object at all" closes with 1008 at once.
func TestWhatIsNoObjectEndsTheConnection(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, offering(wstest.TCP))
	for _, message := range []string{"", " ", "hello", `"{}"`, "[]", "7", "null", "{", `{"op":"ping"`, `{"op":"ping",}`, `{op:"ping"}`, "\ufeff{}"} {
		p, _ := speak(t, srv)
		p.Say(t, message)
		p.Ends(t, 1008, "not a JSON object")
	}
}

// A hook that panics or takes too long costs its command, and holds up nobody else.
func TestAHookOfACommandIsFencedAndBounded(t *testing.T) {
	free := make(chan struct{})
	errs := make(chan error, 9)
	hook := func(ctx context.Context, s wskit.Subscriber, topic string) error {
		switch topic {
		case "panic":
			panic("test")
		case "exit":
			runtime.Goexit()
		case "block":
			<-free
		case "wait":
			<-ctx.Done()
			return ctx.Err()
		case "stopped":
			return wskit.ErrHubStopped
		}
		if _, bounded := ctx.Deadline(); !bounded || ctx.Value(key{"a"}) != "value" || ctx.Value(http.ServerContextKey) == nil || s.(wskit.Member).User() != "ann" {
			return errors.New("not the client, or its context")
		}
		return nil
	}
	hub := wstest.Run(t, wskit.WithAuthorize(hook), wskit.WithAuthorizePublish(hook), wskit.WithHookTimeout(50*time.Millisecond),
		wskit.WithOnError(func(op string, err error) { errs <- fmt.Errorf("%s: %w", op, err) }))
	srv := wstest.Serve(t, hub.Hub, offering(wstest.TCP, wskit.WithUser("ann"), wskit.WithValue(key{"a"}, "value")))
	p, c := speak(t, srv)
	for _, hook := range [][2]string{{`"publish","data":1`, "AuthorizePublish"}, {`"join"`, "Authorize"}} {
		op, name := hook[0], hook[1]
		for _, topic := range []string{"panic", "exit"} {
			says(t, p, `{"op":`+op+`,"topic":"`+topic+`","ref":1}`, `{"ref":1,"error":"internal"`)
			err := wstest.Receive(t, "OnError", errs)
			var pe *wskit.PanicError
			if !errors.As(err, &pe) || pe.Op != name {
				t.Error(err)
			}
		}
		says(t, p, `{"op":`+op+`,"topic":"block","ref":1}`, `{"ref":1,"error":"timeout"`, `{"op":`+op+`,"topic":"wait","ref":1}`, `{"ref":1,"error":"timeout"`,
			`{"op":`+op+`,"topic":"stopped","ref":1}`, `{"ref":1,"error":"forbidden"`, `{"op":`+op+`,"topic":"fine","ref":1}`, `{"ref":1,"ok":true}`)
	}
	close(free)
	if got := c.Topics(); !slices.Equal(got, []string{"fine"}) {
		t.Error(got)
	}
}

// "A slow join must not hold up the hub, only this client's read loop"; when the connection ends its hook's context does.
func TestASlowJoinDelaysNobodyElse(t *testing.T) {
	began, over := make(chan struct{}), make(chan struct{})
	hub := wstest.Run(t, wskit.WithAuthorize(func(ctx context.Context, _ wskit.Subscriber, _ string) error {
		close(began)
		<-ctx.Done()
		close(over)
		return nil
	}))
	srv := wstest.Serve(t, hub.Hub, offering(wstest.TCP))
	p, c := speak(t, srv)
	p.Say(t, `{"op":"join","topic":"a","ref":1}`)
	wstest.Receive(t, "the hook", began)
	other, _ := speak(t, srv)
	says(t, other, `{"op":"ping","ref":1}`, `{"ref":1,"ok":true}`)
	hub.Broadcast([]byte("1"))
	other.Expect(t, `{"data":1}`)
	p.Expect(t, `{"data":1}`)
	c.Close()
	wstest.Receive(t, "the hook's context ends", over)
	p.Ends(t, 1000, "")
}

// One that is not registered has no topics to join.
func TestAClientThatIsNotRegisteredCannotJoin(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthorize(may))
	srv := wstest.Listen(t, wstest.TCP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{wskit.Subprotocol}})
		if err == nil {
			_ = wskit.NewClient(hub.Hub, conn, context.WithoutCancel(r.Context())).Serve()
		}
	}))
	p := srv.Handshake(t, v1)
	says(t, p, `{"op":"join","topic":"a","ref":1}`, `{"ref":1,"error":"stopped"`)
	_ = p.Close()
}

// A rate limits commands as it does messages.
func TestCommandsAreMessagesToTheRateLimit(t *testing.T) {
	hub := wstest.Run(t)
	p, _ := speak(t, wstest.Serve(t, hub.Hub, offering(wstest.TCP, wskit.WithMessageRate(0.1, 2))))
	says(t, p, `{"op":"ping","ref":1}`, `{"ref":1,"ok":true}`, `{"op":"ping","ref":2}`, `{"ref":2,"ok":true}`)
	p.Say(t, `{"op":"ping","ref":3}`)
	p.Ends(t, 1008, "too many messages")
}

// With a Redis that is not there, what is published reaches this hub alone, and its sender is told.
func TestWhatRedisDoesNotTakeIsToldToItsPublisher(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1, DialTimeout: time.Second})
	defer client.Close()
	hub := wstest.Run(t, wskit.WithRedis(client, "c"), wskit.WithAuthorizePublish(may), wskit.WithLogger(nil))
	p, _ := speak(t, wstest.Serve(t, hub.Hub, offering(wstest.TCP)))
	p.Say(t, `{"op":"publish","data":1,"ref":1}`)
	for range 2 {
		f, err := p.Next(false)
		if f.Payload != `{"data":1}` && !strings.HasPrefix(f.Payload, `{"ref":1,"error":"local_only"`) || err != nil {
			t.Error(f, err)
		}
	}
}

// What a client publishes reaches those on every instance, in an envelope only who speaks the subprotocol.
func TestWhatAClientPublishesReachesEveryInstance(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		var nodes []*node
		var speakers, others []*wstest.Peer
		for range 2 {
			n := redisNode(t, srv.Addr(), wskit.WithAuthorizePublish(may))
			nodes = append(nodes, n)
			web := wstest.Serve(t, n.Hub.Hub, offering(wstest.TCP, wskit.WithTopics("room")))
			p, _ := speak(t, web)
			other, _ := web.Peer(t)
			speakers, others = append(speakers, p), append(others, other)
		}
		for i, n := range nodes {
			n.listen(t, srv, i+1)
		}
		for i, p := range speakers {
			topic := []string{"", `"topic":"room",`}[i]
			p.Say(t, `{"op":"publish",`+topic+`"data": {"n": 1},"ref":1}`)
			got := map[string]bool{}
			for range 2 {
				f, err := p.Next(false)
				no(t, err)
				got[f.Payload] = true
			}
			if !got[`{"data":{"n": 1}}`] || !got[`{"ref":1,"ok":true}`] {
				t.Error(got)
			}
			speakers[1-i].Expect(t, `{"data":{"n": 1}}`)
			for _, other := range others {
				other.Expect(t, `{"n": 1}`)
			}
		}
	})
}
