package contract_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// 10,000 connections come and go, a third of each kind; then goroutines, actors and heap are back to where they were.
func TestTenThousandConnectionsComeAndGoAndLeaveNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	var in, out atomic.Int64
	var hub *wstest.Hub
	hub = wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
		if string(data) == "c" {
			c.Close()
		} else {
			hub.Unregister(c)
		}
	}), wskit.WithOnConnect(func(wskit.Subscriber) { in.Add(1) }), wskit.WithOnDisconnect(func(wskit.Subscriber) { out.Add(1) }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	touchRegistry()
	wave(t, hub, srv, 0, 500) // fills the pools and maps
	goroutines, actors, heap := settled(t, hub)
	const waves = 20
	for i := range waves {
		wave(t, hub, srv, i+1, 500)
	}
	wstest.Eventually(t, "the goroutines are back", func() bool { return runtime.NumGoroutine() <= goroutines+2 })
	if _, a, h := settled(t, hub); a > actors || h > heap+512<<10 {
		t.Errorf("after %d connections: %d actors, before %d; %d KB of heap, before %d KB", waves*500, a, actors, h>>10, heap>>10)
	}
	if n := len(wstest.Tree(t, hub.Hub)); n != 4 {
		t.Error(n, "actors of the hub")
	}
	wstest.Eventually(t, "the callbacks are paired", func() bool { return in.Load() == (waves+1)*500 && out.Load() == in.Load() })
}

// touchRegistry puts something into each of the 32,768 maps of protoactor's process registry and takes it out again. The first
// name in each costs 280 bytes for good: 9 MB in all, whatever the number of connections. It is no leak, and would look like one.
func touchRegistry() {
	for _, bucket := range actors.System().ProcessRegistry.LocalPIDs.LocalPIDs {
		for i := range 300 {
			bucket.Set(strconv.Itoa(i), nil)
			bucket.Remove(strconv.Itoa(i))
		}
	}
}

// settled waits for the subscribers to be gone, and measures.
func settled(t *testing.T, hub *wstest.Hub) (goroutines, processes int, heap uint64) {
	t.Helper()
	hub.Count(t, 0)
	wstest.Eventually(t, "the connections' actors are gone", func() bool { return len(wstest.Tree(t, hub.Hub)) == 4 })
	n := -1 // until it does not fall any more
	wstest.Eventually(t, "the goroutines settle", func() bool { last := n; n = runtime.NumGoroutine(); return n == last })
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return n, len(wstest.Processes(actors.System())), m.HeapAlloc
}

// wave has n subscribers join, each of them gets one broadcast, and leave in different ways.
func wave(t *testing.T, hub *wstest.Hub, srv *wstest.Server, number, n int) {
	t.Helper()
	var all, joined sync.WaitGroup
	cast := make(chan struct{})
	text := strconv.Itoa(number)
	joined.Add(n)
	limit := make(chan struct{}, 100) // dials at a time
	for i := range n {
		all.Go(func() {
			limit <- struct{}{}
			switch i % 3 {
			case 0:
				p, err := srv.TryOpen("/ws")
				<-limit
				if err != nil {
					t.Error(err)
					joined.Done()
					return
				}
				defer func() { _ = p.CloseNow() }()
				joined.Done()
				<-cast
				if got, err := p.Next(); got != text {
					t.Errorf("%q (%v), want %q", got, err, text)
				}
				switch i % 4 {
				case 0:
					_ = p.Close(websocket.StatusNormalClosure, "")
				case 1, 2:
					_ = p.Write(context.Background(), websocket.MessageText, []byte{"cu"[i%4-1]})
					_, _ = p.Next()
				}
			case 1:
				ctx, leave := context.WithCancel(context.Background())
				defer leave()
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/sse", nil)
				resp, err := srv.Client().Do(req)
				<-limit
				joined.Done()
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				<-cast
				event := make([]byte, len(":\n\ndata: \n\n")+len(text))
				if _, err := io.ReadFull(resp.Body, event); err != nil || string(event) != ":\n\ndata: "+text+"\n\n" {
					t.Errorf("%q, %v", event, err)
				}
			default:
				p := &wstest.Probe{}
				hub.Register(p)
				<-limit
				joined.Done()
				<-cast
				if !wstest.Poll(wstest.Patience, func() bool { return p.Text() == text }) {
					t.Error(p.Text())
				}
				hub.Unregister(p)
			}
		})
	}
	joined.Wait()
	hub.Count(t, n)
	hub.Broadcast([]byte(text))
	close(cast)
	wstest.Receive(t, "the wave ends", wstest.Begin(all.Wait))
	for len(srv.Streamed)+len(srv.Accepted) > 0 {
		select {
		case <-srv.Streamed:
		case <-srv.Accepted:
		default:
		}
	}
}
