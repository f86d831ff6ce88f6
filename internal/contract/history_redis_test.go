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

// A stream that has expired hides what was before: who missed that gets a reset, on an instance that knows the topic from the next message alone too.
func TestWhatHasExpiredIsNotTakenForNothing(t *testing.T) {
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr(), wskit.WithHistory(wskit.History{Age: 300 * time.Millisecond}))
	st := here.StreamAt(t, "/sse?topic=room")
	wstest.Receive(t, "a position", st.Events)
	no(t, one.Topic("room").BroadcastEventContext(t.Context(), 1))
	id := expectTold(t, st, "1")
	st.End()
	one.Count(t, 0)
	no(t, one.Topic("room").BroadcastEventContext(t.Context(), 2))
	wstest.Eventually(t, "the stream expires", func() bool {
		n, err := redis.Client(t).Exists(t.Context(), "{wskit:log}:t::room").Result()
		return err == nil && n == 0
	})
	_, there := linked(t, redis.Addr(), wskit.WithHistory(wskit.History{Age: 300 * time.Millisecond}))
	fresh := there.StreamAt(t, "/sse?topic=room")
	wstest.Receive(t, "a position", fresh.Events)
	no(t, one.Topic("room").BroadcastEventContext(t.Context(), 3))
	expectTold(t, fresh, "3")
	expectTold(t, there.StreamAt(t, after(id, "room")), "event:wskit.reset expired")
}

// To ask for history while somebody comes back to the same topic takes nothing from it.
func TestWhoComesBackDoesNotMindWhoAsks(t *testing.T) {
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr())
	two, _ := linked(t, redis.Addr())
	for i := range 20 {
		room := fmt.Sprint("room", i)
		id := at(t, here)
		no(t, two.Topic(room).BroadcastEventContext(t.Context(), "missed"))
		asked := wstest.Begin(func() {
			if list, err := one.Topic(room).History(t.Context(), 10); err != nil || len(list) != 1 {
				t.Errorf("%v (%v)", list, err)
			}
		})
		st := here.StreamAt(t, after(id, room))
		expectTold(t, st, `"missed"`)
		st.End()
		<-asked
	}
}

// Who publishes right after it was the first to join is not told that again.
func TestWhatGoesOutLateCarriesTheCursorOn(t *testing.T) {
	redis := redistest.Start(t)
	one, here := linked(t, redis.Addr())
	for i := range 10 {
		room := one.Topic(fmt.Sprint("room", i))
		p, c := speak(t, here)
		id := idOf(t, p)
		no(t, room.Join(c))
		no(t, room.BroadcastEventContext(t.Context(), "joined"))
		for text := ""; text != `:"joined"}`; {
			f, err := p.Next(true)
			no(t, err)
			if strings.HasPrefix(f.Payload, `{"id":`) {
				id = strings.Split(f.Payload, `"`)[3]
			}
			_, text, _ = strings.Cut(f.Payload, `"data"`)
		}
		no(t, one.BroadcastEventContext(t.Context(), "next"))
		for {
			f, err := p.Next(true)
			no(t, err)
			if strings.Contains(f.Payload, `"next"`) {
				break
			}
			id = strings.Split(f.Payload, `"`)[3]
		}
		_ = p.Close()
		if events, _ := told(t, here.StreamAt(t, after(id, room.Name())), 1); events[0] != `"next"` {
			t.Errorf("told %q again, at %s", events, id)
		}
	}
}

// idOf is the position that a client which speaks the subprotocol is told first.
func idOf(t *testing.T, p *wstest.Peer) string {
	t.Helper()
	f, err := p.Next(true)
	no(t, err)
	return strings.Split(f.Payload, `"`)[3]
}

func TestAGapIsOneResetHoweverManyTopics(t *testing.T) {
	wstest.Clean(t) // when the proxy has gone
	redis := redistest.StartReal(t)
	proxy := redistest.Proxy(t, redis.Addr())
	kept := wskit.WithHistory(wskit.History{Messages: 1})
	one, here := linked(t, proxy.Addr(), kept)
	two, _ := linked(t, redis.Addr(), kept)
	st := here.StreamAt(t, "/sse?topic=a&topic=b")
	wstest.Receive(t, "a position", st.Events)
	one.Count(t, 1)
	proxy.Mute(redistest.Everything)
	proxy.Cut()
	for range 2 {
		no(t, two.BroadcastEventContext(t.Context(), "lost"))
		no(t, two.Topic("a").BroadcastEventContext(t.Context(), "lost"))
		no(t, two.Topic("b").BroadcastEventContext(t.Context(), "lost"))
	}
	proxy.Mute(redistest.Nothing)
	proxy.Cut()
	resets := 0
	wstest.Eventually(t, "what is published comes again", func() bool {
		no(t, two.BroadcastEventContext(t.Context(), "now"))
		for {
			select {
			case event := <-st.Events:
				if strings.Contains(event, "reset") {
					resets++
				} else if strings.Contains(event, "now") {
					return resets > 0
				}
			case <-time.After(50 * time.Millisecond):
				return false
			}
		}
	})
	if resets != 1 {
		t.Errorf("%d resets", resets)
	}
}
