package contract_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

const lastText = "last"

// topicListener is a subscriber and what its peer has read, up to lastText.
type topicListener struct {
	wskit.Subscriber
	read func(testing.TB) []string
}

// topicCrowd connects n subscribers, every third of them a stream, and returns them with the gate of their hub.
func topicCrowd(t *testing.T, n int) (*wstest.Hub, *actors.Link, []topicListener) {
	t.Helper()
	came := make(chan wskit.Subscriber, n)
	hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) { came <- s }))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	var crowd []topicListener
	for i := range n {
		var next func(testing.TB) string
		if i%3 == 2 {
			stream := srv.Stream(t)
			next = func(t testing.TB) string { return wstest.Receive(t, "an event", stream.Events) }
		} else {
			browser, _ := srv.Browser(t)
			next = func(t testing.TB) string {
				text, err := browser.Next()
				if err != nil {
					t.Fatal(err)
				}
				return text
			}
		}
		crowd = append(crowd, topicListener{wstest.Receive(t, "OnConnect", came), func(t testing.TB) (all []string) {
			for text := next(t); text != lastText; text = next(t) {
				all = append(all, text)
			}
			return all
		}})
	}
	return hub, actors.ResolveLink(actors.System(), hub.PID()), crowd
}

// Everything admitted after a Join returned reaches the one who joined, nothing admitted after a Leave returned does, and the hub's
// broadcasts and the topic's come in the order of their caller.
func TestASubscriberGetsWhatWasBroadcastBetweenItsJoinAndItsLeave(t *testing.T) {
	hub, link, crowd := topicCrowd(t, 12)
	enter := func(op actors.Operation) {
		t.Helper()
		if err := link.Gate.Enter(op, wstest.Patience); err != nil {
			t.Fatal(err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	in, want := make([]bool, len(crowd)), make([][]string, len(crowd))
	for i := range 2000 {
		switch text := strconv.Itoa(i); {
		case i%100 == 50:
			hub.Broadcast([]byte(text))
			for n := range want {
				want[n] = append(want[n], text)
			}
		case i%10 == 0:
			enter(&actors.Broadcast{Frame: actors.NewFrame([]byte(text)), Topic: "room"})
			for n := range want {
				if in[n] {
					want[n] = append(want[n], text)
				}
			}
		default:
			n := random.IntN(len(crowd))
			if in[n] = !in[n]; in[n] {
				enter(&actors.Join{Subscriber: crowd[n].Subscriber, Topic: "room"})
			} else {
				enter(&actors.Leave{Subscriber: crowd[n].Subscriber, Topic: "room"})
			}
		}
	}
	hub.Broadcast([]byte(lastText))
	for n, l := range crowd {
		if got := l.read(t); !slices.Equal(got, want[n]) {
			t.Errorf("%T read %q, want %q", l.Subscriber, got, want[n])
		}
	}
}

// stay is what is known of one stay in a topic, by the numbers of broadcasts: those that were begun after the Join returned and over
// before the Leave was called are got; of those that were under way at the time each may be.
type stay struct {
	earliest, first, last, latest int64
	over                          bool
}

// 1,000 joins and leaves a second by several callers under 100 messages a second.
func TestJoinsAndLeavesByManyTakeEffectWhenTheyReturn(t *testing.T) {
	const callers, rate, lasts = 4, 1000, 2 * time.Second
	hub, link, crowd := topicCrowd(t, 24)
	var begun, over atomic.Int64
	enter := func(op actors.Operation) {
		if err := link.Gate.Enter(op, wstest.Patience); err != nil {
			t.Error(err)
		}
	}
	stays := make([][]stay, len(crowd))
	join := func(n int) {
		s := stay{earliest: over.Load() + 1}
		enter(&actors.Join{Subscriber: crowd[n].Subscriber, Topic: "room"})
		s.first = begun.Load() + 1
		stays[n] = append(stays[n], s)
	}
	leave := func(n int) {
		s := &stays[n][len(stays[n])-1]
		s.last = over.Load()
		enter(&actors.Leave{Subscriber: crowd[n].Subscriber, Topic: "room"})
		s.latest, s.over = begun.Load(), true
	}
	done := make(chan struct{})
	broadcasts := wstest.Begin(func() {
		tick := time.NewTicker(time.Second / 100)
		defer tick.Stop()
		for n := int64(1); ; n++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			begun.Store(n)
			enter(&actors.Broadcast{Frame: actors.NewFrame(fmt.Append(nil, n)), Topic: "room"})
			over.Store(n)
		}
	})
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			tick := time.NewTicker(callers * time.Second / rate)
			defer tick.Stop()
			mine := len(crowd) / callers
			for i := range int(lasts * rate / callers / time.Second) {
				<-tick.C
				if n := c*mine + i%mine; i/mine%2 == 0 {
					join(n)
				} else {
					leave(n)
				}
			}
			for n := c * mine; n < (c+1)*mine; n++ {
				if !stays[n][len(stays[n])-1].over {
					leave(n)
				}
			}
		})
	}
	all.Wait()
	close(done)
	<-broadcasts
	if n := link.Roll.CountIn("room"); n != 0 {
		t.Errorf("%d are left in the topic", n)
	}
	hub.Broadcast([]byte(lastText))
	total := 0
	for n, l := range crowd {
		got := map[int64]bool{}
		before := int64(0)
		for _, text := range l.read(t) {
			number, _ := strconv.ParseInt(text, 10, 64)
			if number <= before {
				t.Errorf("%T read %q after %d", l.Subscriber, text, before)
			}
			if !slices.ContainsFunc(stays[n], func(s stay) bool { return s.earliest <= number && number <= s.latest }) {
				t.Errorf("%T read %q, and was in the topic %v", l.Subscriber, text, stays[n])
			}
			before, got[number] = number, true
		}
		for _, s := range stays[n] {
			for number := s.first; number <= s.last; number++ {
				total++
				if !got[number] {
					t.Errorf("%T missed %d, and was in the topic %v", l.Subscriber, number, s)
				}
			}
		}
	}
	if total < 24*20 {
		t.Errorf("no more than %d messages were due for certain", total)
	}
}
