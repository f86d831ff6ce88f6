package attack_test

import (
	"slices"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// A peer that is half dead, so that its connection is open and nothing comes back, is closed and unregistered when no pong
// has come within the write wait, and not before.
func TestAHalfDeadPeerIsClosedAfterTheWriteWaitAndUnregistered(t *testing.T) {
	const wait = 300 * time.Millisecond
	h, events := wstest.Embed(t, hubactor.Config{})
	srv := serve(t, h.Hub, wskit.WithPingInterval(50*time.Millisecond), wskit.WithWriteWait(wait))
	dead, c := silent(t, srv)
	f, err := dead.Frame()
	pinged := time.Now()
	if !f.Is(wstest.Ping) || err != nil {
		t.Fatal(f, err)
	}
	if h.SubscriberCount() != 1 {
		t.Error("it is not registered")
	}
	h.Count(t, 0)
	if d := time.Since(pinged); d < wait*9/10 || d > wait+margin {
		t.Errorf("it was let go %v after the ping, want %v", d, wait)
	}
	wstest.Eventually(t, "its event", func() bool {
		return slices.ContainsFunc(events.All(), func(e any) bool {
			d, ok := e.(*actors.Disconnected)
			return ok && d.Subscriber == c && d.Reason == actors.ReasonPing
		})
	})
	for { // it is told why, should it still read
		f, err := dead.Frame()
		if err != nil {
			break
		}
		if !f.Is(wstest.Ping) && !f.Is(wstest.Close) {
			t.Error("got", f)
		}
	}
}

// A pong that comes late, but within the write wait, is as good as any; so is one that nobody asked for.
func TestALatePongDoesNotMatter(t *testing.T) {
	const wait = 600 * time.Millisecond
	h := wstest.Run(t)
	srv := serve(t, h.Hub, wskit.WithPingInterval(50*time.Millisecond), wskit.WithWriteWait(wait))
	late, c := silent(t, srv)
	h.Count(t, 1)
	late.Send(t, wstest.Pong, "nobody asked")
	for range 4 {
		f, err := late.Frame()
		if !f.Is(wstest.Ping) || err != nil {
			t.Fatal(f, err)
		}
		pause(wait / 2) // far beyond the ping interval
		late.Send(t, wstest.Pong, f.Payload)
	}
	late.Send(t, wstest.Pong, "and another")
	c.Send([]byte("still here"))
	late.Expect(t, "still here")
	if h.SubscriberCount() != 1 {
		t.Error("it was let go")
	}
}

// Pings of clients that connected together do not come together.
func TestPingsOfClientsThatConnectedTogetherAreSpread(t *testing.T) {
	const n, interval = 60, 1200 * time.Millisecond
	h := wstest.Run(t, wskit.WithDrainTimeout(300*time.Millisecond))
	srv := serve(t, h.Hub, wskit.WithPingInterval(interval))
	start := time.Now()
	var peers []*wstest.Peer
	for range n {
		r, _ := silent(t, srv)
		peers = append(peers, r)
	}
	together := time.Since(start)
	firsts, ends := &wstest.List[time.Duration]{}, []<-chan struct{}{}
	for _, r := range peers {
		ends = append(ends, wstest.Begin(func() {
			if f, err := r.Frame(); !f.Is(wstest.Ping) || err != nil {
				t.Error(f, err)
			}
			firsts.Add(time.Since(start))
		}))
	}
	for _, end := range ends {
		wstest.Receive(t, "a ping", end)
	}
	times := firsts.All()
	slices.Sort(times)
	if times[0] < interval/2 || times[n-1] > interval+together+margin {
		t.Errorf("pings came from %v to %v", times[0], times[n-1])
	}
	// Over half an interval, evenly: no tenth of it holds half of them.
	for i := range times {
		in := 0
		for _, at := range times[i:] {
			if at < times[i]+interval/20 {
				in++
			}
		}
		if in > n/2 {
			t.Fatalf("%d of %d pings came within %v", in, n, interval/20)
		}
	}
}
