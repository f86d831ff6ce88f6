package attack_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

const bulk = 1 << 20 // bytes, far more than the sockets take

// flood is one way to overfill a queue of 5 messages, or of a megabyte in 5 messages, with 8.
type flood struct {
	bound wskit.ClientOption
	texts []string
}

func floods() map[string]flood {
	var large []string
	for i := range 8 {
		large = append(large, fmt.Sprint(i, strings.Repeat("#", bulk/5-1)))
	}
	return map[string]flood{
		"messages": {wskit.WithSendBufSize(5), numbered("m", 8)},
		"bytes":    {wskit.WithSendBufBytes(bulk), large},
	}
}

var policies = map[string]wskit.Overflow{"newest": wskit.DropNewest, "oldest": wskit.DropOldest, "disconnect": wskit.Disconnect}

// fate is what becomes of 8 messages for a queue that has room for 5.
func fate(policy wskit.Overflow, texts []string) (arrive, dropped []string) {
	switch policy {
	case wskit.DropOldest:
		return texts[3:], texts[:3]
	case wskit.Disconnect: // the sixth is dropped first, then what was queued; the others find the client closed
		return nil, append([]string{texts[5]}, texts[:5]...)
	default:
		return texts[:5], texts[5:]
	}
}

type drop struct {
	sub  wskit.Subscriber
	text string
}

// A peer that stalls with a full socket and then reads gets what the policy says, in order, and the policy's victims are
// told to OnDrop; by Send and by Broadcast, bounded by messages and by bytes.
func TestAPeerThatStallsAndThenReadsGetsWhatThePolicySays(t *testing.T) {
	for name, policy := range policies {
		for bound, f := range floods() {
			for _, way := range []string{"send", "broadcast"} {
				t.Run(fmt.Sprint(name, "/", bound, "/", way), func(t *testing.T) {
					var drops wstest.List[drop]
					h := wstest.Run(t, wskit.WithOnDrop(func(s wskit.Subscriber, data []byte) { drops.Add(drop{s, string(data)}) }))
					stalled, c := silent(t, serve(t, h.Hub, wskit.WithOverflow(policy), f.bound))
					h.Count(t, 1)
					filler := strings.Repeat("x", bulk)
					stuff(t, c, filler)
					for i, text := range f.texts {
						if way == "broadcast" {
							h.Broadcast([]byte(text))
							continue
						}
						var want error
						switch {
						case policy == wskit.Disconnect && i > 5:
							want = wskit.ErrHubStopped
						case policy == wskit.Disconnect && i == 5, policy == wskit.DropNewest && i > 4:
							want = wskit.ErrSendBufferFull
						}
						if err := c.SendErr([]byte(text)); !errors.Is(err, want) {
							t.Errorf("message %d: %v, want %v", i, err, want)
						}
					}
					h.Settled(t)
					arrive, lost := fate(policy, f.texts)
					stalled.Expect(t, append([]string{filler}, arrive...)...)
					if policy == wskit.Disconnect {
						stalled.Ends(t, 1013, "slow consumer")
						_ = stalled.Close()
						h.Count(t, 0)
					}
					wstest.Eventually(t, "OnDrop was called", func() bool { return drops.Len() >= len(lost) })
					checkDrops(t, drops.All(), c, lost)
				})
			}
		}
	}
}

func checkDrops(t testing.TB, got []drop, c wskit.Subscriber, want []string) {
	t.Helper()
	var texts []string
	for _, d := range got {
		if d.sub != c {
			t.Errorf("OnDrop was told of %v", d.sub)
		}
		texts = append(texts, d.text)
	}
	if !slices.Equal(texts, want) {
		t.Errorf("OnDrop was told of %d %.80q, want %d %.80q", len(texts), texts, len(want), want)
	}
}

