package contract_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// leaver is a client that reads until it is sent off.
type leaver struct {
	number int
	came   time.Time // before it asked
	left   time.Time
	how    string // "1012 service restart"; of a stream "retry"
	retry  int    // ms
	heard  []string
}

// leavers is n clients that come one after the other, every other one a WebSocket, and gone those of them that have been sent off.
type leavers struct {
	all  sync.WaitGroup
	gone wstest.List[*leaver]
}

// come has n more clients come, and waits until they have their actors. then is called for each when it has been sent off, on a goroutine
// of its own.
func (l *leavers) come(t *testing.T, hub *wstest.Hub, srv *wstest.Server, n int, then ...func(*leaver)) {
	t.Helper()
	l.ask(t, srv, n, then...)
	wstest.Eventually(t, "all have their actors", func() bool {
		return len(wstest.Children(t, hub.Hub, "ws-"))+len(wstest.Children(t, hub.Hub, "sse-")) >= n
	})
}

// ask is come that does not wait.
func (l *leavers) ask(t *testing.T, srv *wstest.Server, n int, then ...func(*leaver)) {
	t.Helper()
	for i := range n {
		c := &leaver{number: i, came: time.Now()}
		read := c.socket
		if i%2 == 1 {
			read = c.stream
		}
		until := read(t, srv)
		l.all.Go(func() {
			until()
			c.left = time.Now()
			for _, fn := range then {
				fn(c)
			}
			l.gone.Add(c)
		})
	}
}

func (c *leaver) socket(t *testing.T, srv *wstest.Server) (until func()) {
	b := srv.Open(t)
	return func() {
		for {
			text, err := b.Next()
			if closed := (websocket.CloseError{}); errors.As(err, &closed) {
				c.how = fmt.Sprintf("%d %s", int(closed.Code), closed.Reason)
			}
			if err != nil {
				return
			}
			c.heard = append(c.heard, text)
		}
	}
}

func (c *leaver) stream(t *testing.T, srv *wstest.Server) (until func()) {
	resp, err := srv.Client().Get(srv.URL + "/sse")
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		defer resp.Body.Close()
		err := wstest.ReadEvents(resp.Body, func(event string) {
			if ms, is := strings.CutPrefix(event, "[retry:"); is {
				c.how = "retry"
				c.retry, _ = strconv.Atoi(strings.TrimSuffix(ms, "]"))
				return
			}
			c.heard, c.how = append(c.heard, event), ""
		}, nil)
		if err != io.EOF {
			c.how = err.Error()
		}
	}
}

// expect waits for all and returns them in the order they were sent off, in good order.
func (l *leavers) expect(t *testing.T, n int, close string) []*leaver {
	t.Helper()
	wstest.Receive(t, "all are sent off", wstest.Begin(l.all.Wait))
	gone := l.gone.All()
	slices.SortFunc(gone, func(a, b *leaver) int { return a.left.Compare(b.left) })
	retries := map[int]int{}
	for _, c := range gone {
		if c.number%2 == 0 && c.how != close || c.number%2 == 1 && c.how != "retry" {
			t.Errorf("client %d: %q", c.number, c.how)
		}
		if c.how == "retry" {
			if retries[c.retry]++; c.retry < 2000 || c.retry > 5000 {
				t.Errorf("retry: %d", c.retry)
			}
		}
	}
	if len(gone) != n || n > 8 && len(retries) < 3 {
		t.Errorf("%d sent off; retry: %v", len(gone), retries)
	}
	return gone
}

const restart = "1012 service restart"

// expectSpread checks when they were sent off. A slow machine makes it later, and never earlier.
func expectSpread(t *testing.T, gone []*leaver, began time.Time, window time.Duration) {
	t.Helper()
	for i, c := range gone {
		if at, due := c.left.Sub(began), window*time.Duration(i)/time.Duration(len(gone)); at < due {
			t.Errorf("number %d of %d was sent off after %v of %v", i, len(gone), at, window)
		}
	}
}

