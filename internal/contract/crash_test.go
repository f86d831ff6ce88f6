package contract_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// A crash of a connection's actor closes that connection with 1011, and it alone.
func TestACrashOfAConnectionsActorEndsItWith1011AndItAlone(t *testing.T) {
	var errs troubles
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, errs.option(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p, c := srv.Browser(t)
	pid := wstest.One(t, hub.Hub, "ws-")
	other, _ := srv.Browser(t)
	wstest.Crash(pid, "test")
	p.Ends(t, websocket.StatusInternalError)
	if s := wstest.Receive(t, "OnDisconnect", gone); s != c {
		t.Error("of another")
	}
	if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	hub.Broadcast([]byte("1"))
	other.Expect(t, "1")
	hub.Count(t, 1)
	errs.Expect(t, pid.Id)
}

func TestACrashOfAStreamsOrAForeignSubscribersActorEndsItAlone(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	es, own := srv.Stream(t), &wstest.Probe{}
	hub.Register(own)
	other, _ := srv.Browser(t)
	hub.Count(t, 3)
	wstest.Crash(wstest.One(t, hub.Hub, "sse-"), "test")
	wstest.Crash(wstest.One(t, hub.Hub, "sub-"), "test")
	if _, more := <-es.Events; more {
		t.Error("the stream goes on")
	}
	_ = wstest.Receive(t, "AcceptSSE returns", srv.Streamed)
	own.Expect(t, wstest.Closed)
	hub.Count(t, 1)
	hub.Broadcast([]byte("1"))
	other.Expect(t, "1")
}

// A crash of the listener, the connections' supervisor or the registry: no connection notices, no broadcast and no callback is lost.
func TestACrashOfListenerConnectionsOrRegistryLosesNothing(t *testing.T) {
	for _, who := range []string{"listener", "connections", "registry"} {
		t.Run(who, func(t *testing.T) {
			var events wstest.Journal
			hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { events.Note("+") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { events.Note("-") }))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			p, _ := srv.Browser(t)
			es, own := srv.Stream(t), &wstest.Probe{}
			hub.Register(own)
			hub.Count(t, 3)
			pid := wstest.One(t, hub.Hub, who)
			var want []string
			for i := range 1000 {
				if i%100 == 50 {
					wstest.Crash(pid, "test")
				}
				text := fmt.Sprint(i)
				hub.Broadcast([]byte(text))
				p.Expect(t, text)
				es.Expect(t, text)
				want = append(want, text)
			}
			own.Expect(t, want...)
			hub.Count(t, 3)
			// Members come and go as before.
			hub.Unregister(own)
			late, _ := srv.Browser(t)
			hub.Broadcast([]byte("late"))
			late.Expect(t, "late")
			own.Expect(t, append(want, wstest.Closed)...)
			hub.Count(t, 3)
			_ = p.CloseNow()
			es.End()
			_ = late.CloseNow()
			hub.Count(t, 0)
			hub.Halt(t)
			if all := fmt.Sprint(events.All()); strings.Count(all, "+") != 4 || strings.Count(all, "-") != 4 {
				t.Error(all)
			}
		})
	}
}

// The same with a burst in the registry's mailbox, and a subscriber that leaves while it is down.
func TestABurstAcrossCrashesOfTheRegistryLosesNothing(t *testing.T) {
	hub := wstest.Run(t)
	own := &wstest.Probe{}
	hub.Register(own)
	pid := wstest.One(t, hub.Hub, "registry")
	var want []string
	for i := range 5000 {
		if i%600 == 10 {
			wstest.Crash(pid, "test")
			p := &wstest.Probe{}
			hub.Register(p)
			hub.Unregister(p)
		}
		hub.Broadcast(fmt.Append(nil, i))
		want = append(want, fmt.Sprint(i))
	}
	own.Expect(t, want...)
	hub.Count(t, 1)
}

// "A permanent child over its budget ends the hub, and Run returns": 10 crashes in 10 s are forgiven, the 11th is not.
func TestMoreThanTenCrashesInTenSecondsEndTheHubAndRunReturns(t *testing.T) {
	for _, who := range []string{"listener", "connections", "registry"} {
		t.Run(who, func(t *testing.T) {
			var errs troubles
			hub := wstest.Run(t, errs.option())
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			p, c := srv.Browser(t)
			pid := wstest.One(t, hub.Hub, who)
			for range 10 {
				wstest.Crash(pid, "test")
			}
			hub.Broadcast([]byte("alive"))
			p.Expect(t, "alive")
			wstest.Silent(t, "Run returned after ten", hub.Done)
			wstest.Crash(pid, "test")
			p.Ends(t, websocket.StatusGoingAway)
			wstest.Receive(t, "Run returns", hub.Done)
			if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
				t.Error(err)
			}
			hub.Broadcast([]byte("to nobody"))
			own := &wstest.Probe{}
			hub.Register(own)
			own.Expect(t, wstest.Closed)
		})
	}
}

