package contract_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// narrow is the bytes of a socket buffer that is quickly full.
const narrow = 4 << 10

// block is a message that fills a socket after a few.
func block(i int) string { return fmt.Sprintf("%04d", i) + strings.Repeat("#", 8<<10) }

// A slow client does not slow others; when it reads again, writing goes on, and everything within its buffer arrives in order.
// With 8 KB blocks and sockets of 4 KB every write is a partial one.
func TestAStalledPeerDelaysNobodyAndGetsEverythingWithinItsBufferInOrder(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, SendBuffer: narrow, Client: []wskit.ClientOption{wskit.WithSendBufSize(1000)}})
		stalled, _ := srv.Peer(t)
		healthy, _ := srv.Browser(t)
		own := &wstest.Probe{}
		hub.Register(own)
		const n = 900
		for i := range n {
			hub.Broadcast([]byte(block(i)))
			healthy.Expect(t, block(i))
		}
		wstest.Eventually(t, "the foreign subscriber got all", func() bool { return own.Len() == n })
		for i := range n {
			stalled.ExpectFrame(t, wstest.Text, block(i))
		}
		hub.Broadcast([]byte("after"))
		stalled.ExpectFrame(t, wstest.Text, "after")
	})
}

// Beyond its buffer the newest are dropped; what does arrive is in order and whole.
func TestBeyondItsBufferAStalledPeerLosesTheNewestAndNoFrameIsTorn(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow, Client: []wskit.ClientOption{wskit.WithSendBufSize(10)}})
	stalled, c := srv.Peer(t)
	c.Send([]byte("begin"))
	stalled.ExpectFrame(t, wstest.Text, "begin")
	i, refused := 0, 0
	wstest.Eventually(t, "the buffer is full, and the socket", func() bool {
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
		f, err := stalled.Frame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Op == wstest.Close {
			if f.Code() != 1000 {
				t.Error(f)
			}
			break
		}
		var n int
		if _, err := fmt.Sscanf(f.Payload[:4], "%d", &n); err == nil {
			if n <= last || f != wstest.Whole(wstest.Text, block(n)) {
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
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, SendBuffer: narrow, Client: []wskit.ClientOption{wskit.WithWriteWait(50 * time.Millisecond)}})
		_, c := srv.Peer(t)
		wstest.Eventually(t, "it is full", func() bool { return !c.Send([]byte(block(0))) })
		hub.Count(t, 0)
	})
}

// Pings are sent, and a peer that does not answer is let go; one that does stays.
func TestPingsAreSentAndAPeerThatDoesNotAnswerIsLetGo(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithPingInterval(20 * time.Millisecond), wskit.WithWriteWait(time.Second)}})
	alive, _ := srv.Browser(t)
	alive.CloseRead(context.Background()) // answers
	hub.Count(t, 1)
	mute, _ := srv.Peer(t)
	hub.Count(t, 2)
	if f, err := mute.Frame(); !f.Is(wstest.Ping) || err != nil {
		t.Fatal(f, err)
	}
	hub.Count(t, 1)
	answering, _ := srv.Peer(t)
	for range 30 { // far longer than the mute one was given
		f, err := answering.Frame()
		if !f.Is(wstest.Ping) || err != nil {
			t.Fatal(f, err)
		}
		answering.Send(t, wstest.Pong, f.Payload)
	}
	hub.Count(t, 2)
}

