package contract_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

const maxAge = "1012 max age"

// Nobody ends before d, and who came together does not end together.
func TestConnectionsEndWhenTheyHaveLastedAsLongAsTheyMay(t *testing.T) {
	for _, kind := range []wstest.Kind{wstest.TCP, wstest.NewClient} {
		t.Run(kind.Name, func(t *testing.T) {
			const n, d, jitter = 40, 400 * time.Millisecond, 400 * time.Millisecond
			hub := wstest.Run(t, wskit.WithMaxAge(d, jitter))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
			p := &wstest.Probe{}
			hub.Register(p)
			var clients leavers
			clients.ask(t, srv, n)
			gone := clients.expect(t, n, maxAge)
			least, most := time.Hour, time.Duration(0)
			for _, c := range gone {
				age := c.left.Sub(c.came)
				least, most = min(least, age), max(most, age)
			}
			if least < d || most > d+jitter+10*time.Second {
				t.Errorf("they lasted %v to %v", least, most)
			}
			if most-least < jitter/10 {
				t.Errorf("all of them lasted %v to %v", least, most)
			}
			hub.Count(t, 1) // a subscriber of the test's own, which is not ended
			hub.Broadcast([]byte("1"))
			p.Expect(t, "1")
		})
	}
}

// Without jitter it is the age itself, and the hub goes on: who comes back has all of it again.
func TestWhoComesBackMayLastAsLongAgain(t *testing.T) {
	const d = 100 * time.Millisecond
	hub, _ := wstest.Embed(t, hubactor.Config{MaxAge: d})
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Block: true})
	for range 3 {
		came := time.Now()
		b := srv.Open(t)
		b.Ends(t, websocket.StatusServiceRestart)
		if age := time.Since(came); age < d {
			t.Error("it lasted", age)
		}
		no(t, wstest.Receive(t, "ServeWS returns", srv.Served))
		hub.Count(t, 0)
	}
}

// Over whatever it runs, a stream gets what was sent before, is told when to come back, and ends in good order.
func TestAStreamIsToldWhenToComeBackBeforeItEnds(t *testing.T) {
	streaming(t, func(t *testing.T, kind wstest.Kind, opts ...wskit.HubOption) {
		hub := wstest.Run(t, append(opts, wskit.WithMaxAge(300*time.Millisecond, 0), wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send([]byte("1")) }))...)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		st := srv.Stream(t)
		st.Expect(t, "1")
		if event := wstest.Receive(t, "retry", st.Events); !strings.HasPrefix(event, "[retry:") {
			t.Error(event)
		}
		st.Ends(t)
		no(t, wstest.Receive(t, "AcceptSSE returns", srv.Streamed))
	})
}

// Who leaves before costs nothing later, and ends as it did.
func TestWhoLeavesBeforeItsMaxAgeEndsAsEver(t *testing.T) {
	hub := wstest.Run(t, wskit.WithMaxAge(time.Hour, time.Hour))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	for range 5 {
		_ = srv.Open(t).Close(1000, "")
		srv.Stream(t).End()
	}
	hub.Count(t, 0)
	b := srv.Open(t)
	hub.Count(t, 1)
	hub.Halt(t)
	b.Ends(t, websocket.StatusGoingAway)
}
