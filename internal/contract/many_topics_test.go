package contract_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// member is a subscriber that keeps what it is sent.
type member struct {
	mu  sync.Mutex
	got []string
}

func (m *member) Send(data []byte) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.got = append(m.got, string(data))
	return true
}

func (*member) Close() {}

func (m *member) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

// 10,000 topics of ten members each, on two instances: a message to each topic reaches each of its members once, and nobody else.
func TestAFloodOfTopicsReachesEachMemberOnceAndNobodyElse(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("takes 5 s, and under -race 25")
	}
	const topics, members = 10_000, 1000
	srv := redistest.Start(t)
	nodes := []*node{redisNode(t, srv.Addr()), redisNode(t, srv.Addr())}
	// Member i is in the topics t of which t%100 is i/10: a hundred each, five of their ten members on either instance.
	all := make([]*member, members)
	for i := range all {
		all[i] = &member{}
		hub := nodes[i%2].Hub
		hub.Register(all[i])
		for topic := i / 10; topic < topics; topic += members / 10 {
			no(t, hub.Topic("t"+strconv.Itoa(topic)).Join(all[i]))
		}
	}
	for i, n := range nodes {
		n.listen(t, srv, i+1)
	}
	channels := make([]string, topics)
	for topic := range channels {
		channels[topic] = channel + ":t" + strconv.Itoa(topic)
	}
	wstest.Eventually(t, "both are subscribed to all", func() bool {
		subscribed, err := nodes[0].client.PubSubNumSub(t.Context(), channels...).Result()
		no(t, err)
		for _, n := range subscribed {
			if n < 2 {
				return false
			}
		}
		return true
	})
	want := make([][]string, members)
	for topic := range topics {
		no(t, nodes[topic/100%2].Topic("t"+strconv.Itoa(topic)).BroadcastEventContext(t.Context(), topic))
		for i := topic % 100 * 10; i < topic%100*10+10; i++ {
			want[i] = append(want[i], strconv.Itoa(topic))
		}
	}
	no(t, nodes[0].BroadcastEventContext(t.Context(), "end")) // whatever comes twice has come by then
	for i, m := range all {
		wstest.Eventually(t, fmt.Sprint("the end reaches ", i), func() bool { return slices.Contains(m.list(), `"end"`) })
		if got := m.list(); !slices.Equal(got, append(want[i], `"end"`)) {
			t.Fatalf("member %d got %d messages, want %d and the end: %.300q", i, len(got), len(want[i]), got)
		}
	}
}
