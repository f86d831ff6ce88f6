package attack_test

import (
	"io"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// A delivery allocates nothing: what a broadcast allocates does not grow with the number of its receivers.
func TestADeliveryAllocatesNothing(t *testing.T) {
	if raceDetector {
		t.Skip("sync.Pool drops items at random under -race")
	}
	const clients, rounds = 300, 200
	for name, connect := range map[string]func(*testing.T, *wstest.Server) io.Reader{
		"WebSocket": func(t *testing.T, s *wstest.Server) io.Reader {
			r, _ := silent(t, s)
			return r
		},
		"SSE": func(t *testing.T, s *wstest.Server) io.Reader {
			resp, err := http.Get(s.URL + "/sse")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { resp.Body.Close() })
			return resp.Body
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := wstest.Run(t)
			s := serve(t, h.Hub)
			var got atomic.Int64
			arrived := make(chan struct{}, 1)
			for range clients {
				r := connect(t, s)
				go func() {
					buf := make([]byte, 4096)
					for {
						n, err := r.Read(buf)
						if err != nil {
							return
						}
						for _, c := range buf[:n] {
							if c == '!' && got.Add(1)%clients == 0 {
								arrived <- struct{}{}
							}
						}
					}
				}()
			}
			h.Count(t, clients)
			message := []byte("a message that ends so!")
			cast := func(n int) {
				for range n {
					h.Broadcast(message)
					wstest.Receive(t, "the last delivery of a broadcast", arrived)
				}
			}
			cast(rounds) // pools, stacks and the map of timers are filled
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			cast(rounds)
			runtime.ReadMemStats(&after)
			each := float64(after.Mallocs-before.Mallocs) / (clients * rounds)
			t.Logf("%.4f allocations a delivery, of them the client's", each)
			if each > 0.1 {
				t.Errorf("%.3f allocations a delivery", each)
			}
		})
	}
}

// A goroutine that waits for its client to say something takes 2 KB of stack, also when the client has said something before.
func TestAnIdleConnectionAllocatesTheSmallestStack(t *testing.T) {
	if raceDetector {
		t.Skip("stacks are larger under -race")
	}
	const clients = 400
	var got atomic.Int64
	h := wstest.Run(t, wskit.WithOnMessage(func(*wskit.Client, []byte) { got.Add(1) }))
	s := servePumps(t, h.Hub, func(c *wskit.Client) { go c.Serve() })
	stacks := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	before := stacks()
	for range clients {
		r, _ := silent(t, s)
		r.Send(t, wstest.Text, "hello")
		r.Send(t, wstest.Pong, "")
		r.Send(t, wstest.Text, "again")
		r.Send(t, wstest.Ping, "")
	}
	wstest.Eventually(t, "every message", func() bool { return got.Load() == 2*clients })
	var each float64
	wstest.Eventually(t, "2 KB of stack a connection", func() bool {
		each = (float64(stacks()) - float64(before)) / clients
		return each < 2.5*1024
	})
	t.Logf("%.0f bytes of stack a connection", each)
}
