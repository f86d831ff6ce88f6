package contract_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// smallBuffers makes a server's sockets take little, so that a peer that does not read is noticed early.
func smallBuffers(s *httptest.Server) {
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		if tcp, ok := c.(*net.TCPConn); ok && state == http.StateNew {
			_ = tcp.SetWriteBuffer(4 << 10)
		}
	}
}

// block is a message that fills a socket after a few.
func block(i int) string { return fmt.Sprintf("%04d", i) + strings.Repeat("#", 8<<10) }

// A slow client does not slow others; when it reads again, writing goes on, and everything within its buffer arrives in order.
// With 8 KB blocks and sockets of 4 KB every write is a partial one.
func TestAStalledPeerDelaysNobodyAndGetsEverythingWithinItsBufferInOrder(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"tcp": nil, "tls": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			hub := run(t)
			srv := serve(t, hub.Hub, serving{setup: smallBuffers, start: start, client: []wskit.ClientOption{wskit.WithSendBufSize(1000)}})
			stalled, _ := srv.raw(t)
			healthy, _ := srv.dial(t)
			own := &probe{}
			hub.Register(own)
			const n = 900
			for i := range n {
				hub.Broadcast([]byte(block(i)))
				healthy.expect(t, block(i))
			}
			eventually(t, "the foreign subscriber got all", func() bool { return own.len() == n })
			for i := range n {
				if op, payload, err := stalled.frame(); op != opText || payload != block(i) {
					t.Fatalf("frame %d: %x %.10q %v", i, op, payload, err)
				}
			}
			hub.Broadcast([]byte("after"))
			if op, payload, err := stalled.frame(); op != opText || payload != "after" {
				t.Fatal(op, payload, err)
			}
		})
	}
}

// Beyond its buffer the newest are dropped; what does arrive is in order and whole.
func TestBeyondItsBufferAStalledPeerLosesTheNewestAndNoFrameIsTorn(t *testing.T) {
	hub := run(t)
	srv := serve(t, hub.Hub, serving{setup: smallBuffers, client: []wskit.ClientOption{wskit.WithSendBufSize(10)}})
	stalled, c := srv.raw(t)
	c.Send([]byte("begin"))
	if _, payload, err := stalled.frame(); payload != "begin" {
		t.Fatal(payload, err)
	}
	i, refused := 0, 0
	eventually(t, "the buffer is full, and the socket", func() bool {
		for refused = 0; refused < 10; i++ {
			if !c.Send([]byte(block(i))) {
				refused++
			}
		}
		return i > 2000
	})
	hub.Broadcast([]byte("dropped or not"))
	last := -1
	for c.Close(); ; {
		op, payload, err := stalled.frame()
		if err != nil {
			t.Fatal(err)
		}
		if op == opClose {
			if code(payload) != 1000 {
				t.Error(code(payload))
			}
			break
		}
		var n int
		if _, err := fmt.Sscanf(payload[:4], "%d", &n); err == nil {
			if n <= last || payload != block(n) {
				t.Fatalf("%d after %d", n, last)
			}
			last = n
		}
	}
	if last < 10 {
		t.Error("the last that arrived is", last)
	}
}

// WriteWait: "time to write one message or ping frame". A peer that takes none of it in that time is cut off.
func TestAPeerThatDoesNotReadForTheWriteWaitIsCutOff(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"tcp": nil, "tls": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			hub := run(t)
			srv := serve(t, hub.Hub, serving{setup: smallBuffers, start: start, client: []wskit.ClientOption{wskit.WithWriteWait(50 * time.Millisecond)}})
			_, c := srv.raw(t)
			eventually(t, "it is full", func() bool { return !c.Send([]byte(block(0))) })
			hub.count(t, 0)
		})
	}
}

// Pings are sent, and a peer that does not answer is let go; one that does stays.
func TestPingsAreSentAndAPeerThatDoesNotAnswerIsLetGo(t *testing.T) {
	hub := run(t)
	srv := serve(t, hub.Hub, serving{client: []wskit.ClientOption{wskit.WithPingInterval(20 * time.Millisecond), wskit.WithWriteWait(time.Second)}})
	alive, _ := srv.dial(t)
	alive.CloseRead(context.Background()) // answers
	hub.count(t, 1)
	mute, _ := srv.raw(t)
	hub.count(t, 2)
	if op, _, err := mute.frame(); op != opPing || err != nil {
		t.Fatal(op, err)
	}
	hub.count(t, 1)
	answering, _ := srv.raw(t)
	for range 30 { // far longer than the mute one was given
		op, payload, err := answering.frame()
		if op != opPing || err != nil {
			t.Fatal(op, payload, err)
		}
		answering.put(t, masked(opPong, payload))
	}
	hub.count(t, 2)
}

