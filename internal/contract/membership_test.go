package contract_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// "Unregister closes the subscriber and calls OnDisconnect".
func TestUnregisterClosesTheSubscriberAndCallsOnDisconnect(t *testing.T) {
	gone := make(chan wskit.Subscriber, 9)
	hub := wstest.Run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) { gone <- s }))
	p := &wstest.Probe{}
	hub.Register(p)
	hub.Broadcast([]byte("1"))
	hub.Unregister(p)
	hub.Broadcast([]byte("2"))
	p.Expect(t, "1", wstest.Closed)
	if s := wstest.Receive(t, "OnDisconnect", gone); s != p {
		t.Error(s)
	}
	hub.Count(t, 0)
	wstest.Silent(t, "another OnDisconnect", gone)
}

// "of a subscriber the hub does not know it does nothing."
func TestUnregisterOfAnUnknownSubscriberDoesNothing(t *testing.T) {
	known := &wstest.Probe{}
	hub := wstest.Run(t, wskit.WithOnDisconnect(func(s wskit.Subscriber) {
		if s != known {
			t.Error("OnDisconnect of", s)
		}
	}))
	stranger, sse := &wstest.Probe{}, wskit.NewSSEClient(wstest.Run(t).Hub, 1)
	hub.Unregister(stranger)
	hub.Unregister(stranger)
	hub.Register(known)
	hub.Unregister(sse)
	if !sse.Send([]byte("x")) {
		t.Error("it closed a client that it does not know")
	}
	hub.Broadcast([]byte("x"))
	known.Expect(t, "x")
	stranger.Expect(t)
	hub.Count(t, 1)
}

// "A second Register of a registered subscriber changes nothing."
func TestASecondRegisterChangesNothing(t *testing.T) {
	var events wstest.Journal
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { events.Note("+") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { events.Note("-") }))
	p := &wstest.Probe{}
	hub.Register(p)
	hub.Broadcast([]byte("1"))
	hub.Register(p)
	hub.Broadcast([]byte("2"))
	p.Expect(t, "1", "2")
	if n := hub.SubscriberCount(); n != 1 {
		t.Error(n, "subscribers")
	}
	hub.Unregister(p)
	hub.Unregister(p)
	p.Expect(t, "1", "2", wstest.Closed)
	hub.Halt(t)
	events.Expect(t, "+", "-")
}

func TestASecondRegisterOfAnAcceptedClientChangesNothing(t *testing.T) {
	var events wstest.Journal
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { events.Note("+") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { events.Note("-") }))
	p, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	hub.Register(c)
	hub.Broadcast([]byte("1"))
	p.Expect(t, "1")
	hub.Count(t, 1)
	hub.Unregister(c)
	p.Ends(t, websocket.StatusNormalClosure)
	hub.Halt(t)
	events.Expect(t, "+", "-")
}

