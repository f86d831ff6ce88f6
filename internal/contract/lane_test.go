package contract_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// "no message of a client is handed on before its OnConnect has returned": what it sends at once waits.
func TestAClientIsHeardWhenItsOnConnectHasReturned(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		for name, pumps := range map[string]func(*wskit.Client){"two pumps": nil, "Serve": func(c *wskit.Client) { go func() { _ = c.Serve() }() }} {
			t.Run(name, func(t *testing.T) {
				var log wstest.Journal
				release := make(chan struct{})
				hub := wstest.Run(t,
					wskit.WithOnConnect(func(s wskit.Subscriber) {
						<-release
						s.Send([]byte("welcome"))
						log.Note("connected")
					}),
					wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
						log.Note("%s", data)
						c.Send([]byte("answer"))
					}))
				b := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Pumps: pumps}).Open(t)
				b.Say(t, "hello")
				hub.Count(t, 1)
				time.AfterFunc(wstest.Hush, func() { close(release) })
				b.Expect(t, "welcome", "answer")
				log.Expect(t, "connected", "hello")
			})
		}
	})
}

// A client that reads before it is registered is registered like any other, and its messages wait from then on.
func TestAClientThatReadsAlreadyWaitsForItsOnConnectToo(t *testing.T) {
	var log wstest.Journal
	release := make(chan struct{})
	hub := wstest.Run(t,
		wskit.WithOnConnect(func(s wskit.Subscriber) { <-release; log.Note("connected") }),
		wskit.WithOnMessage(func(c *wskit.Client, data []byte) { log.Note("%s", data) }))
	clients := make(chan *wskit.Client, 1)
	srv := wstest.Listen(t, wstest.TCP, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := byHand(t, w, r)
		c := wskit.NewClient(hub.Hub, conn, context.Background())
		go c.ReadPump()
		go c.WritePump()
		clients <- c
	}))
	b := srv.Open(t)
	b.Say(t, "nobody's")
	log.Expect(t, "nobody's")
	c := wstest.Receive(t, "a client", clients)
	hub.Register(c)
	b.Say(t, "a member's")
	wstest.Silent(t, "it is heard", wstest.Begin(func() { wstest.Poll(2*wstest.Hush, func() bool { return log.Len() > 1 }) }))
	close(release)
	log.Expect(t, "nobody's", "connected", "a member's")
	c.Close()
}

// "nor after its OnDisconnect began": the handler that runs ends before, and none begins.
func TestOnDisconnectWaitsForTheMessageHandler(t *testing.T) {
	var log wstest.Journal
	begun, release := make(chan struct{}, 9), make(chan struct{})
	hub := wstest.Run(t,
		wskit.WithOnMessage(func(_ *wskit.Client, data []byte) {
			begun <- struct{}{}
			<-release
			log.Note("%s", data)
		}),
		wskit.WithOnDisconnect(func(wskit.Subscriber) { log.Note("disconnected") }))
	b, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	b.Say(t, "1")
	b.Say(t, "2")
	wstest.Receive(t, "the handler runs", begun)
	hub.Unregister(c)
	if n := hub.SubscriberCount(); n != 0 {
		t.Errorf("%d subscribers", n)
	}
	other := &wstest.Probe{} // whose OnDisconnect waits for nobody's handler
	hub.Register(other)
	hub.Unregister(other)
	log.Expect(t, "disconnected")
	close(release)
	log.Expect(t, "disconnected", "1", "disconnected")
	hub.Halt(t)
	log.Expect(t, "disconnected", "1", "disconnected") // and not "2"
}

// The end of a hub waits for it too, within the drain timeout.
func TestAStoppingHubWaitsForAMessageHandlerAndItsOnDisconnect(t *testing.T) {
	var log wstest.Journal
	begun := make(chan struct{})
	hub := wstest.Run(t,
		wskit.WithOnMessage(func(*wskit.Client, []byte) {
			close(begun)
			<-time.After(4 * wstest.Hush)
			log.Note("handled")
		}),
		wskit.WithOnDisconnect(func(wskit.Subscriber) { log.Note("disconnected") }))
	b, _ := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	b.Say(t, "1")
	b.Listen(t)
	wstest.Receive(t, "the handler runs", begun)
	hub.Halt(t)
	if got := fmt.Sprint(log.All()); got != "[handled disconnected]" {
		t.Error(got)
	}
}

// OnDrop and OnError wait for no OnConnect.
func TestOnDropAndOnErrorWaitForNoOnConnect(t *testing.T) {
	release := make(chan struct{})
	told, dropped := make(chan string, 9), make(chan string, 9)
	hub := wstest.Run(t,
		wskit.WithOnConnect(func(wskit.Subscriber) { <-release }),
		wskit.WithOnDrop(func(_ wskit.Subscriber, data []byte) {
			dropped <- string(data)
			panic("for OnError")
		}),
		wskit.WithOnError(func(op string, err error) { told <- op }))
	hub.Register(&wstest.Probe{}) // blocks the lane
	c := wskit.NewSSEClient(hub.Hub, 1)
	c.Send([]byte("1"))
	c.Send([]byte("2"))
	if got := wstest.Receive(t, "OnDrop", dropped); got != "2" {
		t.Error(got)
	}
	if got := wstest.Receive(t, "OnError", told); got != "OnDrop" {
		t.Error(got)
	}
	close(release)
	c.Close()
}