// A peer that floods pings and reads nothing bounds itself: nobody else is delayed, and the memory it can take is bounded.
func TestAPeerThatFloodsPingsWithoutReadingHarmsNobody(t *testing.T) {
	hub := wstest.Run(t, wskit.WithOnMessage(wstest.Echo))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow, Client: []wskit.ClientOption{wskit.WithWriteWait(wstest.Patience)}})
	flood, _ := srv.Peer(t)
	healthy, _ := srv.Browser(t)
	pings := bytes.Repeat(wstest.Masked(wstest.Ping, strings.Repeat("p", 100)), 1000)
	const writes = 20
	var sent atomic.Int64
	flooding := wstest.Begin(func() {
		for range writes { // 2 MB of pongs
			if _, err := flood.Write(pings); err != nil {
				return
			}
			sent.Add(1)
		}
	})
	for i := range 200 {
		healthy.Say(t, fmt.Sprint(i))
		healthy.Expect(t, fmt.Sprint("echo ", i))
	}
	wstest.Eventually(t, "the server reads what it is sent", func() bool { return sent.Load() == writes })
	wstest.Receive(t, "the flood ends", flooding)
	// It can still talk: what it gets are whole frames, pongs and then the message.
	hub.Broadcast([]byte("end"))
	for {
		f, err := flood.Frame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Op == wstest.Text {
			if f != wstest.Whole(wstest.Text, "end") {
				t.Error(f)
			}
			return
		}
		if !f.Is(wstest.Pong) || len(f.Payload) != 100 {
			t.Fatal(f)
		}
	}
}

// At shutdown what is queued is delivered, then comes 1001. Everybody is told, WebSocket, SSE and foreign.
func TestAtShutdownEverythingQueuedIsDeliveredAndThenComes1001(t *testing.T) {
	hub := wstest.Run(t, wskit.WithDrainTimeout(wstest.Patience))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{SendBuffer: narrow, Client: []wskit.ClientOption{wskit.WithSendBufSize(1000)}})
	var peers []*wstest.Browser
	for range 5 {
		p, _ := srv.Browser(t)
		peers = append(peers, p)
	}
	es, own := srv.Stream(t), &wstest.Probe{}
	hub.Register(own)
	hub.Count(t, 7)
	var want []string
	for i := range 200 {
		hub.Broadcast([]byte(block(i)))
		want = append(want, block(i))
	}
	hub.Stop()
	for _, p := range peers {
		p.Expect(t, want...)
		p.Ends(t, websocket.StatusGoingAway)
	}
	es.Expect(t, want...)
	if _, more := <-es.Events; more {
		t.Error("the stream goes on")
	}
	if err := wstest.Receive(t, "AcceptSSE returns", srv.Streamed); err != nil {
		t.Error(err)
	}
	wstest.Receive(t, "Run returns", hub.Done)
	own.Expect(t, append(want, wstest.Closed)...)
}

// A peer that says nothing does not stall a shutdown beyond the drain timeout. Nor does one that takes nothing.
func TestAShutdownIsBoundedHoweverSilentThePeers(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		const drain = 200 * time.Millisecond
		hub := wstest.Run(t, wskit.WithDrainTimeout(drain))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, SendBuffer: narrow})
		for range 10 {
			srv.Peer(t) // never answers a close frame
		}
		_, c := srv.Peer(t)
		wstest.Eventually(t, "it is full", func() bool { return !c.Send([]byte(block(0))) })
		wstest.Quickly(t, "the shutdown", drain+2*time.Second, func() { hub.Halt(t) })
	})
}

// Unregister and Close are bounded as well, by the write wait: the hub does not keep those who do not answer.
func TestAPeerThatNeverAnswersACloseIsGoneAfterTheWriteWait(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithWriteWait(100 * time.Millisecond)}})
	for _, end := range []func(*wskit.Client){(*wskit.Client).Close, func(c *wskit.Client) { hub.Unregister(c) }} {
		r, c := srv.Peer(t)
		end(c)
		if f, err := r.Frame(); !f.Is(wstest.Close) || f.Code() != 1000 {
			t.Fatal(f, err)
		}
		if _, err := r.In.ReadByte(); err == nil {
			t.Error("something follows the close frame")
		}
		hub.Count(t, 0)
	}
}

// Messages reach each client in the order they were broadcast and sent.
func TestMessagesReachEachClientInOrder(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithSendBufSize(1 << 16)}})
	var peers []*wstest.Browser
	for range 8 {
		p, _ := srv.Browser(t)
		peers = append(peers, p)
	}
	const n = 5000
	casting := wstest.Begin(func() {
		for i := range n {
			hub.Broadcast(fmt.Append(nil, i))
		}
	})
	for _, p := range peers {
		for i := range n {
			if got, err := p.Next(); got != fmt.Sprint(i) {
				t.Fatalf("%s (%v) instead of %d", got, err, i)
			}
		}
	}
	<-casting
}
