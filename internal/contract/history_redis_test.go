package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// linked is an instance of a hub that keeps history on that Redis, subscribed, and a server of it.
func linked(t *testing.T, addr string, opts ...wskit.HubOption) (*wstest.Hub, *wstest.Server) {
	t.Helper()
	opts = append([]wskit.HubOption{wskit.WithRedis(redistest.Client(t, addr), "log"), wskit.WithLogger(nil)}, opts...)
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, nil, opts...)
	ctx, stop := context.WithCancel(context.Background())
	done := wstest.Begin(func() { hub.SubscribeToRedis(ctx) })
	t.Cleanup(func() { stop(); <-done })
	wstest.Eventually(t, "a position", func() bool {
		st := srv.Stream(t)
		defer st.End()
		select {
		case <-st.Events:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
	hub.Count(t, 0)
	return hub, srv
}

func TestAStreamResumesOnAnotherInstance(t *testing.T) {
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr())
	two, there := linked(t, redis.Addr())
	st := here.StreamAt(t, "/sse?topic=room")
	wstest.Receive(t, "a position", st.Events)
	no(t, two.Topic("room").BroadcastEventContext(t.Context(), 1))
	id := expectTold(t, st, "1")
	st.End()
	one.Count(t, 0)
	no(t, one.Topic("room").BroadcastEventContext(t.Context(), 2))
	no(t, one.BroadcastEventContext(t.Context(), 3))
	no(t, two.Topic("other").BroadcastEventContext(t.Context(), "not for it"))
	no(t, two.Topic("room").BroadcastBinaryContext(t.Context(), []byte("four")))
	st = there.StreamAt(t, after(id, "room"))
	expectTold(t, st, "2", "3", "four")
	no(t, one.Topic("room").BroadcastEventContext(t.Context(), 5))
	id = expectTold(t, st, "5")
	list, err := one.Topic("room").History(t.Context(), 10)
	if err != nil || len(list) != 4 || list[3].ID != id || list[2].Type != websocket.MessageBinary {
		t.Errorf("%v (%v), the last told was %s", list, err, id)
	}
}

// Who is the first in a topic on an instance waits for what Redis has of it, and is a subscriber meanwhile.
func TestWhoIsNewMissesNothingAndGetsNothingTwice(t *testing.T) {
	redis := redistest.Start(t)
	for name, c := range map[string]struct {
		opts    []wskit.ClientOption
		cursor  bool
		except  bool
		earlier []string // what it gets that was published before it came
	}{
		"without a position":                 {},
		"with one":                           {cursor: true, earlier: []string{"before"}},
		"with a replay":                      {opts: []wskit.ClientOption{wskit.WithReplay(5)}, earlier: []string{"before"}},
		"that is the exception":              {except: true},
		"that is, with a position":           {cursor: true, except: true, earlier: []string{"before"}},
		"that is, with a replay of the last": {opts: []wskit.ClientOption{wskit.WithReplay(5)}, except: true, earlier: []string{"before"}},
	} {
		t.Run(name, func(t *testing.T) {
			var hub *wskit.Hub
			greet := func(s wskit.Subscriber) {
				m := s.(wskit.Member)
				if len(m.Topics()) == 0 {
					return
				}
				var opts []wskit.BroadcastOption
				if c.except {
					opts = append(opts, wskit.Except(s))
				}
				no(t, hub.Topic(m.Topics()[0]).BroadcastEventContext(t.Context(), "greeting", opts...))
				no(t, hub.Topic(m.Topics()[0]).BroadcastEventContext(t.Context(), "end"))
			}
			one, srv := linked(t, redis.Addr(), wskit.WithOnConnect(greet))
			hub = one.Hub
			streams := wstest.Listen(t, wstest.TCP, hub.SSEHandler(c.opts...))
			for i := range 10 {
				topic := fmt.Sprint(name, i)
				path := "/sse?topic=" + strings.ReplaceAll(topic, " ", "+")
				if c.cursor {
					path = after(at(t, srv), topic)
				}
				no(t, hub.Topic(topic).BroadcastEventContext(t.Context(), "before"))
				want := slices.Clone(c.earlier)
				if !c.except {
					want = append(want, "greeting")
				}
				st := streams.StreamAt(t, path)
				for k, text := range append(want, "end") {
					if events, _ := told(t, st, 1); events[0] != `"`+text+`"` {
						t.Fatalf("%d: told %s, want %q", k, events[0], text)
					}
				}
				no(t, hub.Topic(topic).BroadcastEventContext(t.Context(), "more"))
				expectTold(t, st, `"more"`)
				st.End()
			}
		})
	}
}

func TestARedisThatWasEmptiedResetsEverybodyOnce(t *testing.T) {
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr())
	_, there := linked(t, redis.Addr())
	a, b := here.StreamAt(t, "/sse?topic=room"), there.StreamAt(t, "/sse?topic=room")
	for _, st := range []*wstest.Stream{a, b} {
		wstest.Receive(t, "a position", st.Events)
	}
	no(t, one.Topic("room").BroadcastEventContext(t.Context(), 1))
	expectTold(t, a, "1")
	id := expectTold(t, b, "1")
	no(t, redis.Client(t).FlushAll(t.Context()).Err())
	no(t, one.BroadcastEventContext(t.Context(), 2))
	expectTold(t, a, "event:wskit.reset epoch", "2")
	expectTold(t, b, "event:wskit.reset epoch", "2")
	expectTold(t, there.StreamAt(t, after(id, "room")), "event:wskit.reset epoch")
	no(t, one.BroadcastEventContext(t.Context(), 3))
	expectTold(t, a, "3")
	expectTold(t, b, "3")
}

