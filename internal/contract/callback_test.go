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
)

// troubles collects what OnError is told.
type troubles struct{ journal }

func (j *troubles) option() wskit.HubOption {
	return wskit.WithOnError(func(op string, err error) {
		var pe *wskit.PanicError
		if errors.As(err, &pe) && (len(pe.Stack) == 0 || pe.Op == "") {
			j.add("%s: a PanicError without stack or place", op)
			return
		}
		j.add("%s", op)
	})
}

// A panic in a callback costs that call and is reported; the hub, its subscribers and the other callbacks go on.
func TestAPanicInACallbackCostsThatCallOnly(t *testing.T) {
	boom := func() { panic(errors.New("boom")) }
	for name, c := range map[string]struct {
		opt   wskit.HubOption
		cause func(*wskit.Hub)
	}{
		"OnConnect":    {wskit.WithOnConnect(func(wskit.Subscriber) { boom() }), func(h *wskit.Hub) { h.Register(&probe{}) }},
		"OnDisconnect": {wskit.WithOnDisconnect(func(wskit.Subscriber) { boom() }), func(h *wskit.Hub) { p := &probe{}; h.Register(p); h.Unregister(p) }},
	} {
		t.Run(name, func(t *testing.T) {
			var errs troubles
			hub := run(t, c.opt, errs.option())
			for range 20 { // more than any budget: these are no crashes of the listener
				c.cause(hub.Hub)
			}
			errs.expect(t, strings.Split(strings.TrimSuffix(strings.Repeat(name+" ", 20), " "), " ")...)
			p := &probe{}
			hub.Register(p)
			hub.Broadcast([]byte("1"))
			p.expect(t, "1")
		})
	}
}

func TestAPanicInOnErrorIsNoTrouble(t *testing.T) {
	calls := make(chan string, 99)
	hub := run(t, wskit.WithOnConnect(func(wskit.Subscriber) { panic(1) }), wskit.WithOnError(func(op string, err error) { calls <- op; panic(2) }))
	for range 15 {
		p := &probe{}
		hub.Register(p)
		hub.Broadcast([]byte("1"))
		if op := receive(t, "OnError", calls); op != "OnConnect" {
			t.Error(op)
		}
		p.expect(t, "1")
		hub.Unregister(p)
	}
}

func TestAPanicInOnTimeoutIsReportedAndGoesNoFurther(t *testing.T) {
	var errs troubles
	hub := idle(t, wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(time.Millisecond), wskit.WithOnTimeout(func(string) { panic("OnTimeout") }), errs.option())
	hub.Broadcast([]byte("x"))
	hub.start(t)
	errs.expect(t, "OnTimeout")
}

// A panic in OnMessage closes that connection with 1011, and it alone.
func TestAPanicInOnMessageClosesThatConnectionWith1011(t *testing.T) {
	var errs troubles
	gone := make(chan wskit.Subscriber, 9)
	hub := run(t, errs.option(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }), wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
		if string(data) == "panic" {
			panic("OnMessage")
		}
		echo(c, data)
	}))
	srv := serve(t, hub.Hub, serving{})
	victim, c := srv.dial(t)
	other, _ := srv.dial(t)
	victim.say(t, "panic")
	victim.ends(t, websocket.StatusInternalError)
	if s := receive(t, "OnDisconnect", gone); s != c {
		t.Error("of another")
	}
	other.say(t, "1")
	other.expect(t, "echo 1")
	errs.expect(t, "OnMessage")
	hub.count(t, 1)
}

