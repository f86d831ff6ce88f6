package contract_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// A subscriber that was ended for a panic can be registered again at once, while its end is still under way.
func TestASubscriberOnItsWayOutCanComeAgain(t *testing.T) {
	hub := wstest.Run(t)
	closing, release := make(chan struct{}, 1), make(chan struct{})
	p := &wstest.Probe{}
	p.OnSend = func(data string) bool {
		if data == "die" {
			panic("dead")
		}
		return true
	}
	first := true
	p.OnClose = func() {
		if first {
			first = false
			closing <- struct{}{}
			<-release
		}
	}
	hub.Register(p)
	hub.Broadcast([]byte("die"))
	wstest.Receive(t, "its end", closing)
	if n := hub.SubscriberCount(); n != 0 {
		t.Errorf("%d subscribers", n)
	}
	hub.Register(p)
	if n := hub.SubscriberCount(); n != 1 {
		t.Errorf("%d subscribers when it has come again", n)
	}
	hub.Broadcast([]byte("again"))
	close(release)
	p.Expect(t, "die", wstest.Closed, "again")
	hub.Unregister(p)
	p.Expect(t, "die", wstest.Closed, "again", wstest.Closed)
}

// When OnDrop has had its 1024 calls it goes on: what it was not called for is about those that waited, not about all.
func TestOnDropGoesOnAfterItsCallsHaveWaited(t *testing.T) {
	var calls wstest.List[string]
	hub := wstest.Run(t, wskit.WithOnDrop(func(_ wskit.Subscriber, data []byte) { calls.Add(string(data)) }))
	c := wskit.NewSSEClient(hub.Hub, 1)
	c.Send([]byte("fits"))
	for i := range 1200 {
		before := calls.Len()
		c.Send([]byte(fmt.Sprint(i)))
		wstest.Eventually(t, "OnDrop is called", func() bool { return calls.Len() > before })
	}
	c.Close()
}

// A client whose actor is adopted while the hub drains is closed like all others.
func TestAClientThatComesWhileTheHubDrainsIsClosed(t *testing.T) {
	release, draining := make(chan struct{}), make(chan struct{})
	hub := wstest.Run(t, wskit.WithDrainTimeout(10*time.Second))
	blocks := &wstest.Probe{OnClose: func() { close(draining); <-release }} // connections waits for it
	hub.Register(blocks)
	hub.Broadcast([]byte("runs"))
	blocks.Expect(t, "runs")
	hub.Stop()
	wstest.Receive(t, "the drain", draining)
	done := make(chan struct{})
	srv := wstest.Listen(t, wstest.TCP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := wskit.NewClient(hub.Hub, byHand(t, w, r), context.Background())
		go c.ReadPump()
		c.WritePump()
		close(done)
	}))
	b := srv.Open(t)
	b.Ends(t, 1001)
	wstest.Receive(t, "WritePump returns", done)
	close(release)
	hub.Halt(t)
}

// What blocks beyond the drain timeout is left behind, and the log says how much that is.
func TestWhoIsLeftBehindByTheDrainTimeoutIsLogged(t *testing.T) {
	var rec wstest.LogRecorder
	release, blocked := make(chan struct{}), make(chan struct{})
	hub := wstest.Run(t, wskit.WithDrainTimeout(200*time.Millisecond), wskit.WithLogger(rec.Logger()))
	hub.Register(&wstest.Probe{OnSend: func(string) bool { close(blocked); <-release; return true }})
	hub.Broadcast([]byte("x"))
	wstest.Receive(t, "Send", blocked)
	hub.Halt(t)
	close(release)
	wstest.Eventually(t, "the log says so", func() bool {
		for _, r := range rec.All() {
			if strings.Contains(r.Text, "left behind") {
				return r.Level == slog.LevelWarn && fmt.Sprint(r.Attrs["count"]) == "1"
			}
		}
		return false
	})
}

// A type of the program's that embeds a client is a subscriber like the client itself, and not a second one.
type user struct {
	*wskit.Client
	name string
}

func TestATypeThatEmbedsAClientIsTheClient(t *testing.T) {
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	hub.Register(&user{c, "a second name for it"})
	if n := hub.SubscriberCount(); n != 1 {
		t.Errorf("%d subscribers", n)
	}
	hub.Broadcast([]byte("once"))
	hub.Broadcast([]byte("end"))
	b.Expect(t, "once", "end")
	c.Close()
	wstest.Receive(t, "OnDisconnect", gone)
	wstest.Silent(t, "a second OnDisconnect", gone)
	var _ actors.Connection = &user{}
}
