package contract_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// ours is the kinds of connection that this module reads itself.
var ours = []wstest.Kind{wstest.TCP, wstest.TLS, wstest.Wrapped}

// A peer that sends and then closes at once, by a close frame or by ending its stream, gets what its messages were answered
// with; behind that the close frame is answered, and nothing else.
func TestAPeerThatClosesRightBehindItsMessagesGetsTheAnswers(t *testing.T) {
	const messages = 20
	for _, kind := range ours {
		t.Run(kind.Name, func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
				if !c.Send(data) {
					t.Error("refused")
				}
			}))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
			for round := range 10 {
				for _, bye := range [][]byte{wstest.CloseWith(4000, "bye").Masked(), nil} {
					var stream []byte
					for i := range messages {
						stream = append(stream, wstest.Masked(wstest.Text, fmt.Sprint(i))...)
					}
					p, _ := srv.Peer(t, append(stream, bye...)...)
					if bye == nil {
						half, ok := p.Conn.(interface{ CloseWrite() error })
						if !ok {
							t.Fatalf("%T cannot be closed half", p.Conn)
						}
						if err := half.CloseWrite(); err != nil {
							t.Fatal(err)
						}
					}
					for i := range messages {
						if f, err := p.Frame(); f != wstest.Whole(wstest.Text, fmt.Sprint(i)) || err != nil {
							t.Fatalf("round %d, close frame %v, answer %d: %v, %v", round, bye != nil, i, f, err)
						}
					}
					if bye != nil {
						if f, err := p.Frame(); f != wstest.CloseWith(4000, "bye") || err != nil {
							t.Fatal(f, err)
						}
					}
					if f, err := p.Frame(); err != io.EOF {
						t.Fatal(f, err)
					}
					_ = p.Close()
				}
			}
			hub.Count(t, 0)
		})
	}
}

// What its handler has sent when a client breaks the protocol goes out too, and then it is told how.
func TestAPeerThatBreaksTheProtocolGetsTheAnswersToWhatCameBefore(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p, _ := srv.Peer(t, append(wstest.Masked(wstest.Text, "fine"), wstest.Masked(wstest.Text, "\xff")...)...)
	p.Expect(t, "echo fine")
	p.Ends(t, 1007, "text is not UTF-8")
	hub.Count(t, 0)
}

// Text that is no UTF-8 ends the connection with 1007, whoever has upgraded it; the same bytes as a binary message are fine.
func TestTextThatIsNotUTF8ClosesWith1007(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		p, _ := srv.Peer(t)
		p.Send(t, wstest.Binary, "\xff")
		p.ExpectFrame(t, wstest.Binary, "echo \xff")
		p.Send(t, wstest.Text, "\xff")
		p.Ends(t, 1007, "text is not UTF-8")
		_ = p.Close()
		hub.Count(t, 0)
	})
}

// Nothing that follows a close frame is handed on.
func TestNothingBehindACloseFrameIsHandedOn(t *testing.T) {
	var got wstest.List[string]
	hub := wstest.Run(t, wskit.WithOnMessage(func(_ *wskit.Client, data []byte) { got.Add(string(data)) }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p, _ := srv.Peer(t, wstest.Masks(wstest.Whole(wstest.Text, "before"), wstest.CloseWith(1000, ""), wstest.Whole(wstest.Text, "behind"))...)
	p.Ends(t, 1000, "")
	hub.Count(t, 0)
	hub.Settled(t)
	if all := got.All(); len(all) != 1 || all[0] != "before" {
		t.Errorf("handed on: %q", all)
	}
}

// "A normal end is no error": what Serve and ServeWS return for each way in which a peer can leave, and what IsNormal says of it.
func TestServeReturnsNilForANormalEndOfThePeers(t *testing.T) {
	for _, kind := range ours {
		t.Run(kind.Name, func(t *testing.T) {
			hub := wstest.Run(t)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Block: true})
			for _, c := range []struct {
				bye    wstest.Frame
				normal bool
				status websocket.StatusCode
			}{
				{wstest.CloseWith(1000, "done"), true, -1},
				{wstest.CloseWith(1001, ""), true, -1},
				{wstest.Whole(wstest.Close, ""), true, -1}, // a browser's close()
				{wstest.CloseWith(1002, ""), false, 1002},
				{wstest.CloseWith(3000, "x"), false, 3000},
				{wstest.CloseWith(1006, ""), false, -1}, // not allowed
				{wstest.Whole(wstest.Text, "\xff"), false, -1},
				{wstest.Whole(wstest.Pong, ""), false, -1}, // and then it just goes
			} {
				p := srv.Handshake(t, wstest.Handshake{})
				p.Upgraded(t)
				p.SendFrames(t, c.bye)
				if c.bye.Op == wstest.Pong {
					_ = p.Close()
				}
				err := wstest.Receive(t, "ServeWS returns", srv.Served)
				if (err == nil) != c.normal || wskit.IsNormal(err) != c.normal || websocket.CloseStatus(err) != c.status {
					t.Errorf("%v: %v, normal %v", c.bye, err, wskit.IsNormal(err))
				}
				_ = p.Close()
			}
			hub.Count(t, 0)
		})
	}
	for err, want := range map[error]bool{
		nil: true, io.EOF: false, wskit.ErrHubStopped: false, errors.New("x"): false,
		websocket.CloseError{Code: 1001}:                                 true,
		fmt.Errorf("wrapped: %w", websocket.CloseError{Code: 1005}):      true,
		fmt.Errorf("wrapped: %w", websocket.CloseError{Code: 1011}):      false,
		fmt.Errorf("wrapped: %w", websocket.CloseError{Code: 1000}):      true,
		fmt.Errorf("read: %w", errors.Join(io.EOF, wskit.ErrHubStopped)): false,
	} {
		if wskit.IsNormal(err) != want {
			t.Errorf("IsNormal(%v) is %v", err, !want)
		}
	}
}

// "An incoming message over the limit closes the connection with 1009", and the log says so once, with the limit.
func TestAMessageOverTheLimitIsLogged(t *testing.T) {
	const oversized = "wskit: a client sent a message that is longer than it may be and is closed with 1009; WithMaxMessageSize allows longer ones"
	for _, kind := range wstest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			var log wstest.LogRecorder
			hub := wstest.Run(t, wskit.WithLogger(log.Logger()))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: []wskit.ClientOption{wskit.WithMaxMessageSize(100)}})
			p, _ := srv.Peer(t)
			p.Say(t, string(make([]byte, 100)))
			p.Put(t, wstest.Masks(wstest.Whole(wstest.Text, string(make([]byte, 101))), wstest.Whole(wstest.Text, string(make([]byte, 101)))))
			if code, err := p.CloseCode(); code != 1009 {
				t.Error(code, err)
			}
			_ = p.Close()
			hub.Count(t, 0)
			wstest.Eventually(t, "it is logged", func() bool { return len(log.Find(oversized)) > 0 })
			hub.Halt(t)
			if all := log.Find(oversized); len(all) != 1 {
				t.Errorf("%d records: %v", len(all), all)
			} else if all[0].Level != slog.LevelWarn || all[0].Attrs["limit"] != int64(100) {
				t.Errorf("%v", all[0])
			}
		})
	}
}