// A peer that floods pings and reads nothing bounds itself: nobody else is delayed, and the memory it can take is bounded.
func TestAPeerThatFloodsPingsWithoutReadingHarmsNobody(t *testing.T) {
	hub := run(t, wskit.WithOnMessage(echo))
	srv := serve(t, hub.Hub, serving{setup: smallBuffers, client: []wskit.ClientOption{wskit.WithWriteWait(patience)}})
	flood, _ := srv.raw(t)
	healthy, _ := srv.dial(t)
	pings := bytes.Repeat(masked(opPing, strings.Repeat("p", 100)), 1000)
	var sent atomic.Int64
	flooding := begin(func() {
		for range 80 { // 8 MB of pongs
			if _, err := flood.Write(pings); err != nil {
				return
			}
			sent.Add(1)
		}
	})
	for i := range 200 {
		healthy.say(t, fmt.Sprint(i))
		healthy.expect(t, fmt.Sprint("echo ", i))
	}
	eventually(t, "the server reads what it is sent", func() bool { return sent.Load() == 80 })
	receive(t, "the flood ends", flooding)
	// It can still talk: what it gets are whole frames, pongs and then the message.
	hub.Broadcast([]byte("end"))
	for {
		op, payload, err := flood.frame()
		if err != nil {
			t.Fatal(err)
		}
		if op == opText {
			if payload != "end" {
				t.Error(payload)
			}
			return
		}
		if op != opPong || len(payload) != 100 {
			t.Fatal(op, payload)
		}
	}
}

// At shutdown what is queued is delivered, then comes 1001. Everybody is told, WebSocket, SSE and foreign.
func TestAtShutdownEverythingQueuedIsDeliveredAndThenComes1001(t *testing.T) {
	hub := run(t, wskit.WithDrainTimeout(patience))
	srv := serve(t, hub.Hub, serving{setup: smallBuffers, client: []wskit.ClientOption{wskit.WithSendBufSize(1000)}})
	var peers []*peer
	for range 5 {
		p, _ := srv.dial(t)
		peers = append(peers, p)
	}
	es, own := srv.stream(t), &probe{}
	hub.Register(own)
	hub.count(t, 7)
	var want []string
	for i := range 200 {
		hub.Broadcast([]byte(block(i)))
		want = append(want, block(i))
	}
	hub.stop()
	for _, p := range peers {
		p.expect(t, want...)
		p.ends(t, websocket.StatusGoingAway)
	}
	es.expect(t, want...)
	if _, more := <-es.events; more {
		t.Error("the stream goes on")
	}
	if err := receive(t, "AcceptSSE returns", srv.streamed); err != nil {
		t.Error(err)
	}
	receive(t, "Run returns", hub.done)
	own.expect(t, append(want, closed)...)
}

// A peer that says nothing does not stall a shutdown beyond the drain timeout. Nor does one that takes nothing.
func TestAShutdownIsBoundedHoweverSilentThePeers(t *testing.T) {
	for name, start := range map[string]func(*httptest.Server){"tcp": nil, "tls": (*httptest.Server).StartTLS} {
		t.Run(name, func(t *testing.T) {
			const drain = 200 * time.Millisecond
			hub := run(t, wskit.WithDrainTimeout(drain))
			srv := serve(t, hub.Hub, serving{setup: smallBuffers, start: start})
			for range 10 {
				srv.raw(t) // never answers a close frame
			}
			_, c := srv.raw(t)
			eventually(t, "it is full", func() bool { return !c.Send([]byte(block(0))) })
			quickly(t, "the shutdown", drain+2*time.Second, func() { hub.halt(t) })
		})
	}
}

// Unregister and Close are bounded as well, by the write wait: the hub does not keep those who do not answer.
func TestAPeerThatNeverAnswersACloseIsGoneAfterTheWriteWait(t *testing.T) {
	hub := run(t)
	srv := serve(t, hub.Hub, serving{client: []wskit.ClientOption{wskit.WithWriteWait(100 * time.Millisecond)}})
	for _, end := range []func(*wskit.Client){(*wskit.Client).Close, func(c *wskit.Client) { hub.Unregister(c) }} {
		r, c := srv.raw(t)
		end(c)
		if op, payload, err := r.frame(); op != opClose || code(payload) != 1000 {
			t.Fatal(op, payload, err)
		}
		if _, err := r.br.ReadByte(); err == nil {
			t.Error("something follows the close frame")
		}
		hub.count(t, 0)
	}
}

// Messages reach each client in the order they were broadcast and sent.
func TestMessagesReachEachClientInOrder(t *testing.T) {
	hub := run(t)
	srv := serve(t, hub.Hub, serving{client: []wskit.ClientOption{wskit.WithSendBufSize(1 << 16)}})
	var peers []*peer
	for range 8 {
		p, _ := srv.dial(t)
		peers = append(peers, p)
	}
	const n = 5000
	casting := begin(func() {
		for i := range n {
			hub.Broadcast(fmt.Append(nil, i))
		}
	})
	for _, p := range peers {
		for i := range n {
			if got, err := p.next(); got != fmt.Sprint(i) {
				t.Fatalf("%s (%v) instead of %d", got, err, i)
			}
		}
	}
	<-casting
}
