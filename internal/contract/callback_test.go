package contract_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// troubles collects what OnError is told.
type troubles struct{ wstest.Journal }

func (j *troubles) option() wskit.HubOption {
	return wskit.WithOnError(func(op string, err error) {
		var pe *wskit.PanicError
		if errors.As(err, &pe) && (len(pe.Stack) == 0 || pe.Op == "") {
			j.Note("%s: a PanicError without stack or place", op)
			return
		}
		j.Note("%s", op)
	})
}

// A panic in a callback costs that call and is reported; the hub, its subscribers and the other callbacks go on.
func TestAPanicInACallbackCostsThatCallOnly(t *testing.T) {
	boom := func() { panic(errors.New("boom")) }
	for name, c := range map[string]struct {
		opt   wskit.HubOption
		cause func(*wskit.Hub)
	}{
		"OnConnect":    {wskit.WithOnConnect(func(wskit.Subscriber) { boom() }), func(h *wskit.Hub) { h.Register(&wstest.Probe{}) }},
		"OnDisconnect": {wskit.WithOnDisconnect(func(wskit.Subscriber) { boom() }), func(h *wskit.Hub) { p := &wstest.Probe{}; h.Register(p); h.Unregister(p) }},
	} {
		t.Run(name, func(t *testing.T) {
			var errs troubles
			hub := wstest.Run(t, c.opt, errs.option())
			for range 20 { // more than any budget: these are no crashes of the listener
				c.cause(hub.Hub)
			}
			errs.Expect(t, strings.Split(strings.TrimSuffix(strings.Repeat(name+" ", 20), " "), " ")...)
			p := &wstest.Probe{}
			hub.Register(p)
			hub.Broadcast([]byte("1"))
			p.Expect(t, "1")
		})
	}
}

func TestAPanicInOnErrorIsNoTrouble(t *testing.T) {
	calls := make(chan string, 99)
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { panic(1) }), wskit.WithOnError(func(op string, err error) { calls <- op; panic(2) }))
	for range 15 {
		p := &wstest.Probe{}
		hub.Register(p)
		hub.Broadcast([]byte("1"))
		if op := wstest.Receive(t, "OnError", calls); op != "OnConnect" {
			t.Error(op)
		}
		p.Expect(t, "1")
		hub.Unregister(p)
	}
}

func TestAPanicInOnTimeoutIsReportedAndGoesNoFurther(t *testing.T) {
	var errs troubles
	hub := wstest.Idle(t, wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(time.Millisecond), wskit.WithOnTimeout(func(string) { panic("OnTimeout") }), errs.option())
	hub.Broadcast([]byte("x"))
	hub.Start(t)
	errs.Expect(t, "OnTimeout")
}

// A panic in OnMessage closes that connection with 1011, and it alone.
func TestAPanicInOnMessageClosesThatConnectionWith1011(t *testing.T) {
	var errs troubles
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, errs.option(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }), wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
		if string(data) == "panic" {
			panic("OnMessage")
		}
		wstest.Echo(c, data)
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	victim, c := srv.Browser(t)
	other, _ := srv.Browser(t)
	victim.Say(t, "panic")
	victim.Ends(t, websocket.StatusInternalError)
	if s := wstest.Receive(t, "OnDisconnect", gone); s != c {
		t.Error("of another")
	}
	other.Say(t, "1")
	other.Expect(t, "echo 1")
	errs.Expect(t, "OnMessage")
	hub.Count(t, 1)
}