// A permanent child that is stopped from outside ends the hub as well; so does a crash of the hub's own actor. Orderly.
func TestTheEndOfAPermanentActorEndsTheHubInOrder(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, h *wskit.Hub){
		"listener":    func(t *testing.T, h *wskit.Hub) { actors.System().Root.Stop(wstest.One(t, h, "listener")) },
		"connections": func(t *testing.T, h *wskit.Hub) { actors.System().Root.Stop(wstest.One(t, h, "connections")) },
		"registry":    func(t *testing.T, h *wskit.Hub) { actors.System().Root.Stop(wstest.One(t, h, "registry")) },
		"poison":      func(t *testing.T, h *wskit.Hub) { actors.System().Root.Poison(h.PID()) },
		"stop":        func(t *testing.T, h *wskit.Hub) { actors.System().Root.Stop(h.PID()) },
		"crash":       func(t *testing.T, h *wskit.Hub) { wstest.Crash(h.PID(), "test") },
	} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			p, _ := srv.Browser(t)
			es := srv.Stream(t)
			hub.Count(t, 2)
			end(t, hub.Hub)
			p.Ends(t, websocket.StatusGoingAway)
			if _, more := <-es.Events; more {
				t.Error("the stream goes on")
			}
			wstest.Receive(t, "Run returns", hub.Done)
			own := &wstest.Probe{}
			hub.Register(own)
			own.Expect(t, wstest.Closed)
		})
	}
}

// Nothing the hub is sent can make it crash: messages of a wrong type, by value, half filled.
func TestMessagesThatMakeNoSenseAreIgnored(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))
	p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	for _, m := range nonsense() {
		actors.System().Root.Send(hub.PID(), m)
	}
	hub.Broadcast([]byte("alive"))
	p.Expect(t, "alive")
	if n := len(wstest.Tree(t, hub.Hub)); n != 5 {
		t.Error(n)
	}
}

// Nor messages that are nil pointers.
func TestNilMessagesAreIgnored(t *testing.T) {
	for _, m := range []any{(*actors.Broadcast)(nil), (*actors.Register)(nil), (*actors.Unregister)(nil), (*actors.Publish)(nil), (*actors.Shutdown)(nil)} {
		t.Run(fmt.Sprintf("%T", m), func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))
			hub.Count(t, 0)
			actors.System().Root.Send(hub.PID(), m)
			wstest.Silent(t, "the hub ended", hub.Done)
		})
	}
}

// Nor questions without a channel for the answer, which must not block the hub.
func TestQuestionsWithoutAReplyChannelAreIgnored(t *testing.T) {
	for _, m := range []any{&actors.Count{}, &actors.Tree{}, &actors.Describe{}} {
		t.Run(fmt.Sprintf("%T", m), func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithDrainTimeout(100*time.Millisecond))
			hub.Count(t, 0)
			actors.System().Root.Send(hub.PID(), m)
			count := make(chan int, 1)
			actors.System().Root.Send(hub.PID(), &actors.Count{Reply: count})
			wstest.Receive(t, "the hub answers the next question", count)
		})
	}
}

// A hub of the caller's own actor system leaves nothing in the shared one, and its name is as given, or unique.
func TestWithActorSystemAndWithName(t *testing.T) {
	wstest.Clean(t)
	before := len(wstest.Processes(actors.System()))
	own := actors.NewSystem(actor.WithLoggerFactory(silentLogger))
	ownBefore := len(wstest.Processes(own))
	var hubs []*wstest.Hub
	for range 3 {
		hubs = append(hubs, wstest.Run(t, wskit.WithActorSystem(own), wskit.WithName("chat")))
	}
	names := map[string]bool{}
	for _, hub := range hubs {
		p := &wstest.Probe{}
		hub.Register(p)
		hub.Broadcast([]byte("1"))
		p.Expect(t, "1")
		id := hub.PID().Id
		if !strings.HasPrefix(id, "chat") || names[id] {
			t.Error(id)
		}
		names[id] = true
		if pid := hub.PID(); pid == nil || pid != hub.PID() {
			t.Error("PID changes")
		}
	}
	if !names["chat"] { // who was first has it, and Run is called on goroutines
		t.Error(names)
	}
	if n := len(wstest.Processes(actors.System())); n != before {
		t.Errorf("%d processes in the shared system, before %d", n, before)
	}
	for _, hub := range hubs {
		hub.Halt(t)
	}
	wstest.Eventually(t, "the own system is as before", func() bool { return len(wstest.Processes(own)) == ownBefore })

	// The name is free again.
	again := wstest.Run(t, wskit.WithActorSystem(own), wskit.WithName("chat"))
	if id := again.PID().Id; id != "chat" {
		t.Error(id)
	}
	// Without a name, and with nil for a system: in the shared one.
	unnamed := wstest.Run(t, wskit.WithActorSystem(nil), wskit.WithName(""))
	if id := unnamed.PID().Id; !strings.HasPrefix(id, "wskit-") {
		t.Error(id)
	}
}
