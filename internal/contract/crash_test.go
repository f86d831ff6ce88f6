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
)

// A crash of a connection's actor closes that connection with 1011, and it alone.
func TestACrashOfAConnectionsActorEndsItWith1011AndItAlone(t *testing.T) {
	var errs troubles
	gone := make(chan wskit.Subscriber, 9)
	hub := run(t, errs.option(), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	srv := serve(t, hub.Hub, serving{})
	p, c := srv.dial(t)
	pid := one(t, hub.Hub, "ws-")
	other, _ := srv.dial(t)
	crash(pid)
	p.ends(t, websocket.StatusInternalError)
	if s := receive(t, "OnDisconnect", gone); s != c {
		t.Error("of another")
	}
	if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	hub.Broadcast([]byte("1"))
	other.expect(t, "1")
	hub.count(t, 1)
	errs.expect(t, pid.Id)
}

func TestACrashOfAStreamsOrAForeignSubscribersActorEndsItAlone(t *testing.T) {
	hub := run(t)
	srv := serve(t, hub.Hub, serving{})
	es, own := srv.stream(t), &probe{}
	hub.Register(own)
	other, _ := srv.dial(t)
	hub.count(t, 3)
	crash(one(t, hub.Hub, "sse-"))
	crash(one(t, hub.Hub, "sub-"))
	if _, more := <-es.events; more {
		t.Error("the stream goes on")
	}
	_ = receive(t, "AcceptSSE returns", srv.streamed)
	own.expect(t, closed)
	hub.count(t, 1)
	hub.Broadcast([]byte("1"))
	other.expect(t, "1")
}

// A crash of the listener, the connections' supervisor or the registry: no connection notices, no broadcast and no callback is lost.
func TestACrashOfListenerConnectionsOrRegistryLosesNothing(t *testing.T) {
	for _, who := range []string{"listener", "connections", "registry"} {
		t.Run(who, func(t *testing.T) {
			var events journal
			hub := run(t, wskit.WithOnConnect(func(wskit.Subscriber) { events.add("+") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { events.add("-") }))
			srv := serve(t, hub.Hub, serving{})
			p, _ := srv.dial(t)
			es, own := srv.stream(t), &probe{}
			hub.Register(own)
			hub.count(t, 3)
			pid := one(t, hub.Hub, who)
			var want []string
			for i := range 1000 {
				if i%100 == 50 {
					crash(pid)
				}
				text := fmt.Sprint(i)
				hub.Broadcast([]byte(text))
				p.expect(t, text)
				es.expect(t, text)
				want = append(want, text)
			}
			own.expect(t, want...)
			hub.count(t, 3)
			// Members come and go as before.
			hub.Unregister(own)
			late, _ := srv.dial(t)
			hub.Broadcast([]byte("late"))
			late.expect(t, "late")
			own.expect(t, append(want, closed)...)
			hub.count(t, 3)
			_ = p.CloseNow()
			es.end()
			_ = late.CloseNow()
			hub.count(t, 0)
			hub.halt(t)
			if all := fmt.Sprint(events.list()); strings.Count(all, "+") != 4 || strings.Count(all, "-") != 4 {
				t.Error(all)
			}
		})
	}
}

// The same with a burst in the registry's mailbox, and a subscriber that leaves while it is down.
func TestABurstAcrossCrashesOfTheRegistryLosesNothing(t *testing.T) {
	hub := run(t)
	own := &probe{}
	hub.Register(own)
	pid := one(t, hub.Hub, "registry")
	var want []string
	for i := range 5000 {
		if i%600 == 10 {
			crash(pid)
			p := &probe{}
			hub.Register(p)
			hub.Unregister(p)
		}
		hub.Broadcast(fmt.Append(nil, i))
		want = append(want, fmt.Sprint(i))
	}
	own.expect(t, want...)
	hub.count(t, 1)
}

// "A permanent child over its budget ends the hub, and Run returns": 10 crashes in 10 s are forgiven, the 11th is not.
func TestMoreThanTenCrashesInTenSecondsEndTheHubAndRunReturns(t *testing.T) {
	for _, who := range []string{"listener", "connections", "registry"} {
		t.Run(who, func(t *testing.T) {
			var errs troubles
			hub := run(t, errs.option())
			srv := serve(t, hub.Hub, serving{})
			p, c := srv.dial(t)
			pid := one(t, hub.Hub, who)
			for range 10 {
				crash(pid)
			}
			hub.Broadcast([]byte("alive"))
			p.expect(t, "alive")
			silent(t, "Run returned after ten", hub.done)
			crash(pid)
			p.ends(t, websocket.StatusGoingAway)
			receive(t, "Run returns", hub.done)
			if err := c.SendErr(nil); !errors.Is(err, wskit.ErrHubStopped) {
				t.Error(err)
			}
			hub.Broadcast([]byte("to nobody"))
			own := &probe{}
			hub.Register(own)
			own.expect(t, closed)
		})
	}
}

// A permanent child that is stopped from outside ends the hub as well; so does a crash of the hub's own actor. Orderly.
func TestTheEndOfAPermanentActorEndsTheHubInOrder(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, h *wskit.Hub){
		"listener":    func(t *testing.T, h *wskit.Hub) { system().Root.Stop(one(t, h, "listener")) },
		"connections": func(t *testing.T, h *wskit.Hub) { system().Root.Stop(one(t, h, "connections")) },
		"registry":    func(t *testing.T, h *wskit.Hub) { system().Root.Stop(one(t, h, "registry")) },
		"poison":      func(t *testing.T, h *wskit.Hub) { system().Root.Poison(h.PID()) },
		"stop":        func(t *testing.T, h *wskit.Hub) { system().Root.Stop(h.PID()) },
		"crash":       func(t *testing.T, h *wskit.Hub) { crash(h.PID()) },
	} {
		t.Run(name, func(t *testing.T) {
			hub := run(t)
			srv := serve(t, hub.Hub, serving{})
			p, _ := srv.dial(t)
			es := srv.stream(t)
			hub.count(t, 2)
			end(t, hub.Hub)
			p.ends(t, websocket.StatusGoingAway)
			if _, more := <-es.events; more {
				t.Error("the stream goes on")
			}
			receive(t, "Run returns", hub.done)
			own := &probe{}
			hub.Register(own)
			own.expect(t, closed)
		})
	}
}

// Nothing the hub is sent can make it crash: messages of a wrong type, by value, half filled.
func TestMessagesThatMakeNoSenseAreIgnored(t *testing.T) {
	hub := run(t, wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))
	p, _ := serve(t, hub.Hub, serving{}).dial(t)
	for _, m := range nonsense() {
		system().Root.Send(hub.PID(), m)
	}
	hub.Broadcast([]byte("alive"))
	p.expect(t, "alive")
	if n := len(tree(t, hub.Hub)); n != 5 {
		t.Error(n)
	}
}