func TestADrainIsSpreadOverItsWindow(t *testing.T) {
	for name, opts := range map[string][]wskit.HubOption{"net/http": nil, "hijacked": {wskit.WithSSEHijack()}} {
		t.Run(name, func(t *testing.T) {
			const n, window = 60, 600 * time.Millisecond
			hub := wstest.Run(t, append(opts, wskit.WithDrainSpread(window), wskit.WithDrainTimeout(20*time.Second))...)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			var clients leavers
			clients.come(t, hub, srv, n)
			began := time.Now()
			hub.Stop()
			gone := clients.expect(t, n, restart)
			expectSpread(t, gone, began, window)
			if slices.IsSortedFunc(gone, func(a, b *leaver) int { return a.number - b.number }) {
				t.Error("they were sent off in the order in which they came")
			}
			for tenth := 1; tenth <= 10; tenth++ {
				if late := gone[n*tenth/10-1].left.Sub(began.Add(window * time.Duration(tenth) / 10)); late > 5*time.Second {
					t.Errorf("tenth %d is %v late", tenth, late)
				}
			}
			wstest.Receive(t, "Run returns", hub.Done)
		})
	}
}

// A hub without one is as it was: 1001 at once, and streams end without a word.
func TestWithoutASpreadEverybodyIsToldAtOnce(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	b, st := srv.Open(t), srv.Stream(t)
	hub.Count(t, 2)
	hub.Stop()
	b.Ends(t, websocket.StatusGoingAway)
	st.Ends(t)
}

// "Nobody new comes in ... All else goes on for those whose turn has not come". The first of two is told at once, the other never.
func TestWhoWaitsForItsTurnIsServedAsEver(t *testing.T) {
	hub := wstest.Run(t, wskit.WithDrainSpread(time.Hour), wskit.WithDrainTimeout(0), wskit.WithOnMessage(wstest.Echo))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	b, c := srv.Browser(t)
	first, gone := srv.Browser(t)
	hub.Count(t, 2)
	hub.Stop()
	hub.Count(t, 1)
	if !c.Send([]byte("are you there")) {
		b, c, first, gone = first, gone, b, c
		c.Send([]byte("are you there"))
	}
	first.Ends(t, websocket.StatusServiceRestart)
	b.Expect(t, "are you there")
	no(t, hub.BroadcastContext(t.Context(), []byte("to all")))
	b.Expect(t, "to all")
	b.Say(t, "hi")
	b.Expect(t, "echo hi")
	no(t, hub.Topic("room").Join(c))
	if err := hub.Topic("room").Join(gone); !errors.Is(err, wskit.ErrNotRegistered) {
		t.Errorf("Join of who was told: %v", err)
	}
	no(t, hub.Topic("room").BroadcastContext(t.Context(), []byte("to a room")))
	b.Expect(t, "to a room")

	if resp, err := http.Get(srv.URL + "/sse"); err != nil || resp.StatusCode != 200 || !resp.Close {
		t.Error(resp, err)
	} else if events := wstest.AllEvents(resp.Body); len(events) != 1 || !strings.HasPrefix(events[0], "[retry:") {
		t.Errorf("a stream is put off with %q", events)
	}
	if _, err := srv.TryOpen("/ws"); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a WebSocket: %v", err)
	}
	p := &wstest.Probe{}
	if err := hub.RegisterContext(t.Context(), p); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
	p.Expect(t, wstest.Closed)

	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // "A further Shutdown with less time"
	defer cancel()
	_ = hub.Shutdown(soon)
	b.Ends(t, websocket.StatusServiceRestart)
	wstest.Receive(t, "Run returns", hub.Done)
}

// "It counts within the drain timeout": cut so that a quarter of that remains.
func TestASpreadThatIsLongerThanTheDrainTimeoutIsCut(t *testing.T) {
	const n, timeout = 16, 800 * time.Millisecond
	hub := wstest.Run(t, wskit.WithDrainSpread(time.Hour), wskit.WithDrainTimeout(timeout))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	var clients leavers
	clients.come(t, hub, srv, n)
	began := time.Now()
	hub.Stop()
	expectSpread(t, clients.expect(t, n, restart), began, timeout*3/4)
	wstest.Receive(t, "Run returns", hub.Done)
}