// One at a time is the default, in the order of registrations; with n, n, and those of one subscriber stay in order.
func TestCallbacksRunAsManyAtATimeAsWasAskedFor(t *testing.T) {
	for _, n := range []int{0, 1, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			want := max(n, 1)
			var running, most atomic.Int32
			var order sync.Map // of each subscriber
			var first wstest.Journal
			full := make(chan struct{})
			enter := func(s wskit.Subscriber, what string) {
				now := running.Add(1)
				defer running.Add(-1)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				if int(now) == want {
					select {
					case <-full:
					default:
						close(full)
					}
				}
				<-full // until as many run as may
				j, _ := order.LoadOrStore(s, &wstest.Journal{})
				j.(*wstest.Journal).Note("%s", what)
				first.Note("%p %s", s, what)
			}
			hub := wstest.Run(t, wskit.WithCallbackConcurrency(n),
				wskit.WithOnConnect(func(s wskit.Subscriber) { enter(s, "+") }),
				wskit.WithOnDisconnect(func(s wskit.Subscriber) { enter(s, "-") }))
			var all []*wstest.Probe
			var wanted []string
			for range 50 {
				p := &wstest.Probe{}
				all = append(all, p)
				hub.Register(p)
				hub.Unregister(p)
				wanted = append(wanted, fmt.Sprintf("%p +", p), fmt.Sprintf("%p -", p))
			}
			wstest.Eventually(t, "all are called", func() bool { return first.Len() == 100 })
			if got := int(most.Load()); got != want {
				t.Errorf("up to %d ran side by side, want %d", got, want)
			}
			for _, p := range all {
				if j, _ := order.Load(wskit.Subscriber(p)); fmt.Sprint(j.(*wstest.Journal).All()) != "[+ -]" {
					t.Errorf("of one subscriber: %v", j.(*wstest.Journal).All())
				}
			}
			if want == 1 && fmt.Sprint(first.All()) != fmt.Sprint(wanted) {
				t.Error("one at a time, but in another order")
			}
		})
	}
}

// Memory is bounded by the subscribers there are, also while a callback blocks and others come and go.
func TestSubscribersThatComeAndGoWhileACallbackBlocksTakeNoMemory(t *testing.T) {
	release := make(chan struct{})
	var balance atomic.Int32
	hub := wstest.Run(t,
		wskit.WithOnConnect(func(wskit.Subscriber) { <-release; balance.Add(1) }),
		wskit.WithOnDisconnect(func(wskit.Subscriber) { balance.Add(-1) }))
	visit := func(n int) {
		for range n {
			c := wskit.NewSSEClient(hub.Hub, 1)
			hub.Register(c)
			hub.Unregister(c)
		}
		hub.Settled(t)
	}
	visit(40000) // the actor system's maps reach their size
	before := heap()
	visit(20000)
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("the heap grew by %d KB with one subscriber at a time", grown>>10)
	}
	if n := hub.SubscriberCount(); n != 0 {
		t.Errorf("%d subscribers", n)
	}
	close(release)
	hub.Halt(t)
	if n := balance.Load(); n != 0 {
		t.Errorf("OnConnect was called %d times more often than OnDisconnect", n)
	}
}

// One that comes and goes again and again while its Send blocks is bounded too.
func TestASubscriberThatIsRegisteredAgainAndAgainWhileItBlocksTakesNoMemory(t *testing.T) {
	hub := wstest.Run(t)
	release := make(chan struct{})
	p := &wstest.Probe{OnSend: func(string) bool { <-release; return true }}
	hub.Register(p)
	hub.Broadcast([]byte("x"))
	visit := func(n int) {
		for range n {
			hub.Unregister(p)
			hub.Register(p)
		}
		hub.Settled(t)
	}
	visit(5000)
	before := heap()
	visit(20000)
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("the heap grew by %d KB with one subscriber", grown>>10)
	}
	close(release)
	hub.Broadcast([]byte("after"))
	wstest.Eventually(t, "it goes on", func() bool { all := p.All(); return all[len(all)-1] == "after" })
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// byHand accepts a WebSocket as the caller of NewClient does.
func byHand(t *testing.T, w http.ResponseWriter, r *http.Request) *websocket.Conn {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		t.Error(err)
	}
	return conn
}

// Reading starts when OnConnect has returned: a ping that came before is answered then.
func TestReadingStartsWhenOnConnectHasReturned(t *testing.T) {
	release := make(chan struct{})
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { <-release }))
	p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{}).Peer(t)
	p.Send(t, wstest.Ping, "early")
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		p.ExpectFrame(t, wstest.Pong, "early")
	}()
	wstest.Silent(t, "it is answered", answered)
	close(release)
	wstest.Receive(t, "the answer", answered)
}
