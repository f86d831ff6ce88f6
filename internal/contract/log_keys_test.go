package contract_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// What several hubs share is none's: its lines name the Redis.
func TestLinesOfASharedRedisLinkNameNoHub(t *testing.T) {
	srv := redistest.Start(t)
	client := srv.Client(t)
	var log wstest.LogRecorder
	for i := range 2 {
		hub := wstest.Run(t, wskit.WithRedis(client, fmt.Sprint("hub", i)), wskit.WithLogger(log.Logger()))
		if err := hub.BroadcastEventContext(t.Context(), i); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range wstest.Processes(actors.System()) {
		if strings.HasPrefix(id, "redis-link") {
			wstest.Crash(actor.NewPID(actors.System().Address(), id), "test")
		}
	}
	lines := func() []wstest.LogRecord {
		return slices.DeleteFunc(log.Find("wskit: crash"), func(r wstest.LogRecord) bool { return !strings.HasPrefix(r.Attrs["op"].(string), "redis-link") })
	}
	wstest.Eventually(t, "a crash of the link is logged", func() bool { return len(lines()) > 0 })
	for _, r := range lines() {
		if _, named := r.Attrs["hub"]; named || r.Attrs["redis"] != srv.Addr() {
			t.Error(r.Attrs)
		}
	}
}

// The keys of a line are those that docs/logs.md lists, and each line of a hub that runs says whose it is.
func TestTheKeysOfTheLogAreStable(t *testing.T) {
	srv := redistest.Start(t)
	for name, c := range map[string]struct {
		do    func(t *testing.T, hub *node)
		text  string // what the line begins with
		keys  string // beside "hub", in order
		holds bool   // OnDisconnect blocks
	}{
		"a panic": {text: "wskit: crash", keys: "action attempt error op stack", do: func(_ *testing.T, n *node) { n.Register(&wstest.Probe{}) }},
		"a hub that is given up": {text: "wskit: hub ends", keys: "reason", do: func(t *testing.T, n *node) {
			registry := wstest.One(t, n.Hub.Hub, "registry")
			for range 11 {
				wstest.Crash(registry, "again")
			}
		}},
		"a message that is ignored": {text: "wskit: register ignored", keys: "error", do: func(_ *testing.T, n *node) {
			actors.System().Root.Send(n.PID(), &actors.Register{Subscriber: &wstest.Probe{}, Topics: []string{""}})
		}},
		"a call that is ignored": {text: "wskit: Broadcast ignored", keys: "error", do: func(_ *testing.T, n *node) { n.Topic("").Broadcast(nil) }},
		"an upgrade": {text: "wskit: upgrade refused", keys: "advice error host missing origin status", do: func(t *testing.T, n *node) {
			srv := wstest.Serve(t, n.Hub.Hub, wstest.Serving{})
			resp, err := srv.Client().Get(srv.URL + "/ws")
			no(t, err)
			_ = resp.Body.Close()
		}},
		"a drain that takes too long": {text: "wskit: drain timeout", keys: "child", holds: true, do: func(t *testing.T, n *node) { n.Halt(t) }},
		"a subscriber that does not end": {text: "wskit: connections left behind", keys: "count", do: func(t *testing.T, n *node) {
			release := make(chan struct{})
			t.Cleanup(func() { close(release) })
			n.Register(&wstest.Probe{OnClose: func() { <-release }})
			n.Halt(t)
		}},
		"Redis lost": {text: "wskit: redis lost", keys: "advice channel error reason", do: func(t *testing.T, n *node) {
			srv.Kill()
			_ = n.BroadcastEvent(t.Context(), 1)
		}},
		"Redis back": {text: "wskit: redis is back", keys: "after channel", do: func(t *testing.T, n *node) {
			srv.Kill()
			_ = n.BroadcastEvent(t.Context(), 1)
			srv.Restart()
			wstest.Eventually(t, "it is back", func() bool { return n.BroadcastEventContext(t.Context(), 1) == nil })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var log wstest.LogRecorder
			release := make(chan struct{})
			n := redisNode(t, srv.Addr(), wskit.WithName("named"), wskit.WithLogger(log.Logger()), wskit.WithDrainTimeout(300*time.Millisecond),
				wskit.WithOnConnect(func(wskit.Subscriber) { panic("OnConnect") }), wskit.WithOnDisconnect(func(wskit.Subscriber) { <-release }))
			if c.holds {
				t.Cleanup(func() { close(release) })
			} else {
				close(release)
			}
			id := n.PID().Id
			c.do(t, n)
			wstest.Eventually(t, c.text, func() bool {
				return slices.ContainsFunc(log.All(), func(r wstest.LogRecord) bool { return strings.HasPrefix(r.Text, c.text) })
			})
			for _, r := range log.All() {
				if r.Attrs["hub"] != id {
					t.Errorf("%s: of hub %v, want %v", r.Text, r.Attrs["hub"], id)
				}
				if delete(r.Attrs, "hub"); strings.HasPrefix(r.Text, c.text) {
					if keys := strings.Join(slices.Sorted(maps.Keys(r.Attrs)), " "); keys != c.keys {
						t.Errorf("the keys of %q are %s, want %s", r.Text, keys, c.keys)
					}
				}
			}
		})
	}
}