// "A further Shutdown with less time spreads the rest over what remains", however many there are.
func TestAShutdownWithLessTimeBringsTheRestForward(t *testing.T) {
	const n = 16
	hub := wstest.Run(t, wskit.WithDrainSpread(time.Hour), wskit.WithDrainTimeout(2*time.Hour))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	var clients leavers
	clients.come(t, hub, srv, n)
	first := wstest.Begin(func() { _ = hub.Shutdown(context.Background()) })
	wstest.Eventually(t, "the first is told", func() bool { return clients.gone.Len() == 1 })
	for _, left := range []time.Duration{time.Hour, 10 * time.Minute} { // more than enough: nothing changes, or not that one sees it
		ctx, cancel := context.WithTimeout(t.Context(), left)
		again := wstest.Begin(func() { _ = hub.Shutdown(ctx) })
		wstest.Silent(t, "the rest is told", first)
		cancel()
		wstest.Receive(t, "Shutdown returns with its context", again)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
	defer cancel()
	began := time.Now()
	_ = hub.Shutdown(ctx)
	gone := clients.expect(t, n, restart)
	told := slices.IndexFunc(gone, func(c *leaver) bool { return c.left.After(began) })
	expectSpread(t, gone[told:], began, 590*time.Millisecond) // the time is counted from a moment later than ctx's
	wstest.Receive(t, "the first Shutdown returns", first)
}

// stalled has n WebSockets come that do not read, and returns how to have them go.
func stalled(t *testing.T, hub *wstest.Hub, srv *wstest.Server, n int) (leave func()) {
	t.Helper()
	var peers []*wstest.Peer
	for range n {
		p := srv.Handshake(t, wstest.Handshake{RecvBuffer: narrow})
		p.Upgraded(t)
		peers = append(peers, p)
	}
	hub.Count(t, n)
	return func() {
		for _, p := range peers {
			_ = p.Close()
		}
	}
}

// "A peer that does not answer delays nobody's turn."
func TestAPeerThatDoesNotAnswerDelaysNobodysTurn(t *testing.T) {
	const n = 16
	hub := wstest.Run(t, wskit.WithDrainSpread(200*time.Millisecond), wskit.WithDrainTimeout(20*time.Second))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow})
	stalled := stalled(t, hub, srv, 4)
	var clients leavers
	clients.come(t, hub, srv, n)
	for range 100 {
		no(t, hub.BroadcastContext(t.Context(), []byte(strings.Repeat("x", 10<<10)))) // more than those who do not read can take
	}
	hub.Stop()
	clients.expect(t, n, restart)
	select {
	case <-hub.Done:
		t.Error("the hub has ended before those who do not answer were given up")
	default:
	}
	stalled()
	wstest.Receive(t, "Run returns", hub.Done)
}

// "Nobody has missed a message when told": what the hub accepted before goes out first, however far behind its registry is.
func TestWhatWasBroadcastBeforeATurnGoesOutFirst(t *testing.T) {
	const n = 8
	hub := wstest.Run(t, wskit.WithDrainSpread(300*time.Millisecond), wskit.WithDrainTimeout(20*time.Second))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	var clients leavers
	clients.come(t, hub, srv, n)
	hub.Stop()
	accepted := make([]int, n) // while as many had been told at most
	for i, left := 1, n; left > 0; i++ {
		err := hub.BroadcastContext(t.Context(), []byte(strings.Repeat("x", 1<<10)))
		if left = hub.SubscriberCount(); left > 0 && err == nil {
			accepted[n-left] = i
		}
	}
	heard := []int{}
	for _, c := range clients.expect(t, n, restart) {
		heard = append(heard, len(c.heard))
	}
	slices.Sort(heard)
	for i := range n {
		if heard[i] < accepted[i] {
			t.Errorf("number %d heard %d of %d", i, heard[i], accepted[i])
		}
	}
	wstest.Receive(t, "Run returns", hub.Done)
}

