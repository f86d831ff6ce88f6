package redisactor_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
)

func TestALoadHasWhatIsKept(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		a := newHub(t, srv.Client(t), "load", keeping(3))
		a.enter("x", "none")
		a.follow()
		for i := range 5 {
			told(t, a.publishTo("x", fmt.Sprint(i), nil))
		}
		told(t, a.publishTo("elsewhere", "e", nil))
		reply := make(chan error, 1)
		a.send(&actors.Publish{Topic: "bare", Frame: actors.NewFrame([]byte("b")), Keep: &actors.Keeping{History: &actors.History{}}, Reply: reply})
		told(t, reply)
		large := strings.Repeat("l", 1000)
		for range 3 {
			reply := make(chan error, 1)
			a.send(&actors.Publish{Topic: "large", Frame: actors.NewFrame([]byte(large)), Keep: &actors.Keeping{History: &actors.History{Messages: 3, Bytes: 2500}}, Reply: reply})
			told(t, reply)
		}
		a.send(&actors.Publish{Topic: "larger", Frame: actors.NewFrame([]byte(large)), Keep: &actors.Keeping{History: &actors.History{Messages: 3, Bytes: 25}}, Reply: reply})
		told(t, reply)
		got := a.loads("x", "none", "elsewhere", "bare", "large", "larger", "")
		for _, want := range []struct {
			topic    string
			followed bool
			messages []string
			lost     uint64
		}{
			{"x", true, []string{"2", "3", "4"}, 2}, {"none", true, nil, 0}, {"", true, nil, 0}, {"elsewhere", false, []string{"e"}, 0},
			{"bare", false, nil, 7}, {"large", false, []string{large, large}, 8}, {"larger", false, []string{large}, 0},
		} {
			l := got[want.topic]
			if l.Followed != want.followed || !slices.Equal(texts(l.Messages), want.messages) || l.Lost != want.lost || l.Hole {
				t.Errorf("%q: followed %v, %d messages, lost %d", want.topic, l.Followed, len(l.Messages), l.Lost)
			}
		}
		a.grows()
	})
}

func TestATopicThatIsLeftIsNotFollowedAnyMore(t *testing.T) {
	srv := redistest.StartReal(t)
	a := newHub(t, srv.Client(t), "leave", keeping(10))
	a.enter("x")
	a.follow()
	if l := a.loads("x")["x"]; !l.Followed {
		t.Errorf("loaded %+v", l)
	}
	a.exit("x")
	told(t, a.publishTo("x", "lingering", nil)) // goes on to the ring
	a.gets(time.Second, "[x] lingering")
	if !redistest.Until(5*time.Second, func() bool {
		return slices.ContainsFunc(a.loggeds(), func(l *actors.Logged) bool {
			return slices.ContainsFunc(l.Topics, func(t actors.LoggedTopic) bool { return t.Topic == "x" && !t.Followed && !t.Loaded })
		})
	}) {
		t.Error("the registry was not told that the topic was left")
	}
	told(t, a.publishTo("x", "gone", nil))
	a.gets(100*time.Millisecond, "[x] lingering")
}

func TestWhatIsTooOldIsNotLoaded(t *testing.T) {
	srv := redistest.StartReal(t)
	keep := &actors.History{Messages: 10, Age: 800 * time.Millisecond}
	a := newHub(t, srv.Client(t), "old", func(h *hub) {
		k := keep.WithDefaults()
		h.link.History = &k
	})
	a.enter("x", "y")
	a.follow()
	told(t, a.publishTo("x", "1", nil))
	told(t, a.publishTo("y", "2", nil))
	redistest.Until(500*time.Millisecond, func() bool { return false })
	told(t, a.publishTo("y", "3", nil))
	redistest.Until(500*time.Millisecond, func() bool { return false })
	got := a.loads("x", "y")
	if x, y := got["x"], got["y"]; len(x.Messages) > 0 || x.Lost == 0 || !slices.Equal(texts(y.Messages), []string{"3"}) || y.Lost != 2 {
		t.Errorf("loaded %+v", got)
	}
}

func TestALoadIsWholeWhileMessagesGoOn(t *testing.T) {
	srv := redistest.StartReal(t)
	proxy := redistest.Proxy(t, srv.Addr())
	a, b := newHub(t, redistest.Client(t, proxy.Addr()), "whole", keeping(50)), newHub(t, srv.Client(t), "whole", keeping(50))
	a.enter("x", "y")
	a.follow()
	a.loads("x", "y") // and now they are followed
	end := make(chan struct{})
	done := make(chan int)
	go func() {
		n := 0
		pace := time.NewTicker(500 * time.Microsecond)
		defer pace.Stop()
		for {
			select {
			case <-end:
				done <- n
				return
			case <-pace.C:
				b.publishTo([]string{"x", "y", "elsewhere", ""}[n%4], fmt.Sprint(n), nil)
				n++
			}
		}
	}()
	for i := range 60 {
		a.loads("x", "y")
		if i%20 == 10 {
			proxy.CutSubscribers()
		}
	}
	close(end)
	n := <-done
	redistest.Until(2*time.Second, func() bool { return a.total() >= n-n/4-1 })
	a.grows()
	last := make(map[string]uint64)
	loads, seen := 0, uint64(0)
	for i, e := range a.entered() {
		if e.logged == nil {
			if p := e.at; p.Prev != last[p.Topic] {
				t.Fatalf("entry %d is at %d after %d, and the one before was at %d", i, p.N, p.Prev, last[p.Topic])
			}
			last[e.at.Topic], seen = e.at.N, e.at.N
			continue
		}
		if e.logged.At.N < seen {
			t.Fatalf("entry %d says %v after %d", i, e.logged.At, seen)
		}
		for _, topic := range e.logged.Topics {
			loads++
			before := topic.Lost
			for _, f := range topic.Messages {
				if p := f.Placement(); p.Prev != before {
					t.Fatalf("entry %d has %q at %d after %d, and before it %d", i, topic.Topic, p.N, p.Prev, before)
				}
				before = f.Placement().N
			}
			if before != last[topic.Topic] || len(topic.Messages) > 50 {
				t.Fatalf("entry %d has %q up to %d, of which %d has come", i, topic.Topic, before, last[topic.Topic])
			}
		}
	}
	t.Logf("%d loads, %d messages", loads, n)
}
