package attack_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

var permanents = []string{"listener", "connections", "registry"}

// Each permanent child has a budget of its own: ten crashes of each are forgiven, whatever their order, and the eleventh of
// any one ends the hub. Each crash is logged once at Error, with the stack, the actor's name and the attempt.
func TestBudgetsHoldExactlyAndEachCrashIsLoggedWithStackNameAndAttempt(t *testing.T) {
	for _, victim := range permanents {
		t.Run(victim, func(t *testing.T) {
			var logged wstest.LogRecorder
			h := wstest.Run(t, wskit.WithLogger(slog.New(&logged)))
			p, _ := serve(t, h.Hub).Browser(t)
			pids := map[string]*actor.PID{}
			for _, name := range permanents {
				pids[name] = wstest.One(t, h.Hub, name)
			}
			for i := range 30 {
				name := permanents[i%3]
				wstest.Crash(pids[name], fmt.Sprint("crash ", i))
				wstest.Eventually(t, "the crash is logged", func() bool { return len(logged.Crashes(pids[name].Id)) == i/3+1 })
			}
			h.Broadcast([]byte("alive"))
			p.Expect(t, "alive")
			select {
			case <-h.Done:
				t.Fatal("ten crashes of each ended the hub")
			default:
			}
			for n, name := range permanents {
				for i, r := range logged.Crashes(pids[name].Id) {
					stack, _ := r.Attrs["stack"].(string)
					err, _ := r.Attrs["error"].(error)
					if r.Level != slog.LevelError || r.Attrs["attempt"] != int64(i+1) || !strings.Contains(stack, "Receive") ||
						err == nil || !strings.Contains(err.Error(), fmt.Sprint("crash ", 3*i+n)) {
						t.Errorf("crash %d of %s is logged as %v", i, name, r)
					}
				}
			}
			wstest.Crash(pids[victim], "the eleventh")
			p.Ends(t, websocket.StatusGoingAway)
			wstest.Receive(t, "Run returns", h.Done)
			last := logged.Crashes(pids[victim].Id)
			if r := last[len(last)-1]; len(last) != 11 || r.Attrs["attempt"] != int64(11) || r.Attrs["action"] != "give up" {
				t.Errorf("%d crashes are logged, the last as %v", len(last), r)
			}
		})
	}
}

// Whatever a connection's actor or its user code panics with: its own peer is told 1011, nobody else notices, and it is
// logged at Error with the stack, and with an attempt, which is the first since it is never restarted.
func TestACrashedConnectionEndsWith1011AndItsPeerOnlyHoweverItCrashed(t *testing.T) {
	for _, reason := range []any{"text", errors.New("an error"), 42, &actors.PanicError{Op: "x", Value: "y"}} {
		t.Run(fmt.Sprintf("%T", reason), func(t *testing.T) {
			var logged wstest.LogRecorder
			var gone wstest.List[wskit.Subscriber]
			h := wstest.Run(t, wskit.WithLogger(slog.New(&logged)), wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone.Add(s) }),
				wskit.WithOnMessage(func(_ *wskit.Client, data []byte) {
					if string(data) == "panic" {
						panic(reason)
					}
				}))
			srv := serve(t, h.Hub)
			first, c1 := srv.Browser(t)
			pid := wstest.One(t, h.Hub, "ws-")
			second, c2 := srv.Browser(t)
			third, _ := srv.Browser(t)
			h.Count(t, 3)
			h.Broadcast([]byte("1"))
			first.Expect(t, "1")
			wstest.Crash(pid, reason)
			first.Ends(t, websocket.StatusInternalError)
			h.Count(t, 2)
			if err := second.Write(t.Context(), websocket.MessageText, []byte("panic")); err != nil {
				t.Fatal(err)
			}
			second.Expect(t, "1")
			second.Ends(t, websocket.StatusInternalError)
			h.Count(t, 1)
			h.Broadcast([]byte("2"))
			third.Expect(t, "1", "2")
			wstest.Eventually(t, "OnDisconnect", func() bool { return slices.Equal(gone.All(), []wskit.Subscriber{c1, c2}) })
			for who, frame := range map[string]string{pid.Id: "Receive", "OnMessage": "supervise_test"} {
				if pe, ok := reason.(*actors.PanicError); ok {
					pe.Stack = []byte(frame) // its own
				}
				wstest.Eventually(t, "it is logged", func() bool { return len(logged.Crashes(who)) > 0 })
				rs := logged.Crashes(who)
				if len(rs) != 1 {
					t.Fatalf("%d crashes of %s are logged: %v", len(rs), who, logged.All())
				}
				stack, _ := rs[0].Attrs["stack"].(string)
				if _, own := reason.(*actors.PanicError); rs[0].Level != slog.LevelError || rs[0].Attrs["attempt"] != int64(1) || !own && !strings.Contains(stack, frame) {
					t.Errorf("%s is logged as %v", who, rs[0])
				}
			}
		})
	}
}

