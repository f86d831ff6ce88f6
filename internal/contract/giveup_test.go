package contract_test

import (
	"testing"

	"github.com/coder/websocket"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// Whoever comes while a hub gives up is closed like all others, though the actor that was to look after it has ended already.
func TestAClientAcceptedWhileItsHubIsGivenUpIsClosed(t *testing.T) {
	for _, kind := range []string{"a client", "a stream", "a foreign subscriber"} {
		t.Run(kind, func(t *testing.T) {
			hub := wstest.Run(t)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			connections := wstest.One(t, hub.Hub, "connections")
			root := actors.System().Root
			early, _ := srv.Browser(t)

			// Its mailbox holds the crashes that end it, and behind them who comes.
			busy := make(chan []actors.Member)
			root.Send(connections, &actors.Members{Reply: busy})
			for range 11 {
				wstest.Crash(connections, "again and again")
			}
			var closed func()
			switch kind {
			case "a client":
				b, c := srv.Browser(t)
				closed = func() {
					b.Ends(t, websocket.StatusGoingAway)
					wstest.Eventually(t, "the client is closed", func() bool { return c.SendErr([]byte("x")) != nil })
				}
			case "a stream":
				s := srv.Stream(t)
				closed = func() { s.Ends(t) }
			case "a foreign subscriber":
				p := &wstest.Probe{}
				hub.Register(p)
				closed = func() { p.Expect(t, wstest.Closed) }
			}
			<-busy
			early.Ends(t, websocket.StatusGoingAway)
			wstest.Receive(t, "Run returns", hub.Done)
			closed()
		})
	}
}