// Broadcasts that wait for OnConnect have a bound of their own, with the same policy; what OnConnect sends has its own too.
func TestBroadcastsHeldBackWhileOnConnectRunsOverflowByThePolicy(t *testing.T) {
	for name, policy := range policies {
		for bound, f := range floods() {
			t.Run(fmt.Sprint(name, "/", bound), func(t *testing.T) {
				var drops wstest.List[drop]
				release, entered := make(chan struct{}), make(chan struct{}, 9)
				h := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) {
					if c, ok := s.(*wskit.Client); ok {
						entered <- struct{}{}
						<-release
						for _, text := range f.texts[:5] { // fits, whatever is held
							if err := c.SendErr([]byte(text)); err != nil && policy != wskit.Disconnect {
								t.Error(err)
							}
						}
					}
				}), wskit.WithOnDrop(func(s wskit.Subscriber, data []byte) { drops.Add(drop{s, string(data)}) }))
				p, c := serve(t, h.Hub, wskit.WithOverflow(policy), f.bound).Browser(t)
				wstest.Receive(t, "OnConnect runs", entered)
				for _, text := range f.texts {
					h.Broadcast([]byte(text))
				}
				if policy == wskit.Disconnect {
					wstest.Eventually(t, "the client is closed", func() bool { return c.Outbox().Reason() == actors.ReasonSlow })
				} else {
					h.Settled(t)
				}
				close(release)
				arrive, lost := fate(policy, f.texts)
				if policy == wskit.Disconnect {
					p.Ends(t, 1013)
					h.Count(t, 0)
				} else {
					p.Expect(t, append(slices.Clone(f.texts[:5]), arrive...)...)
				}
				wstest.Eventually(t, "OnDrop was called", func() bool { return drops.Len() >= len(lost) })
				checkDrops(t, drops.All(), c, lost)
			})
		}
	}
}

// A bound of n bytes takes a message of n, and one of n+1 never, whatever the policy.
func TestAMessageOfExactlyTheBytesFitsAndOneMoreNever(t *testing.T) {
	for name, policy := range policies {
		t.Run(name, func(t *testing.T) {
			h := wstest.Run(t)
			paused := func(*wskit.Client) {} // nothing leaves the queue
			srv := servePumps(t, h.Hub, paused, wskit.WithOverflow(policy), wskit.WithSendBufBytes(10))
			_, c := srv.Browser(t)
			if err := c.SendErr(make([]byte, 10)); err != nil {
				t.Error("10 bytes:", err)
			}
			if err := c.SendErr(nil); err != nil {
				t.Error("nothing more:", err)
			}
			if err := c.SendErr(make([]byte, 11)); !errors.Is(err, wskit.ErrSendBufferFull) {
				t.Error("11 bytes:", err)
			}
			if err := c.SendErr([]byte{}); policy == wskit.Disconnect != errors.Is(err, wskit.ErrHubStopped) {
				t.Error("after that:", err)
			}
			go c.ReadPump()
			go c.WritePump()
		})
	}
}

// Beside each other the bounds of messages and bytes hold both: whichever is reached first.
func TestMessagesAndBytesAreBoundedTogether(t *testing.T) {
	h := wstest.Run(t)
	srv := servePumps(t, h.Hub, func(*wskit.Client) {}, wskit.WithSendBufSize(4), wskit.WithSendBufBytes(10))
	fill := func(size int) (n int) {
		_, c := srv.Browser(t)
		for c.Send(make([]byte, size)) {
			n++
		}
		c.Close()
		return n
	}
	for size, want := range map[int]int{0: 4, 2: 4, 3: 3, 5: 2, 6: 1, 10: 1, 11: 0} {
		if got := fill(size); got != want {
			t.Errorf("%d messages of %d bytes fit, want %d", got, size, want)
		}
	}
}