// Every panic of user code is logged at Error with its stack, wherever it is.
func TestEveryPanicInUserCodeIsLoggedAtErrorWithItsStack(t *testing.T) {
	for _, where := range []string{"OnConnect", "OnDisconnect", "OnDrop", "OnError", "OnTimeout", "Send", "Close"} {
		t.Run(where, func(t *testing.T) {
			var logged wstest.LogRecorder
			boom := func(at string) {
				if at == where || where == "OnError" && at == "OnConnect" {
					panic("boom")
				}
			}
			h := wstest.Run(t, wskit.WithLogger(slog.New(&logged)),
				wskit.WithOnConnect(func(wskit.Subscriber) { boom("OnConnect") }),
				wskit.WithOnDisconnect(func(wskit.Subscriber) { boom("OnDisconnect") }),
				wskit.WithOnDrop(func(wskit.Subscriber, []byte) { boom("OnDrop") }),
				wskit.WithOnError(func(string, error) { boom("OnError") }))
			idle := wskit.NewHub(wskit.WithLogger(slog.New(&logged)), wskit.WithBroadcastBuf(0), wskit.WithChannelTimeout(1),
				wskit.WithOnTimeout(func(string) { boom("OnTimeout") }))
			idle.Broadcast(nil)
			defer idle.Shutdown(t.Context())
			s := &rude{boom: boom}
			h.Register(s)
			h.Broadcast([]byte("x"))
			c := wskit.NewSSEClient(h.Hub, 1)
			h.Register(c)
			h.Settled(t)
			c.Send(nil)
			c.Send(nil)
			h.Unregister(s)
			h.Unregister(c)
			if !wstest.Poll(2*margin, func() bool { return len(logged.Crashes(where)) > 0 }) {
				t.Error("the panic is not logged")
			}
			for _, r := range logged.Crashes(where) {
				if stack, _ := r.Attrs["stack"].(string); r.Level != slog.LevelError || !strings.Contains(stack, "supervise_test") {
					t.Errorf("logged at %v without its stack: %v", r.Level, r.Attrs)
					break
				}
			}
		})
	}
}

type rude struct{ boom func(string) }

func (r *rude) Send([]byte) bool { r.boom("Send"); return true }
func (r *rude) Close()           { r.boom("Close") }

// A crash in the middle of a storm of operations from many goroutines: who stays gets every broadcast once and in the
// order of each sender; who comes and goes has its events in pairs.
func TestARegistryThatCrashesInAStormLosesNothingAndPairsEvents(t *testing.T) {
	const storms, rounds, stay = 6, 150, 8
	var mu sync.Mutex
	balance, connects := map[wskit.Subscriber]int{}, 0
	h := wstest.Run(t, wskit.WithDrainTimeout(wstest.Patience), wskit.WithOnConnect(func(s wskit.Subscriber) {
		mu.Lock()
		defer mu.Unlock()
		if connects++; balance[s] != 0 {
			t.Error("connected twice")
		}
		balance[s]++
	}), wskit.WithOnDisconnect(func(s wskit.Subscriber) {
		mu.Lock()
		defer mu.Unlock()
		if balance[s] != 1 {
			t.Error("disconnected without having been connected")
		}
		balance[s]--
	}))
	srv := serve(t, h.Hub, wskit.WithSendBufSize(2*storms*rounds))
	p, _ := srv.Browser(t)
	stayers := make([]*wstest.Probe, stay)
	for i := range stayers {
		stayers[i] = &wstest.Probe{}
		h.Register(stayers[i])
	}
	h.Count(t, stay+1)
	pid := wstest.One(t, h.Hub, "registry")
	var storm sync.WaitGroup
	for g := range storms {
		storm.Go(func() {
			for i := range rounds {
				guest := &wstest.Probe{}
				h.Register(guest)
				h.Broadcast([]byte(fmt.Sprint(g, " ", i)))
				if i%2 == 0 {
					h.Unregister(guest) // the others stay to the end
				}
				if g == 0 && i%15 == 7 {
					wstest.Crash(pid, "storm")
				}
			}
		})
	}
	wstest.Receive(t, "the storm is over", wstest.Begin(storm.Wait))
	h.Settled(t)
	check := func(name string, got []string) {
		next := map[int]int{}
		for _, text := range got {
			var g, i int
			if _, err := fmt.Sscan(text, &g, &i); err != nil || i != next[g] {
				t.Fatalf("%s got %q, want number %d", name, text, next[g])
			}
			next[g]++
		}
	}
	var got []string
	for range storms * rounds {
		text, err := p.Next()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, text)
	}
	check("the peer", got)
	for _, s := range stayers {
		wstest.Eventually(t, "all broadcasts", func() bool { return s.Len() >= storms*rounds })
		check("a subscriber", s.All())
	}
	if n, want := h.SubscriberCount(), stay+1+storms*rounds/2; n != want {
		t.Errorf("%d subscribers, want %d", n, want)
	}
	p.Listen(t)
	h.Halt(t)
	mu.Lock()
	defer mu.Unlock()
	if want := stay + 1 + storms*rounds + 1; connects != want { // and the one that settled
		t.Errorf("%d connects, want %d", connects, want)
	}
	for s, n := range balance {
		if n != 0 {
			t.Errorf("%T: OnConnect without OnDisconnect", s)
			break
		}
	}
}

// A supervisor that is over its budget ends the hub in order: what was accepted before is written.
func TestAHubThatGivesUpStillDrains(t *testing.T) {
	h, events := wstest.Embed(t, hubactor.Config{DrainTimeout: 5 * time.Second})
	p, _ := serve(t, h.Hub).Browser(t)
	h.Count(t, 1)
	pid := wstest.One(t, h.Hub, "connections")
	want := numbered("m", 50)
	for _, text := range want {
		h.Broadcast([]byte(text))
	}
	h.Settled(t)
	for range 11 {
		wstest.Crash(pid, "over")
	}
	p.Expect(t, want...)
	p.Ends(t, websocket.StatusGoingAway)
	wstest.Receive(t, "Run returns", h.Done)
	disconnects := 0
	wstest.Eventually(t, "the last event", func() bool {
		disconnects = 0
		for _, e := range events.All() {
			if _, ok := e.(*actors.Disconnected); ok {
				disconnects++
			}
		}
		return disconnects == 2 // the peer, and the one that settled
	})
}