// A subscriber may come back: it sees its Close before the next Send, and a pair of callbacks for each time.
func TestASubscriberThatIsRegisteredAgainSeesCloseBeforeTheNextSend(t *testing.T) {
	var events wstest.Journal
	hub := wstest.Run(t, wskit.WithOnConnect(func(wskit.Subscriber) { events.Note("+") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { events.Note("-") }))
	var want, pairs []string
	slow := make(chan struct{})
	p := &wstest.Probe{OnSend: func(string) bool { <-slow; return true }} // so that the next one has to wait for it to leave
	for i := range 50 {
		hub.Register(p)
		hub.Broadcast(fmt.Append(nil, i))
		hub.Unregister(p)
		want, pairs = append(want, fmt.Sprint(i), wstest.Closed), append(pairs, "+", "-")
	}
	close(slow)
	p.Expect(t, want...)
	events.Expect(t, pairs...)
	hub.Count(t, 0)
}

// "Every OnConnect is paired with exactly one OnDisconnect, at shutdown too." Under churn, of every kind of subscriber.
func TestEveryOnConnectIsPairedWithExactlyOneOnDisconnect(t *testing.T) {
	var mu sync.Mutex
	in, out := map[wskit.Subscriber]int{}, map[wskit.Subscriber]int{}
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) {
		mu.Lock()
		defer mu.Unlock()
		if in[s]++; in[s] != out[s]+1 {
			t.Errorf("connected %d times, disconnected %d times", in[s], out[s])
		}
	}), wskit.WithOnDisconnect(func(s wskit.Subscriber) {
		mu.Lock()
		defer mu.Unlock()
		if out[s]++; in[s] != out[s] {
			t.Errorf("disconnected %d times, connected %d times", out[s], in[s])
		}
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	var group sync.WaitGroup
	for g := range 6 {
		group.Go(func() {
			for i := range 25 {
				switch (g + i) % 3 {
				case 0:
					p := &wstest.Probe{}
					for range 3 {
						hub.Register(p)
						if rand.N(2) == 0 {
							hub.Unregister(p)
						}
					}
				case 1:
					c := srv.Open(t)
					switch rand.N(3) {
					case 0:
						_ = c.Close(websocket.StatusNormalClosure, "")
					case 1:
						_ = c.CloseNow()
					default: // stays until the end
						go func() {
							for err := error(nil); err == nil; {
								_, err = c.Next()
							}
						}()
					}
				default:
					s := wskit.NewSSEClient(hub.Hub, 4)
					hub.Register(s)
					if rand.N(2) == 0 {
						s.Close()
					}
					hub.Unregister(s)
				}
			}
		})
	}
	churn := wstest.Begin(group.Wait)
	for running := true; running; {
		select {
		case <-churn:
			running = false
		default:
			hub.Broadcast([]byte("x"))
		}
	}
	hub.Halt(t)
	mu.Lock()
	defer mu.Unlock()
	if len(in) != len(out) || len(in) < 50 {
		t.Errorf("%d were connected, %d disconnected", len(in), len(out))
	}
	for s, n := range in {
		if out[s] != n {
			t.Errorf("%T: connected %d times, disconnected %d times", s, n, out[s])
		}
	}
}

// "What OnConnect sends to its subscriber arrives before any broadcast; no broadcast made after Register returned is lost to it."
func TestWhatOnConnectSendsArrivesBeforeAnyBroadcastAndNoneIsLost(t *testing.T) {
	hold := make(chan struct{})
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) {
		s.Send([]byte("hello 1"))
		<-hold
		s.Send([]byte("hello 2"))
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	ws, _ := srv.Browser(t) // its OnConnect blocks; the others wait behind it
	own := &wstest.Probe{}
	hub.Register(own)
	es := srv.Stream(t)
	hub.Count(t, 3)
	var want []string
	for i := range 200 {
		hub.Broadcast(fmt.Append(nil, i))
		want = append(want, fmt.Sprint(i))
	}
	ws.Expect(t, "hello 1")
	close(hold)
	ws.Expect(t, append([]string{"hello 2"}, want...)...)
	es.Expect(t, append([]string{"hello 1", "hello 2"}, want...)...)
	own.Expect(t, append([]string{"hello 1", "hello 2"}, want...)...)
}

// The same with everything at once: the greeting is first, and the broadcasts that follow have no hole.
func TestTheGreetingIsFirstAndTheBroadcastsHaveNoHole(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send([]byte("hello")) }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithSendBufSize(1 << 16)}})
	stop := make(chan struct{})
	caster := wstest.Begin(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				hub.Broadcast(fmt.Append(nil, i))
			}
		}
	})
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			for range 5 {
				p := srv.Open(t)
				p.Expect(t, "hello")
				first, err := p.Next()
				var n int
				_, _ = fmt.Sscan(first, &n)
				for i := 1; i < 20 && err == nil; i++ {
					var got string
					if got, err = p.Next(); err == nil && got != fmt.Sprint(n+i) {
						t.Errorf("%s instead of %d", got, n+i)
					}
				}
				if err != nil {
					t.Error(err)
				}
				_ = p.CloseNow()
			}
		})
	}
	group.Wait()
	close(stop)
	<-caster
}

// "no broadcast made after Register returned is lost to it": registered and broadcast to by one goroutine, unbuffered even.
func TestABroadcastRightAfterRegisterArrives(t *testing.T) {
	hub := wstest.Run(t, wskit.WithRegisterBuf(0), wskit.WithBroadcastBuf(0))
	for i := range 300 {
		p := &wstest.Probe{}
		hub.Register(p)
		hub.Broadcast(fmt.Append(nil, i))
		hub.Unregister(p)
		p.Expect(t, fmt.Sprint(i), wstest.Closed)
	}
}

