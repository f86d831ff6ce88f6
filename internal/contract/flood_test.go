package contract_test

import (
	"bytes"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// mark is what messages of a flood are made of, and nothing else on the way.
const mark = 'X'

// count reads to the end and adds up the marks.
func count(r io.Reader, marks *atomic.Int64) {
	for buf := make([]byte, 32<<10); ; {
		n, err := r.Read(buf)
		marks.Add(int64(bytes.Count(buf[:n], []byte{mark})))
		if err != nil {
			return
		}
	}
}

// flood broadcasts to clients that do nothing but read, some at a time, and checks that each gets it all.
func flood(t *testing.T, hub *wstest.Hub, got, dropped *atomic.Int64, clients int, bursts ...int) {
	t.Helper()
	const size = 128
	message := bytes.Repeat([]byte{mark}, size)
	want := int64(0)
	for _, n := range bursts {
		for range n {
			hub.Broadcast(message)
		}
		want += int64(n * clients * size)
		if !wstest.Poll(wstest.Patience, func() bool { return got.Load()+dropped.Load()*size >= want }) {
			t.Fatalf("%d of %d messages arrived", got.Load()/size, want/size)
		}
		if n := dropped.Load(); n > 0 {
			t.Fatalf("%d of %d messages were dropped, though the clients do nothing but read", n, want/size)
		}
	}
}

// bursts are of a thousand messages, the first for clients that are only about to write, and the last is a flood. Under the race detector a client
// takes ten times as long, and there is none: for want of a processor, a write may last longer than it is waited for.
func bursts() []int {
	if raceDetector {
		return []int{1000, 1000, 1000}
	}
	return []int{1000, 1000, 1000, 50_000}
}

// "Nothing the hub accepted is lost on the way to a healthy subscriber", however fast it is broadcast.
func TestAFloodCostsAClientThatReadsNothing(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		var got, dropped atomic.Int64
		hub := wstest.Run(t, wskit.WithOnDrop(func(wskit.Subscriber, []byte) { dropped.Add(1) }))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		const clients = 5
		for range clients {
			p, _ := srv.Peer(t)
			go count(p, &got)
		}
		flood(t, hub, &got, &dropped, clients, bursts()...)
	})
}

func TestAFloodCostsAStreamThatIsReadNothing(t *testing.T) {
	for name, opts := range map[string][]wskit.HubOption{"net/http": nil, "hijacked": {wskit.WithSSEHijack()}} {
		t.Run(name, func(t *testing.T) {
			wstest.EachStream(t, func(t *testing.T, kind wstest.Kind) {
				var got, dropped atomic.Int64
				hub := wstest.Run(t, append(opts, wskit.WithOnDrop(func(wskit.Subscriber, []byte) { dropped.Add(1) }))...)
				srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
				const clients = 5
				for range clients {
					req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/sse", nil)
					resp, err := srv.Client().Do(req)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = resp.Body.Close() })
					go count(resp.Body, &got)
				}
				hub.Count(t, clients)
				flood(t, hub, &got, &dropped, clients, bursts()...)
			})
		})
	}
}

// A client counts from before its upgrade ends.
func TestABurstWaitsForAClientThatIsOnlyAboutToWrite(t *testing.T) {
	var got, dropped atomic.Int64
	hub := wstest.Run(t, wskit.WithOnDrop(func(wskit.Subscriber, []byte) { dropped.Add(1) }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(*wskit.Client) {}})
	p, client := srv.Peer(t)
	go count(p, &got)
	go func() {
		wstest.Poll(wstest.Patience, func() bool { return client.Outbox().UserMessageCount() > 0 })
		_ = client.Serve()
	}()
	flood(t, hub, &got, &dropped, 1, 1000)
}

// That is so once, and for all of them together: whoever never serves its clients does not slow the hub down.
func TestBurstsDoNotWaitForClientsThatNobodyServes(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(*wskit.Client) {}})
	for range 20 {
		srv.Peer(t)
	}
	began := time.Now()
	for range 20_000 { // a hub that is slowed down takes 50 ms for each hundred
		hub.Broadcast([]byte{mark})
	}
	hub.Settled(t)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}