// DropOldest makes the room a large message needs, and takes no more victims than that.
func TestDropOldestDropsAsManyAsTheNewOneNeeds(t *testing.T) {
	var drops wstest.List[drop]
	h := wstest.Run(t, wskit.WithOnDrop(func(s wskit.Subscriber, data []byte) { drops.Add(drop{s, string(data)}) }))
	p, c := servePumps(t, h.Hub, func(*wskit.Client) {}, wskit.WithOverflow(wskit.DropOldest), wskit.WithSendBufBytes(10)).Browser(t)
	h.Count(t, 1)
	for _, text := range []string{"111", "222", "333", "44444"} {
		if err := c.SendErr([]byte(text)); err != nil {
			t.Error(text, err)
		}
	}
	go c.ReadPump()
	go c.WritePump()
	p.Expect(t, "333", "44444")
	wstest.Eventually(t, "OnDrop was called", func() bool { return drops.Len() >= 2 })
	checkDrops(t, drops.All(), c, []string{"111", "222"})
}

// Options out of their range mean the defaults or no bound, and one that is applied by hand does not panic.
func TestOptionsOutOfRangeAndAppliedByHand(t *testing.T) {
	h := wstest.Run(t)
	srv := servePumps(t, h.Hub, func(*wskit.Client) {}, nil, wskit.WithOverflow(200), wskit.WithSendBufBytes(-5), wskit.WithSendBufSize(-5))
	_, c := srv.Browser(t)
	n := 0
	for c.Send(make([]byte, 1<<10)) {
		n++
	}
	if n != wskit.DefaultSendBufSize {
		t.Errorf("%d messages fit, want %d", n, wskit.DefaultSendBufSize)
	}
	if err := c.SendErr(nil); !errors.Is(err, wskit.ErrSendBufferFull) {
		t.Error("an unknown policy does not drop the newest:", err)
	}
	cfg := &wskit.ClientConfig{}
	for _, opt := range []wskit.ClientOption{
		wskit.WithOverflow(wskit.Disconnect), wskit.WithSendBufBytes(7), wskit.WithSendBufSize(3), wskit.WithWriteWait(1),
		wskit.WithPingInterval(2), wskit.WithMaxMessageSize(4),
	} {
		opt(cfg)
	}
	if want := (wskit.ClientConfig{WriteWait: 1, PingInterval: 2, MaxMessageSize: 4, SendBufSize: 3}); *cfg != want {
		t.Errorf("%+v, want %+v", *cfg, want)
	}
	c.Close()
}

// SendErr tells a full queue from a client that is closed, unregistered or whose hub has stopped.
func TestSendErrTellsAFullQueueFromAStoppedHub(t *testing.T) {
	ends := map[string]func(*wstest.Hub, *wskit.Client){
		"closed":       func(_ *wstest.Hub, c *wskit.Client) { c.Close() },
		"unregistered": func(h *wstest.Hub, c *wskit.Client) { h.Unregister(c) },
		"stopped":      func(h *wstest.Hub, c *wskit.Client) { h.Stop() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			h := wstest.Run(t)
			_, c := servePumps(t, h.Hub, func(*wskit.Client) {}, wskit.WithSendBufSize(1)).Browser(t)
			h.Count(t, 1)
			first, second := c.SendErr(nil), c.SendErr(nil)
			if first != nil || !errors.Is(second, wskit.ErrSendBufferFull) || errors.Is(second, wskit.ErrHubStopped) {
				t.Error(first, second)
			}
			end(h, c)
			wstest.Eventually(t, "the client is closed", func() bool { return errors.Is(c.SendErr(nil), wskit.ErrHubStopped) })
		})
	}
}

// Memory is bounded by the queue: a stalled client holds its bound and what is at its socket, however much is broadcast.
func TestAStalledClientHoldsNoMoreThanItsBound(t *testing.T) {
	h := wstest.Run(t)
	_, c := silent(t, serve(t, h.Hub, wskit.WithSendBufSize(3), wskit.WithOverflow(wskit.DropOldest)))
	h.Count(t, 1)
	stuff(t, c, strings.Repeat("x", bulk))
	for i := range 2000 {
		h.Broadcast([]byte(fmt.Sprint(i)))
	}
	h.Settled(t)
	if n := c.Outbox().UserMessageCount(); n > 3 {
		t.Errorf("%d messages queued, want at most 3", n)
	}
	if r := c.Outbox().Reason(); r != actors.ReasonNone {
		t.Error(r)
	}
}