// "The bytes given to Send and Broadcast may be reused by the caller as soon as the call returns." Nor may a subscriber's
// own changes to what it was given reach anybody else.
func TestTheBytesGivenToSendAndBroadcastMayBeReused(t *testing.T) {
	hub := wstest.Idle(t)
	vandal := &vandal{}
	hub.Register(vandal)
	sse, p := wskit.NewSSEClient(hub.Hub, 10), &wstest.Probe{}
	hub.Register(p)
	hub.Register(sse)
	buf := []byte("1234")
	hub.Broadcast(buf)
	copy(buf, "xxxx")
	hub.Start(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(c *wskit.Client) {
		copy(buf, "5678")
		c.Send(buf)
		_ = c.SendErr(buf)
		copy(buf, "yyyy")
		go c.ReadPump()
		go c.WritePump()
	}})
	ws, _ := srv.Browser(t)
	ws.Expect(t, "5678", "5678")
	p.Expect(t, "1234")
	hub.Broadcast([]byte("abcd"))
	wstest.Eventually(t, "the vandal has had it", func() bool { return vandal.seen.Load() == 2 })
	es := srv.Stream(t)
	hub.Count(t, 5)
	hub.Broadcast([]byte("efgh"))
	p.Expect(t, "1234", "abcd", "efgh")
	ws.Expect(t, "abcd", "efgh")
	es.Expect(t, "efgh")
}

type vandal struct{ seen atomic.Int32 }

func (v *vandal) Close() {}
func (v *vandal) Send(data []byte) bool {
	_ = append(data, "overwritten"...)
	for i := range data {
		data[i] = '!'
	}
	v.seen.Add(1)
	return true
}

// "BroadcastEvent marshals event as JSON."; "BroadcastJSON is BroadcastEvent of Event{typ, payload, now}."
func TestBroadcastEventMarshalsAndBroadcastJSONWrapsInAnEvent(t *testing.T) {
	hub := wstest.Run(t)
	p, _ := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
	for _, v := range []any{map[string]int{"b": 2, "a": 1}, "text", nil, 1.5, []string{}, json.RawMessage(`{"x" : 1}`), "<&>"} {
		if err := hub.BroadcastEvent(t.Context(), v); err != nil {
			t.Error(err)
		}
		want, _ := json.Marshal(v)
		p.Expect(t, string(want))
	}
	before := time.Now()
	if err := hub.BroadcastJSON(t.Context(), "kind", []int{1, 2}); err != nil {
		t.Error(err)
	}
	text, err := p.Next()
	var e wskit.Event
	if err := errors.Join(err, json.Unmarshal([]byte(text), &e)); err != nil {
		t.Fatal(err)
	}
	if e.Type != "kind" || fmt.Sprint(e.Payload) != "[1 2]" || e.Timestamp.Before(before.Add(-time.Second)) || e.Timestamp.After(time.Now()) {
		t.Errorf("%s", text)
	}
	if !strings.HasPrefix(text, `{"type":"kind","payload":[1,2],"timestamp":"`) {
		t.Errorf("%s", text)
	}
}

// "The error is non-nil only when marshalling fails."
func TestBroadcastEventFailsOnlyWhenMarshallingFails(t *testing.T) {
	hub := wstest.Run(t)
	p := &wstest.Probe{}
	hub.Register(p)
	cause := errors.New("cause")
	for _, bad := range []any{make(chan int), func() {}, badJSON{cause}, &badJSON{nil}} {
		if err := hub.BroadcastEvent(t.Context(), bad); err == nil {
			t.Errorf("%T: no error", bad)
		}
		if err := hub.BroadcastJSON(t.Context(), "t", bad); err == nil {
			t.Errorf("%T: no error", bad)
		}
	}
	if err := hub.BroadcastEvent(t.Context(), badJSON{cause}); !errors.Is(err, cause) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := hub.BroadcastEvent(ended, 1); err != nil {
		t.Error("without Redis an ended context is no reason:", err)
	}
	p.Expect(t, "1")
	hub.Halt(t)
	if err := hub.BroadcastEvent(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if err := hub.BroadcastEvent(t.Context(), func() {}); err == nil {
		t.Error("no error")
	}
}

// badJSON cannot be marshalled; without an error it panics.
type badJSON struct{ err error }

func (b badJSON) MarshalJSON() ([]byte, error) {
	if b.err == nil {
		panic("MarshalJSON panics")
	}
	return nil, b.err
}
