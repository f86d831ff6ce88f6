package attack_test

import (
	"slices"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// A peer that is half dead, so that its connection is open and nothing comes back, is closed and unregistered when no pong
// has come within the write wait, and not before.
func TestAHalfDeadPeerIsClosedAfterTheWriteWaitAndUnregistered(t *testing.T) {
	const wait = 300 * time.Millisecond
	h, events := embed(t, hubactor.Config{})
	srv := serve(t, h.Hub, wskit.WithPingInterval(50*time.Millisecond), wskit.WithWriteWait(wait))
	dead, c := srv.silent(t)
	op, _, err := dead.frame()
	pinged := time.Now()
	if op != opPing || err != nil {
		t.Fatal(op, err)
	}
	if h.SubscriberCount() != 1 {
		t.Error("it is not registered")
	}
	h.count(t, 0)
	if d := time.Since(pinged); d < wait*9/10 || d > wait+margin {
		t.Errorf("it was let go %v after the ping, want %v", d, wait)
	}
	eventually(t, "its event", func() bool {
		return slices.ContainsFunc(events.get(), func(e any) bool {
			d, ok := e.(*actors.Disconnected)
			return ok && d.Subscriber == c && d.Reason == actors.ReasonPing
		})
	})
	for op := byte(opPing); ; { // it is told why, should it still read
		var err error
		if op, _, err = dead.frame(); err != nil {
			break
		}
		if op != opPing && op != opClose {
			t.Errorf("got a frame with opcode %x", op)
		}
	}
}

// A pong that comes late, but within the write wait, is as good as any; so is one that nobody asked for.
func TestALatePongDoesNotMatter(t *testing.T) {
	const wait = 600 * time.Millisecond
	h := run(t)
	srv := serve(t, h.Hub, wskit.WithPingInterval(50*time.Millisecond), wskit.WithWriteWait(wait))
	late, c := srv.silent(t)
	h.count(t, 1)
	late.put(t, opPong, []byte("nobody asked"))
	for range 4 {
		op, payload, err := late.frame()
		if op != opPing || err != nil {
			t.Fatal(op, payload, err)
		}
		pause(wait / 2) // far beyond the ping interval
		late.put(t, opPong, []byte(payload))
	}
	late.put(t, opPong, []byte("and another"))
	c.Send([]byte("still here"))
	late.expect(t, "still here")
	if h.SubscriberCount() != 1 {
		t.Error("it was let go")
	}
}

// Pings of clients that connected together do not come together.
func TestPingsOfClientsThatConnectedTogetherAreSpread(t *testing.T) {
	const n, interval = 60, 1200 * time.Millisecond
	h := run(t, wskit.WithDrainTimeout(300*time.Millisecond))
	srv := serve(t, h.Hub, wskit.WithPingInterval(interval))
	start := time.Now()
	var peers []*raw
	for range n {
		r, _ := srv.silent(t)
		peers = append(peers, r)
	}
	together := time.Since(start)
	firsts, ends := &list[time.Duration]{}, []<-chan struct{}{}
	for _, r := range peers {
		ends = append(ends, begin(func() {
			if op, _, err := r.frame(); op != opPing || err != nil {
				t.Error(op, err)
			}
			firsts.add(time.Since(start))
		}))
	}
	for _, end := range ends {
		receive(t, "a ping", end)
	}
	times := firsts.get()
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
