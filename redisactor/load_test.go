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
		a.send(&actors.Publish{Topic: "bare", Frame: actors.NewFrame([]byte("b")), History: &actors.History{}, Reply: reply})
		told(t, reply)
		large := strings.Repeat("l", 1000)
		for range 3 {
			reply := make(chan error, 1)
			a.send(&actors.Publish{Topic: "large", Frame: actors.NewFrame([]byte(large)), History: &actors.History{Messages: 3, Bytes: 2500}, Reply: reply})
			told(t, reply)
		}
		a.send(&actors.Publish{Topic: "larger", Frame: actors.NewFrame([]byte(large)), History: &actors.History{Messages: 3, Bytes: 25}, Reply: reply})
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
