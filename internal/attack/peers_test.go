package attack_test

import (
	"net/http"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// tiny is the bytes of a socket's buffers here, so that a peer that does not read is noticed at once.
const tiny = 64 << 10

func serve(t testing.TB, h *wskit.Hub, opts ...wskit.ClientOption) *wstest.Server {
	t.Helper()
	return servePumps(t, h, nil, opts...)
}

func servePumps(t testing.TB, h *wskit.Hub, pumps func(*wskit.Client), opts ...wskit.ClientOption) *wstest.Server {
	t.Helper()
	return wstest.Serve(t, h, wstest.Serving{Pumps: pumps, Client: opts, SendBuffer: tiny})
}

// ask asks srv for an upgrade at "/ws", or at "/sse" for a stream all the same.
func ask(t testing.TB, srv *wstest.Server, path string) (*wstest.Peer, *http.Response) {
	t.Helper()
	p := srv.Handshake(t, wstest.Handshake{Path: "/" + path, RecvBuffer: tiny})
	return p, p.Answer
}

// silent is a WebSocket whose peer does what it is told and no more.
func silent(t testing.TB, srv *wstest.Server) (*wstest.Peer, *wskit.Client) {
	t.Helper()
	p, _ := ask(t, srv, "ws")
	p.Upgraded(t)
	return p, wstest.Receive(t, "Accept returns", srv.Accepted)
}

// stuff hands a message to a client whose peer does not read, so that its socket is full and what is sent from now on
// waits in its queue.
func stuff(t testing.TB, c *wskit.Client, text string) {
	t.Helper()
	if err := c.SendErr([]byte(text)); err != nil {
		t.Fatal(err)
	}
	wstest.Eventually(t, "the message is at the socket", c.Outbox().Drained)
}