// Nor messages that are nil pointers.
func TestNilMessagesAreIgnored(t *testing.T) {
	for _, m := range []any{(*actors.Broadcast)(nil), (*actors.Register)(nil), (*actors.Unregister)(nil), (*actors.Publish)(nil), (*actors.Shutdown)(nil)} {
		t.Run(fmt.Sprintf("%T", m), func(t *testing.T) {
			hub := run(t, wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))
			hub.count(t, 0)
			system().Root.Send(hub.PID(), m)
			silent(t, "the hub ended", hub.done)
		})
	}
}

// Nor questions without a channel for the answer, which must not block the hub.
func TestQuestionsWithoutAReplyChannelAreIgnored(t *testing.T) {
	for _, m := range []any{&actors.Count{}, &actors.Tree{}, &actors.Describe{}} {
		t.Run(fmt.Sprintf("%T", m), func(t *testing.T) {
			hub := run(t, wskit.WithDrainTimeout(100*time.Millisecond))
			hub.count(t, 0)
			system().Root.Send(hub.PID(), m)
			count := make(chan int, 1)
			system().Root.Send(hub.PID(), &actors.Count{Reply: count})
			receive(t, "the hub answers the next question", count)
		})
	}
}

// A hub of the caller's own actor system leaves nothing in the shared one, and its name is as given, or unique.
func TestWithActorSystemAndWithName(t *testing.T) {
	clean(t)
	before := len(processes(system()))
	own := actor.NewActorSystem(actor.WithLoggerFactory(silentLogger))
	ownBefore := len(processes(own))
	var hubs []*runner
	for range 3 {
		hubs = append(hubs, run(t, wskit.WithActorSystem(own), wskit.WithName("chat")))
	}
	names := map[string]bool{}
	for _, hub := range hubs {
		p := &probe{}
		hub.Register(p)
		hub.Broadcast([]byte("1"))
		p.expect(t, "1")
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
	if n := len(processes(system())); n != before {
		t.Errorf("%d processes in the shared system, before %d", n, before)
	}
	for _, hub := range hubs {
		hub.halt(t)
	}
	eventually(t, "the own system is as before", func() bool { return len(processes(own)) == ownBefore })

	// The name is free again.
	again := run(t, wskit.WithActorSystem(own), wskit.WithName("chat"))
	if id := again.PID().Id; id != "chat" {
		t.Error(id)
	}
	// Without a name, and with nil for a system: in the shared one.
	unnamed := run(t, wskit.WithActorSystem(nil), wskit.WithName(""))
	if id := unnamed.PID().Id; !strings.HasPrefix(id, "wskit-") {
		t.Error(id)
	}
}
