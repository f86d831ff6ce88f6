package wstest

import (
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
)

// Tree is the ids of the hub's actors now.
func Tree(t testing.TB, h *wskit.Hub) []string {
	t.Helper()
	reply := make(chan []string, 1)
	actors.System().Root.Send(h.PID(), &actors.Tree{Reply: reply})
	return Receive(t, "the tree", reply)
}

// Children is the hub's actors now whose own name begins so, such as "ws-".
func Children(t testing.TB, h *wskit.Hub, prefix string) (pids []*actor.PID) {
	t.Helper()
	for _, id := range Tree(t, h) {
		if strings.HasPrefix(id[strings.LastIndex(id, "/")+1:], prefix) {
			pids = append(pids, actors.System().NewLocalPID(id))
		}
	}
	return pids
}

// One waits for the hub to have exactly one actor whose own name begins so, such as "registry" or "ws-".
func One(t testing.TB, h *wskit.Hub, prefix string) *actor.PID {
	t.Helper()
	var found []*actor.PID
	Eventually(t, "one actor "+prefix, func() bool {
		found = Children(t, h, prefix)
		return len(found) == 1
	})
	return found[0]
}

// Crash makes an actor panic with reason.
func Crash(pid *actor.PID, reason any) {
	actors.System().Root.Send(pid, &actors.Crash{Reason: reason})
}

// Dropped is what the events of Embed say was dropped: by subscriber, the number of each episode.
func Dropped(events *List[any]) map[actors.Subscriber][]int {
	counts := map[actors.Subscriber][]int{}
	for _, e := range events.All() {
		if d, ok := e.(*actors.Dropped); ok {
			counts[d.Subscriber] = append(counts[d.Subscriber], d.Count)
		}
	}
	return counts
}
