package wstest

import (
	"context"
	"fmt"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// Browser is a well-behaved client's end of a WebSocket: another implementation, which keeps the protocol and checks that the
// server does. It answers pings while it reads.
type Browser struct{ *websocket.Conn }

// Browser opens a WebSocket at /ws and waits until Serve's handler has accepted it.
func (s *Server) Browser(t testing.TB, opts ...func(*websocket.DialOptions)) (*Browser, *wskit.Client) {
	t.Helper()
	b := s.Open(t, opts...)
	return b, Receive(t, "Accept returns", s.Accepted)
}

// Open opens a WebSocket at /ws. It is cut off at the end of the test.
func (s *Server) Open(t testing.TB, opts ...func(*websocket.DialOptions)) *Browser {
	t.Helper()
	b, err := s.TryOpen("/ws", opts...)
	if err != nil {
		t.Fatal("dial:", err)
	}
	t.Cleanup(func() { _ = b.CloseNow() })
	return b
}

// TryOpen is Open, of any path, for whoever expects an error, or calls it from another goroutine; it leaves closing to the caller.
func (s *Server) TryOpen(path string, opts ...func(*websocket.DialOptions)) (*Browser, error) {
	o := websocket.DialOptions{HTTPClient: s.Client()}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.URL+path, &o)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(-1)
	return &Browser{conn}, nil
}

// NextOf reads a message of any type.
func (b *Browser) NextOf() (websocket.MessageType, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	kind, data, err := b.Read(ctx)
	return kind, string(data), err
}

// Next reads a message; one that is not text is an error.
func (b *Browser) Next() (string, error) {
	kind, data, err := b.NextOf()
	if err == nil && kind != websocket.MessageText {
		return data, fmt.Errorf("a message of type %v", kind)
	}
	return data, err
}

// Expect reads these text messages.
func (b *Browser) Expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		if got, err := b.Next(); got != w || err != nil {
			t.Fatalf("message %d is %.80q (%v), want %.80q", i, got, err, w)
		}
	}
}

// ExpectBinary reads these binary messages.
func (b *Browser) ExpectBinary(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		if kind, got, err := b.NextOf(); got != w || kind != websocket.MessageBinary || err != nil {
			t.Fatalf("message %d is %v %.80q (%v), want binary %.80q", i, kind, got, err, w)
		}
	}
}

// Ends reads the end of the connection, before which no message may come, and checks the server's close code.
func (b *Browser) Ends(t testing.TB, code websocket.StatusCode) {
	t.Helper()
	if got, err := b.Next(); websocket.CloseStatus(err) != code {
		t.Fatalf("read %.80q, %v; want close code %d", got, err, code)
	}
}

// Rest reads to the end of the connection and returns the messages before it and its close code, -1 for none.
func (b *Browser) Rest() (messages []string, code websocket.StatusCode) {
	for {
		_, data, err := b.NextOf()
		if err != nil {
			return messages, websocket.CloseStatus(err)
		}
		messages = append(messages, data)
	}
}

// Say sends a text message.
func (b *Browser) Say(t testing.TB, data string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := b.Write(ctx, websocket.MessageText, []byte(data)); err != nil {
		t.Fatal("write:", err)
	}
}

// Listen reads on to the end of the test, so that pings and close frames are answered.
func (b *Browser) Listen(t testing.TB) *Browser {
	done := Begin(func() {
		for {
			if _, _, err := b.Read(context.Background()); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { _ = b.CloseNow(); <-done })
	return b
}

// Echo is a WithOnMessage that answers with "echo " and what was said.
func Echo(c *wskit.Client, data []byte) { c.Send(append([]byte("echo "), data...)) }