// A spread is over when nobody is left: of a hub with nobody, at once.
func TestASpreadWithNobodyLeftIsOver(t *testing.T) {
	hub := wstest.Run(t, wskit.WithDrainSpread(time.Hour), wskit.WithDrainTimeout(0))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	a, b := srv.Stream(t), srv.Stream(t)
	hub.Count(t, 2)
	hub.Stop()
	hub.Count(t, 1)
	a.End()
	b.End()
	wstest.Receive(t, "Run returns", hub.Done)
	nobody := wstest.Run(t, wskit.WithDrainSpread(time.Hour), wskit.WithDrainTimeout(0))
	nobody.Halt(t)
	unused := wstest.Idle(t, wskit.WithDrainSpread(time.Hour), wskit.WithDrainTimeout(0))
	no(t, unused.Shutdown(t.Context()))
}

// Who has registered with a hub that never ran is told in its turn too.
func TestAHubThatNeverRanSpreadsItsDrainToo(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithDrainSpread(100*time.Millisecond))
	all := []*wstest.Probe{{}, {}, {}}
	for _, p := range all {
		hub.Register(p)
	}
	began := time.Now()
	no(t, hub.Shutdown(t.Context()))
	if took := time.Since(began); took < 60*time.Millisecond {
		t.Error("Shutdown took", took)
	}
	for _, p := range all {
		p.Expect(t, wstest.Closed)
	}
}

// What crashes meanwhile comes back, and nobody's turn is lost.
func TestASpreadSurvivesCrashes(t *testing.T) {
	const n, window = 20, 400 * time.Millisecond
	hub := wstest.Run(t, wskit.WithDrainSpread(window), wskit.WithDrainTimeout(20*time.Second),
		wskit.WithOnDisconnect(func(wskit.Subscriber) { panic("test") }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	var clients leavers
	clients.come(t, hub, srv, n)
	registry, connections := wstest.One(t, hub.Hub, "registry"), wstest.One(t, hub.Hub, "connections")
	began := time.Now()
	hub.Stop()
	for left := 15; left >= 5; left -= 5 {
		wstest.Eventually(t, "some are told", func() bool { return hub.SubscriberCount() <= left })
		wstest.Crash(registry, "test")
		wstest.Crash(connections, "test")
	}
	expectSpread(t, clients.expect(t, n, restart), began, window)
	wstest.Receive(t, "Run returns", hub.Done)
}

// A hub that fails, or whose actor is stopped, has no time: "all are told at once, with 1012".
func TestAHubThatFailsTellsEverybodyAtOnce(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *wstest.Hub){
		"it fails": func(t *testing.T, h *wstest.Hub) {
			registry := wstest.One(t, h.Hub, "registry")
			for range 50 { // more than its budget
				wstest.Crash(registry, "test")
			}
		},
		"it is poisoned": func(t *testing.T, h *wstest.Hub) { actors.System().Root.Poison(h.PID()) },
		"it fails while it drains": func(t *testing.T, h *wstest.Hub) {
			actors.System().Root.Send(h.PID(), &actors.Shutdown{})
			h.Count(t, 3)
			wstest.Crash(h.PID(), "test")
		},
	} {
		t.Run(name, func(t *testing.T) {
			hub, events := wstest.Embed(t, hubactor.Config{DrainSpread: time.Hour, DrainTimeout: 2 * time.Hour})
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			var clients leavers
			clients.come(t, hub, srv, 4)
			end(t, hub)
			clients.expect(t, 4, restart)
			wstest.Receive(t, "Run returns", hub.Done)
			wstest.Eventually(t, "events", func() bool {
				n := 0
				for _, e := range events.All() {
					if d, ok := e.(*actors.Disconnected); ok && d.Reason == actors.ReasonRestart {
						n++
					}
				}
				return n == 4
			})
		})
	}
}
