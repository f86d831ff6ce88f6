package contract_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// made reports whether an encoding of f had been made before: making it takes memory.
func made(encode func() []byte) bool {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := len(encode())
	runtime.ReadMemStats(&after)
	return after.TotalAlloc-before.TotalAlloc < uint64(n)
}

// A large broadcast is compressed, or made an event, by the hub whose it is, and only if it has clients that want it so. The
// connections of all hubs share a pool; nobody else's messages wait there for that.
func TestALargeBroadcastIsEncodedAtTheCostOfItsHub(t *testing.T) {
	large := make([]byte, 1<<20)
	for i := range large {
		large[i] = "0123456789abcdef"[i*i>>3&15]
	}
	for _, c := range []struct {
		name         string
		deflate, sse bool
		withClient   func(t *testing.T, srv *wstest.Server)
	}{
		{"nobody", false, false, func(*testing.T, *wstest.Server) {}},
		{"a client without compression", false, false, func(t *testing.T, srv *wstest.Server) {
			b, _ := srv.Browser(t)
			b.Listen(t)
		}},
		{"a client with compression", true, false, func(t *testing.T, srv *wstest.Server) {
			b, _ := srv.Browser(t, func(o *websocket.DialOptions) { o.CompressionMode = websocket.CompressionContextTakeover })
			b.Listen(t)
		}},
		{"a stream that runs on the pool", false, true, func(t *testing.T, srv *wstest.Server) { srv.Stream(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			hub := wstest.Run(t, wskit.WithSSEHijack())
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Accept: &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}})
			c.withClient(t, srv)
			probe := &wstest.Probe{}
			hub.Register(probe)
			hub.Broadcast([]byte("everybody is there"))
			wstest.Eventually(t, "the first broadcast", func() bool { return probe.Len() == 1 })
			pools := actors.ResolveLink(actors.System(), hub.PID()).Pools
			pools.Connections.Settle()

			release := occupy(t, pools)
			f := actors.NewFrame(large)
			actors.System().Root.Send(hub.PID(), &actors.Broadcast{Frame: f})
			wstest.Eventually(t, "the large broadcast", func() bool { return probe.Len() == 2 })
			hub.Settled(t) // and it has been posted to everybody
			if got := made(func() []byte { return f.Deflated(512) }); got != c.deflate {
				t.Errorf("compressed while the pool was occupied: %v", got)
			}
			if got := made(f.SSE); got != c.sse {
				t.Errorf("made an event while the pool was occupied: %v", got)
			}
			release()
		})
	}
}

// occupy keeps every goroutine of the connections' pool until release.
func occupy(t *testing.T, pools *actors.Pools) (release func()) {
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	for range runtime.GOMAXPROCS(0) {
		pools.Connections.Schedule(func() {
			held <- struct{}{}
			<-hold
		})
		wstest.Receive(t, "a goroutine of the pool is occupied", held) // before another: one takes what is queued
	}
	release = sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	return release
}

// What is sent to one client alone is compressed by whoever calls Send.
func TestALargeMessageForOneClientIsCompressedByItsSender(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Accept: &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover}})
	b, c := srv.Browser(t, func(o *websocket.DialOptions) { o.CompressionMode = websocket.CompressionContextTakeover })
	large := strings.Repeat(event(1), 1000)
	release := occupy(t, actors.ResolveLink(actors.System(), hub.PID()).Pools)
	f := actors.NewFrame([]byte(large))
	if err := c.Outbox().Send(f); err != nil {
		t.Fatal(err)
	}
	if !made(func() []byte { return f.Deflated(512) }) {
		t.Error("not compressed while the pool was occupied")
	}
	release()
	b.Expect(t, large)
}
