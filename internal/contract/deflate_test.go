package contract_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// event is a message as servers send them: it compresses well.
func event(n int) string {
	return fmt.Sprintf(`{"type":"price","serial":%d,"payload":[%s]}`, n, strings.Repeat(`{"symbol":"ACME","bid":12.25,"ask":12.26},`, 30))
}

// Whatever a client negotiated, it reads every message: one that agreed to no context takeover, one that keeps its window,
// one without compression; sent one by one, in a bundle, and to one client alone.
func TestClientsWithAndWithoutCompressionReadTheSameMessages(t *testing.T) {
	for _, server := range []websocket.CompressionMode{websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover} {
		for _, threshold := range []int{0, 1, 1 << 20} {
			t.Run(fmt.Sprintf("mode %d, threshold %d", server, threshold), func(t *testing.T) {
				hub := wstest.Run(t)
				srv := wstest.Serve(t, hub.Hub, wstest.Serving{Accept: &websocket.AcceptOptions{CompressionMode: server, CompressionThreshold: threshold}})
				var peers []*wstest.Browser
				for _, mode := range []websocket.CompressionMode{
					websocket.CompressionNoContextTakeover, websocket.CompressionContextTakeover, websocket.CompressionDisabled,
				} {
					p, c := srv.Browser(t, func(o *websocket.DialOptions) { o.CompressionMode = mode })
					peers = append(peers, p)
					c.Send([]byte(event(0)))
					p.Expect(t, event(0))
				}
				want := []string{"short"}
				for i := range 100 {
					want = append(want, event(i))
				}
				for _, m := range want {
					hub.Broadcast([]byte(m))
				}
				for _, p := range peers {
					p.Expect(t, want...)
				}
			})
		}
	}
}

func TestACompressedBroadcastIsShortOnTheWire(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Accept: &websocket.AcceptOptions{CompressionMode: websocket.CompressionNoContextTakeover}})
	conn := srv.Conn(t)
	_, _ = conn.Write(wstest.Handshake{Header: map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"}}.Request(srv.Host()))
	hub.Count(t, 1)
	want := actors.NewFrame([]byte(event(1))).Deflated(512)
	if len(want) > len(event(1))/4 {
		t.Fatalf("%d bytes for %d", len(want), len(event(1)))
	}
	hub.Broadcast([]byte(event(1)))
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.HasSuffix(got.String(), string(want)) {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, got.String())
		}
		got.Write(buf[:n])
	}
	if !strings.Contains(got.String(), "permessage-deflate") {
		t.Errorf("the answer is %.200q", got.String())
	}
}
