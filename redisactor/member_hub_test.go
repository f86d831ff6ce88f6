package redisactor_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/redisactor"
)

// guest is a subscriber of a whole hub, who notes what it gets.
type guest struct {
	mu  sync.Mutex
	got []string
}

func (g *guest) Send(data []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.got = append(g.got, string(data))
	return true
}

func (*guest) Close() {}

func (g *guest) received() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.got)
}

// house is a whole hub.
type house struct {
	t    *testing.T
	root *actor.RootContext
	pid  *actor.PID
}

func newHouse(t *testing.T, srv *redistest.Server, addr, channel string) *house {
	t.Helper()
	h := &house{t: t, root: actors.System().Root}
	h.pid = h.root.Spawn(hubactor.Props(hubactor.Config{Redis: redisactor.Spec(redistest.Client(t, addr), channel)}))
	t.Cleanup(func() { _ = h.root.StopFuture(h.pid).Wait() })
	h.root.Send(h.pid, &actors.Subscribe{})
	subscribedTo(t, srv, 5*time.Second, 1, channel)
	return h
}

func (h *house) join(topic string, g *guest) {
	h.t.Helper()
	reply := make(chan error, 1)
	h.root.Send(h.pid, &actors.Join{Subscriber: g, Topic: topic, Reply: reply})
	told(h.t, reply)
}

func (h *house) leave(topic string, g *guest) {
	h.t.Helper()
	reply := make(chan error, 1)
	h.root.Send(h.pid, &actors.Leave{Subscriber: g, Topic: topic, Reply: reply})
	told(h.t, reply)
}

func (h *house) publish(topic, payload string, except actors.Subscriber) {
	h.t.Helper()
	reply := make(chan error, 1)
	h.root.Send(h.pid, &actors.Publish{Topic: topic, Frame: actors.NewFrame([]byte(payload)), Except: except, Reply: reply})
	within(h.t, 3*time.Second, reply, "an answer") // that it was delivered locally only is an answer too
}

func TestAMemberGetsExactlyWhatWasPublishedWhileItWasIn(t *testing.T) {
	srv := redistest.Start(t)
	proxy := redistest.Proxy(t, srv.Addr())
	h := newHouse(t, srv, proxy.Addr(), "house")
	stays, comes, speaks := new(guest), new(guest), new(guest)
	for _, g := range []*guest{stays, comes, speaks} {
		h.root.Send(h.pid, &actors.Register{Subscriber: g})
	}
	h.join("room", stays)
	h.join("room", speaks)
	var all, some []string
	for i := range 300 {
		if i%100 == 50 {
			proxy.CutSubscribers() // and its members notice nothing
		}
		in := i%3 > 0
		switch i % 3 {
		case 1:
			h.join("room", comes)
		case 0:
			h.leave("room", comes)
		}
		payload := fmt.Sprint(i % 7)
		h.publish("room", payload, speaks)
		h.publish("elsewhere", payload, nil)
		if all = append(all, payload); in {
			some = append(some, payload)
		}
	}
	h.publish("", "end", nil)
	for name, each := range map[string]struct {
		guest *guest
		want  []string
	}{
		"who stays":  {stays, append(all, "end")},
		"who comes":  {comes, append(some, "end")},
		"who speaks": {speaks, []string{"end"}},
	} {
		redistest.Until(3*time.Second, func() bool { return len(each.guest.received()) >= len(each.want) })
		if got := each.guest.received(); !slices.Equal(got, each.want) {
			t.Errorf("%s got %d messages, not %d: %.200q", name, len(got), len(each.want), got)
		}
	}
}