func TestAKeyCountsOnEveryInstance(t *testing.T) {
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr())
	two, _ := linked(t, redis.Addr())
	st := here.Stream(t)
	for range 3 {
		no(t, one.Everyone().BroadcastEventContext(t.Context(), 1, wskit.WithKey("k")))
		no(t, two.Everyone().BroadcastEventContext(t.Context(), 1, wskit.WithKey("k")))
	}
	no(t, two.Everyone().BroadcastEventContext(t.Context(), 2))
	expectTold(t, st, "1", "2")
}

// What Redis does not take reaches those on the instance, without a position; with a key it reaches nobody.
func TestWhatRedisDoesNotTakeHasNoPosition(t *testing.T) {
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr())
	st := here.StreamAt(t, "/sse?topic=room")
	one.Count(t, 1)
	wstest.Receive(t, "a position", st.Events)
	redis.Kill()
	for i := range 3 {
		err := one.Topic("room").BroadcastEventContext(t.Context(), i)
		if !errors.Is(err, wskit.ErrLocalOnly) && !errors.Is(err, wskit.ErrUnknownOutcome) {
			t.Errorf("told %v", err)
		}
	}
	err := one.Topic("room").BroadcastEventContext(t.Context(), "never", wskit.WithKey("k"))
	if !errors.Is(err, wskit.ErrNotTaken) || errors.Is(err, wskit.ErrLocalOnly) {
		t.Errorf("with a key: %v", err)
	}
	for i := range 3 {
		if got := wstest.Receive(t, "a message", st.Events); got != fmt.Sprint(i) {
			t.Errorf("told %q", got)
		}
	}
	if resp, err := http.Get(here.URL + after("x.1", "room")); err != nil || resp.StatusCode != 200 { // it says unknown, within 2 s
		t.Error(resp, err)
	} else if events := firstEvents(t, resp, 1); !strings.Contains(events[0], "reset") {
		t.Errorf("told %q", events)
	}
}

func firstEvents(t *testing.T, resp *http.Response, n int) (events []string) {
	t.Helper()
	defer resp.Body.Close()
	_ = wstest.ReadEvents(resp.Body, func(e string) {
		if events = append(events, e); len(events) == n {
			_ = resp.Body.Close()
		}
	}, nil)
	return events
}