// A panic in a foreign subscriber's Send unregisters it; one in Close costs nothing at all.
func TestAPanicInAForeignSubscribersSendOrCloseHarmsItAlone(t *testing.T) {
	var errs troubles
	gone := make(chan wskit.Subscriber, 9)
	hub := run(t, errs.option(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	bad := &probe{onSend: func(string) bool { panic("Send") }, onClose: func() { panic("Close") }}
	good := &probe{}
	hub.Register(bad)
	hub.Register(good)
	hub.Broadcast([]byte("1"))
	if s := receive(t, "OnDisconnect", gone); s != bad {
		t.Error("of another")
	}
	hub.Broadcast([]byte("2"))
	good.expect(t, "1", "2")
	bad.expect(t, "1", closed)
	errs.expect(t, "Send", "Close")
	hub.count(t, 1)
	hub.Register(bad) // it may try again
	hub.count(t, 2)
}

// A panic in MarshalJSON is BroadcastEvent's error.
func TestAPanicInMarshalJSONIsAnError(t *testing.T) {
	hub := run(t)
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
		p := &probe{}
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
			r := run(t, wskit.WithChannelTimeout(patience), wskit.WithOnTimeout(func(op string) { t.Error("timeout of", op) }),
				wskit.WithOnConnect(func(s wskit.Subscriber) {
					call("OnConnect", s)
					if name == "OnError" {
						panic("for OnError")
					}
				}),
				wskit.WithOnDisconnect(func(s wskit.Subscriber) { call("OnDisconnect", s) }),
				wskit.WithOnError(func(string, error) { call("OnError", &probe{}) }),
				wskit.WithOnMessage(func(c *wskit.Client, data []byte) { call("OnMessage", c); echo(c, data) }))
			hub = r.Hub
			close(ready)
			srv := serve(t, hub, serving{client: []wskit.ClientOption{wskit.WithSendBufSize(1000)}})
			ws, _ := srv.dial(t)
			p := &probe{}
			p.onSend = func(string) bool { call("Send", p); return true }
			p.onClose = func() { call("Close", p) }
			hub.Register(p)
			hub.Broadcast([]byte("to Send"))
			hub.Unregister(p)
			ws.say(t, "to OnMessage")
			receive(t, name+" returns", reached)
			for text := ""; text != "end"; {
				hub.Broadcast([]byte("end"))
				var err error
				if text, err = ws.next(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// OnTimeout runs on the caller's goroutine, and may call the hub too.
func TestOnTimeoutMayCallTheHub(t *testing.T) {
	var hub *runner
	done := make(chan struct{})
	hub = idle(t, wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(time.Millisecond), wskit.WithOnTimeout(func(op string) {
		hub.Register(&probe{})
		close(done)
	}))
	hub.Broadcast(nil)
	receive(t, "OnTimeout", done)
	hub.start(t)
	hub.count(t, 1)
}

// An OnConnect that blocks delays no message to anybody already connected, nor does OnDisconnect; nor a shutdown beyond its limit.
func TestACallbackThatBlocksDelaysNoMessage(t *testing.T) {
	for name, opt := range map[string]func(func(wskit.Subscriber)) wskit.HubOption{"OnConnect": wskit.WithOnConnect, "OnDisconnect": wskit.WithOnDisconnect} {
		t.Run(name, func(t *testing.T) {
			stuck, release := make(chan struct{}, 1), make(chan struct{})
			trigger := &probe{}
			hub := run(t, wskit.WithDrainTimeout(200*time.Millisecond), opt(func(s wskit.Subscriber) {
				if s == trigger {
					stuck <- struct{}{}
					<-release
				}
			}))
			srv := serve(t, hub.Hub, serving{})
			p, c := srv.dial(t)
			own, es := &probe{}, srv.stream(t)
			hub.Register(own)
			hub.count(t, 3)
			hub.Broadcast([]byte("0"))
			es.expect(t, "0")
			p.expect(t, "0")
			own.expect(t, "0")
			hub.Register(trigger)
			hub.Unregister(trigger)
			receive(t, "the callback", stuck)
			for i := range 100 {
				hub.Broadcast(fmt.Append(nil, i))
				c.Send([]byte("s"))
				es.expect(t, fmt.Sprint(i))
				for range 2 {
					if _, err := p.next(); err != nil {
						t.Fatal(err)
					}
				}
			}
			eventually(t, "the foreign subscriber got all", func() bool { return own.len() == 101 })
			hub.stop()
			p.ends(t, websocket.StatusGoingAway)
			quickly(t, "the shutdown", 3*time.Second, func() { hub.halt(t) })
			close(release)
		})
	}
}

// A foreign subscriber that blocks in Send, or in Close, harms nobody; what it is sent waits, within a bound.
func TestAForeignSubscriberThatBlocksHarmsNobody(t *testing.T) {
	release := make(chan struct{})
	hub := run(t, wskit.WithDrainTimeout(200*time.Millisecond))
	stuck := &probe{onSend: func(string) bool { <-release; return true }}
	stuckClosing := &probe{onClose: func() { <-release }}
	good := &probe{}
	hub.Register(stuck)
	hub.Register(stuckClosing)
	hub.Unregister(stuckClosing)
	hub.Register(good)
	p, _ := serve(t, hub.Hub, serving{}).dial(t)
	for i := range 1000 {
		hub.Broadcast(fmt.Append(nil, i))
		p.expect(t, fmt.Sprint(i))
	}
	eventually(t, "the other got all", func() bool { return good.len() == 1000 })
	hub.Unregister(stuck)
	hub.count(t, 2)
	hub.stop()
	p.ends(t, websocket.StatusGoingAway)
	quickly(t, "the shutdown", 3*time.Second, func() { hub.halt(t) })
	close(release)
	// What it had not taken by the drain timeout is gone; it is closed all the same.
	eventually(t, "Close", func() bool { return strings.HasSuffix(stuck.all(), closed) })
}

// Subscribers whose Send says false stay; the hub calls each Close once.
func TestASendThatSaysFalseIsADroppedMessageAndNothingElse(t *testing.T) {
	hub := run(t)
	p := &probe{onSend: func(s string) bool { return s == "1" }}
	hub.Register(p)
	for i := range 3 {
		hub.Broadcast(fmt.Append(nil, i))
	}
	p.expect(t, "0", "1", "2")
	hub.count(t, 1)
	hub.Unregister(p)
	hub.halt(t)
	p.expect(t, "0", "1", "2", closed)
}