// A panic in a foreign subscriber's Send unregisters it; one in Close costs nothing at all.
func TestAPanicInAForeignSubscribersSendOrCloseHarmsItAlone(t *testing.T) {
	var errs troubles
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, errs.option(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	bad := &wstest.Probe{OnSend: func(string) bool { panic("Send") }, OnClose: func() { panic("Close") }}
	good := &wstest.Probe{}
	hub.Register(bad)
	hub.Register(good)
	hub.Broadcast([]byte("1"))
	if s := wstest.Receive(t, "OnDisconnect", gone); s != bad {
		t.Error("of another")
	}
	hub.Broadcast([]byte("2"))
	good.Expect(t, "1", "2")
	bad.Expect(t, "1", wstest.Closed)
	errs.Expect(t, "Send", "Close")
	hub.Count(t, 1)
	hub.Register(bad) // it may try again
	hub.Count(t, 2)
}

// A panic in MarshalJSON is BroadcastEvent's error.
func TestAPanicInMarshalJSONIsAnError(t *testing.T) {
	hub := wstest.Run(t)
	var pe *wskit.PanicError
	if err := hub.BroadcastEvent(t.Context(), badJSON{}); !errors.As(err, &pe) || len(pe.Stack) == 0 {
		t.Error(err)
	}
}

// What a program may do in a callback: call the hub, every way there is.
func TestCallbacksMayCallTheHub(t *testing.T) {
	everything := func(hub *wskit.Hub, s wskit.Subscriber) {
		hub.Broadcast([]byte("from a callback"))
		_ = hub.BroadcastJSON(context.Background(), "t", hub.SubscriberCount())
		p := &wstest.Probe{}
		hub.Register(p)
		hub.Unregister(p)
		hub.Register(s)
		_ = hub.PID()
	}
	for _, name := range []string{"OnConnect", "OnDisconnect", "OnError", "OnMessage", "Send", "Close"} {
		t.Run(name, func(t *testing.T) {
			var hub *wskit.Hub
			ready, once := make(chan struct{}), make(chan struct{}, 1)
			reached := make(chan struct{})
			call := func(at string, s wskit.Subscriber) {
				<-ready
				if at != name {
					return
				}
				select {
				case once <- struct{}{}: // or the callbacks it causes would go on for ever
				default:
					return
				}
				for range 100 { // more than any queue of the callbacks takes, were there one
					everything(hub, s)
				}
				close(reached)
			}
			r := wstest.Run(t, wskit.WithChannelTimeout(wstest.Patience), wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }),
				wskit.WithOnConnect(func(s wskit.Subscriber) {
					call("OnConnect", s)
					if name == "OnError" {
						panic("for OnError")
					}
				}),
				wskit.WithOnDisconnect(func(s wskit.Subscriber) { call("OnDisconnect", s) }),
				wskit.WithOnError(func(string, error) { call("OnError", &wstest.Probe{}) }),
				wskit.WithOnMessage(func(c *wskit.Client, data []byte) { call("OnMessage", c); wstest.Echo(c, data) }))
			hub = r.Hub
			close(ready)
			srv := wstest.Serve(t, hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithSendBufSize(1000)}})
			ws, _ := srv.Browser(t)
			p := &wstest.Probe{}
			p.OnSend = func(string) bool { call("Send", p); return true }
			p.OnClose = func() { call("Close", p) }
			hub.Register(p)
			hub.Broadcast([]byte("to Send"))
			hub.Unregister(p)
			ws.Say(t, "to OnMessage")
			wstest.Receive(t, name+" returns", reached)
			for text := ""; text != "end"; {
				hub.Broadcast([]byte("end"))
				var err error
				if text, err = ws.Next(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// OnTimeout runs on the caller's goroutine, and may call the hub too.
func TestOnTimeoutMayCallTheHub(t *testing.T) {
	var hub *wstest.Hub
	done := make(chan struct{})
	hub = wstest.Idle(t, wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(time.Millisecond), wskit.WithOnTimeout(func(op string) {
		hub.Register(&wstest.Probe{})
		close(done)
	}))
	hub.Broadcast(nil)
	wstest.Receive(t, "OnTimeout", done)
	hub.Start(t)
	hub.Count(t, 1)
}

// An OnConnect that blocks delays no message to anybody already connected, nor does OnDisconnect; nor a shutdown beyond its limit.
func TestACallbackThatBlocksDelaysNoMessage(t *testing.T) {
	for name, opt := range map[string]func(func(wskit.Subscriber)) wskit.HubOption{"OnConnect": wskit.WithOnConnect, "OnDisconnect": wskit.WithOnDisconnect} {
		t.Run(name, func(t *testing.T) {
			stuck, release := make(chan struct{}, 1), make(chan struct{})
			trigger := &wstest.Probe{}
			hub := wstest.Run(t, wskit.WithDrainTimeout(200*time.Millisecond), opt(func(s wskit.Subscriber) {
				if s == trigger {
					stuck <- struct{}{}
					<-release
				}
			}))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			p, c := srv.Browser(t)
			own, es := &wstest.Probe{}, srv.Stream(t)
			hub.Register(own)
			hub.Count(t, 3)
			hub.Broadcast([]byte("0"))
			es.Expect(t, "0")
			p.Expect(t, "0")
			own.Expect(t, "0")
			hub.Register(trigger)
			hub.Unregister(trigger)
			wstest.Receive(t, "the callback", stuck)
			for i := range 100 {
				hub.Broadcast(fmt.Append(nil, i))
				c.Send([]byte("s"))
				es.Expect(t, fmt.Sprint(i))
				for range 2 {
					if _, err := p.Next(); err != nil {
						t.Fatal(err)
					}
				}
			}
			wstest.Eventually(t, "the foreign subscriber got all", func() bool { return own.Len() == 101 })
			hub.Stop()
			p.Ends(t, websocket.StatusGoingAway)
			wstest.Quickly(t, "the shutdown", 3*time.Second, func() { hub.Halt(t) })
			close(release)
		})
	}
}

// A foreign subscriber that blocks in Send, or in Close, harms nobody; what it is sent waits, within a bound.
func TestAForeignSubscriberThatBlocksHarmsNobody(t *testing.T) {
	release := make(chan struct{})
	hub := wstest.Run(t, wskit.WithDrainTimeout(200*time.Millisecond))
	stuck := &wstest.Probe{OnSend: func(string) bool { <-release; return true }}
	stuckClosing := &wstest.Probe{OnClose: func() { <-release }}
	good := &wstest.Probe{}
	hub.Register(stuck)
	hub.Register(stuckClosing)
	hub.Unregister(stuckClosing)
	hub.Register(good)
	p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	for i := range 1000 {
		hub.Broadcast(fmt.Append(nil, i))
		p.Expect(t, fmt.Sprint(i))
	}
	wstest.Eventually(t, "the other got all", func() bool { return good.Len() == 1000 })
	hub.Unregister(stuck)
	hub.Count(t, 2)
	hub.Stop()
	p.Ends(t, websocket.StatusGoingAway)
	wstest.Quickly(t, "the shutdown", 3*time.Second, func() { hub.Halt(t) })
	close(release)
	// What it had not taken by the drain timeout is gone; it is closed all the same.
	wstest.Eventually(t, "Close", func() bool { return strings.HasSuffix(stuck.Text(), wstest.Closed) })
}

// Subscribers whose Send says false stay; the hub calls each Close once.
func TestASendThatSaysFalseIsADroppedMessageAndNothingElse(t *testing.T) {
	hub := wstest.Run(t)
	p := &wstest.Probe{OnSend: func(s string) bool { return s == "1" }}
	hub.Register(p)
	for i := range 3 {
		hub.Broadcast(fmt.Append(nil, i))
	}
	p.Expect(t, "0", "1", "2")
	hub.Count(t, 1)
	hub.Unregister(p)
	hub.Halt(t)
	p.Expect(t, "0", "1", "2", wstest.Closed)
}
