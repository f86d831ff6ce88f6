package contract_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// until waits for Stats to be so.
func untilStats(t *testing.T, what string, h *wskit.Hub, ok func(s wskit.Stats) bool) {
	t.Helper()
	if !wstest.Poll(wstest.Patience, func() bool { return ok(h.Stats()) }) {
		t.Fatalf("not within %v: %s: %+v", wstest.Patience, what, h.Stats())
	}
}

// "the zero Stats of a hub that was not used yet"; to ask does not use it.
func TestStatsAndTreeOfAHubThatWasNotUsedAreZeroAndDoNotUseIt(t *testing.T) {
	wstest.Clean(t)
	before := len(wstest.Processes(actors.System()))
	for _, h := range []*wskit.Hub{nil, wskit.NewHub()} {
		if s := h.Stats(); s != (wskit.Stats{}) {
			t.Errorf("%+v", s)
		}
		if tree := h.Tree(); tree != nil {
			t.Error(tree)
		}
	}
	if n := len(wstest.Processes(actors.System())); n != before {
		t.Error(n, "processes, and before", before)
	}
}

func TestStatsTellWhoIsThereAndWhatTheyGot(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithAuthorize(everyone))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	p, err := srv.TryOpen("/ws?user=ann&topic=a&topic=b")
	no(t, err)
	srv.Open(t).Listen(t)
	es := srv.StreamAt(t, "/sse?user=ann&topic=a")
	own := &wstest.Probe{}
	hub.Register(own)
	hub.Count(t, 4)
	s := hub.Stats()
	if want := (actors.ByTransport{actors.TransportWebSocket: 2, actors.TransportSSE: 1, actors.TransportOther: 1}); s.Subscribers != want {
		t.Error(s.Subscribers)
	}
	if s.Hubs != 1 || s.Users != 1 || s.Topics != 2 || s.Memberships != 3 || s.RedisUp+s.RedisDown != 0 {
		t.Errorf("%+v", s)
	}
	hub.Broadcast([]byte("12345"))
	hub.Topic("a").Broadcast([]byte("123"), wskit.Except(own))
	hub.Topic("nobody is there").Broadcast([]byte("1"))
	hub.User("ann").Broadcast([]byte("12"))
	hub.Everyone().Broadcast([]byte("1"), wskit.Except(own))
	p.Expect(t, "12345", "123", "12", "1")
	es.Expect(t, "12345", "123", "12", "1")
	untilStats(t, "5 broadcasts", hub.Hub, func(s wskit.Stats) bool {
		return s.Broadcasts == 5 && s.Deliveries == 4+2+2+3 && s.Bytes == 4*5+2*3+2*2+3*1
	})
	es.End()
	hub.Unregister(own)
	untilStats(t, "two have gone", hub.Hub, func(s wskit.Stats) bool {
		return s.Subscribers == actors.ByTransport{actors.TransportWebSocket: 2} && s.Memberships == 2 && s.Users == 1 &&
			s.Disconnects[actors.ReasonPeer] == 1 && s.Disconnects[actors.ReasonUnregistered] == 1
	})
	wstest.Crash(wstest.One(t, hub.Hub, "registry"), "test")
	untilStats(t, "a restart", hub.Hub, func(s wskit.Stats) bool { return s.Restarts[actors.PartRegistry] == 1 })
	p.Listen(t)
	hub.Halt(t)
	s = hub.Stats()
	if s.Hubs != 0 || s.Subscribers != (actors.ByTransport{}) || s.Users != 0 || s.Topics != 0 || s.Memberships != 0 {
		t.Errorf("of a hub that has ended: %+v", s)
	}
	if s.Broadcasts != 5 || s.Deliveries != 11 || s.Disconnects[actors.ReasonShutdown] != 2 || s.Restarts[actors.PartRegistry] != 1 {
		t.Errorf("of a hub that has ended: %+v", s)
	}
	if hub.Tree() != nil {
		t.Error("it has actors")
	}
}

// At N and N+1.
func TestDropsAreCountedByPolicy(t *testing.T) {
	for policy, want := range map[wskit.Overflow]actors.ByOverflow{
		wskit.DropNewest: {wskit.DropNewest: 1},
		wskit.DropOldest: {wskit.DropOldest: 1},
		wskit.Disconnect: {wskit.Disconnect: 4}, // with what was queued
		99:               {wskit.DropNewest: 1},
	} {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Pumps: func(*wskit.Client) {}, Client: []wskit.ClientOption{wskit.WithSendBufSize(3), wskit.WithOverflow(policy)}})
		srv.Open(t)
		for range 3 {
			hub.Broadcast([]byte("x"))
		}
		untilStats(t, "all posted", hub.Hub, func(s wskit.Stats) bool { return s.Deliveries == 3 })
		if s := hub.Stats(); s.Drops != (actors.ByOverflow{}) {
			t.Error(policy, s.Drops)
		}
		hub.Broadcast([]byte("x"))
		untilStats(t, "dropped", hub.Hub, func(s wskit.Stats) bool { return s.Drops == want })
	}
	hub := wstest.Run(t)
	hub.Register(&wstest.Probe{OnSend: func(data string) bool { return data != "no" }})
	hub.Broadcast([]byte("yes"))
	hub.Broadcast([]byte("no"))
	untilStats(t, "declined", hub.Hub, func(s wskit.Stats) bool { return s.Drops == actors.ByOverflow{actors.BySubscriber: 1} })
}

// Over both transports.
func TestRefusalsAreCountedByReason(t *testing.T) {
	deny := func(err error) wskit.HubOption {
		return wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{User: "ann"}, err })
	}
	full := func(h *wskit.Hub) { h.Register(&wstest.Probe{}) }
	ann := wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{User: "ann"}, nil })
	for want, c := range map[actors.Refusal]struct {
		opts []wskit.HubOption
		do   func(h *wskit.Hub)
	}{
		actors.RefusedFull:         {[]wskit.HubOption{wskit.WithMaxSubscribers(1)}, full},
		actors.RefusedLockedOut:    {[]wskit.HubOption{ann}, func(h *wskit.Hub) { _, _ = h.User("ann").Disconnect(context.Background(), 1000, "") }},
		actors.RefusedUnauthorized: {[]wskit.HubOption{deny(wskit.ErrUnauthorized)}, nil},
		actors.RefusedForbidden:    {[]wskit.HubOption{deny(wskit.ErrForbidden)}, nil},
		actors.RefusedOther:        {[]wskit.HubOption{wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { panic("test") })}, nil},
	} {
		t.Run(want.String(), func(t *testing.T) {
			hub := wstest.Run(t, append(c.opts, wskit.WithLogger(nil))...)
			if c.do != nil {
				c.do(hub.Hub)
			}
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
			refusedFor(t, srv, hub.Hub, want)
		})
	}
	t.Run("user limit", func(t *testing.T) {
		hub := wstest.Run(t, ann, wskit.WithMaxPerUser(1, wskit.RefuseNewest))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
		srv.Open(t)
		hub.Count(t, 1)
		refusedFor(t, srv, hub.Hub, actors.RefusedUserLimit)
	})
	t.Run("timeout", func(t *testing.T) {
		hub := wstest.Idle(t, wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(10*time.Millisecond))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
		refusedFor(t, srv, hub.Hub, actors.RefusedTimeout)
		hub.Start(t)
	})
	t.Run("stopped", func(t *testing.T) {
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
		hub.Count(t, 0)
		hub.Register(&wstest.Probe{})
		hub.Halt(t)
		refusedFor(t, srv, hub.Hub, actors.RefusedStopped)
	})
	t.Run("upgrade, other", func(t *testing.T) {
		hub := wstest.Run(t, wskit.WithLogger(nil))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
		for _, r := range []struct{ method, path string }{{http.MethodGet, "/ws"}, {http.MethodPut, "/sse"}} {
			req, _ := http.NewRequest(r.method, srv.URL+r.path, nil)
			resp, err := srv.Client().Do(req)
			no(t, err)
			resp.Body.Close()
		}
		if s := hub.Stats(); s.Refusals != (actors.ByRefusal{actors.RefusedUpgrade: 1, actors.RefusedOther: 1}) {
			t.Error(s.Refusals)
		}
	})
}

// refused asks for a WebSocket, and then for a stream.
func refusedFor(t *testing.T, srv *wstest.Server, hub *wskit.Hub, why actors.Refusal) {
	t.Helper()
	var want actors.ByRefusal
	for i, ask := range []func(){
		func() {
			if b, err := srv.TryOpen("/ws"); err == nil {
				_, _ = b.Rest()
			}
		},
		func() {
			resp, err := srv.Client().Get(srv.URL + "/sse")
			no(t, err)
			resp.Body.Close()
		},
	} {
		ask()
		want[why] = uint64(i + 1)
		untilStats(t, fmt.Sprint(i+1, " refusals"), hub, func(s wskit.Stats) bool { return s.Refusals == want })
	}
}

// At N and N+1.
func TestQueuesAndTimeoutsAreCountedByOperation(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithRegisterBuf(2), wskit.WithBroadcastBuf(2), wskit.WithChannelTimeout(5*time.Millisecond))
	p := &wstest.Probe{}
	do := map[actors.Op]func(){
		actors.OpRegister:   func() { hub.Register(p) },
		actors.OpUnregister: func() { hub.Unregister(&wstest.Probe{}) },
		actors.OpBroadcast:  func() { hub.Broadcast(nil) },
		actors.OpJoin:       func() { _ = hub.Topic("a").Join(p) },
		actors.OpLeave:      func() { _ = hub.Topic("a").Leave(p) },
	}
	var queued actors.ByOp
	var timeouts actors.ByOpCount
	for op := range actors.Ops {
		for i := range 3 {
			do[op]()
			queued[op] = min(i+1, 2)
		}
		timeouts[op] = 1
		if s := hub.Stats(); s.Queued != queued || s.Timeouts != timeouts {
			t.Errorf("after %v: %v, %v", op, s.Queued, s.Timeouts)
		}
	}
	never := wstest.Idle(t)
	never.Register(&wstest.Probe{})
	no(t, never.Shutdown(t.Context()))
	if s := never.Stats(); s.Hubs != 0 || s.Queued != (actors.ByOp{}) || s.Subscribers != (actors.ByTransport{}) {
		t.Errorf("of one that has ended without running: %+v", s)
	}
	hub.Start(t)
	untilStats(t, "the registry has taken all", hub.Hub, func(s wskit.Stats) bool { return s.Queued == actors.ByOp{} && s.Timeouts == timeouts })
}

func TestTreeTellsWhatEachActorIsAndHowOftenItWasRestarted(t *testing.T) {
	redis := redistest.Start(t)
	hub := wstest.Run(t, wskit.WithName("tree"), wskit.WithLogger(nil), wskit.WithRedis(redis.Client(t), "tree"))
	c := wskit.NewSSEClient(hub.Hub, 10) // that nobody serves
	hub.Register(c)
	hub.Count(t, 1)
	for i := range 3 {
		hub.Broadcast([]byte(fmt.Sprint(i)))
	}
	for part := range actors.Parts {
		pid := wstest.One(t, hub.Hub, part.String())
		for range actors.Parts - part {
			wstest.Crash(pid, "test")
		}
	}
	untilStats(t, "restarts", hub.Hub, func(s wskit.Stats) bool { return s.Restarts == actors.ByPart{4, 3, 2, 1} })
	untilStats(t, "deliveries", hub.Hub, func(s wskit.Stats) bool { return s.Deliveries == 3 })
	var names []string
	for i, a := range hub.Tree() {
		names = append(names, strings.TrimPrefix(a.Name, hub.PID().Id))
		switch {
		case i == 0 || i == 5:
			if a.Restarts != 0 || (i == 0) != (a.Kind == actors.Permanent) {
				t.Errorf("%+v", a)
			}
		case a.Kind != actors.Permanent || a.Restarts != uint64(5-i) || a.Subscriber != nil:
			t.Errorf("%+v", a)
		}
		if i == 5 && (a.Mailbox != 3 || a.Subscriber != c) {
			t.Errorf("%+v", a)
		}
	}
	if want := []string{"", "/listener", "/connections", "/registry", "/redis", "/connections/sse-1"}; !slices.Equal(names, want) {
		t.Error(names)
	}
	c.Close()
}

// "It … waits for the answer for up to the channel timeout; nil: the hub … does not answer."
func TestTreeWaitsNoLongerThanTheChannelTimeout(t *testing.T) {
	hub := wstest.Run(t, wskit.WithChannelTimeout(20*time.Millisecond))
	connections := wstest.One(t, hub.Hub, "connections")
	busy := make(chan []actors.Member)
	actors.System().Root.Send(connections, &actors.Members{Reply: busy})
	wstest.Quickly(t, "Tree", 5*time.Second, func() {
		if tree := hub.Tree(); tree != nil {
			t.Error(tree)
		}
	})
	<-busy
	if tree := hub.Tree(); len(tree) != 4 {
		t.Error(tree)
	}
}

// Whoever embeds a hub has it by messages.
func TestAnEmbedderHasStatsAndTreeByMessages(t *testing.T) {
	hub, _ := wstest.Embed(t, hubactor.Config{})
	hub.Register(&wstest.Probe{})
	wstest.Eventually(t, "its actor runs", func() bool { return len(hub.Tree()) == 5 })
	link, tree := make(chan *actors.Link, 1), make(chan []actors.ActorInfo, 1)
	actors.System().Root.Send(hub.PID(), &actors.Describe{Reply: link})
	actors.System().Root.Send(hub.PID(), &actors.Inspect{Reply: tree})
	if s := wstest.Receive(t, "the link", link).Stats(); s != hub.Stats() || s.Subscribers[actors.TransportOther] != 1 {
		t.Errorf("%+v", s)
	}
	if list := wstest.Receive(t, "the tree", tree); len(list) != 5 {
		t.Error(list)
	}
	c := wskit.NewSSEClient(hub.Hub, 1)
	hub.Register(c)
	c.Outbox().Close(&actors.Close{Reason: 99}) // of no meaning
	untilStats(t, "it counts as crashed", hub.Hub, func(s wskit.Stats) bool { return s.Disconnects[actors.ReasonCrashed] == 1 })
}

func TestStatsKnowTheStateOfRedisAndItsGaps(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		n := redisNode(t, srv.Addr(), wskit.WithLogger(nil))
		untilStats(t, "down before it is linked", n.Hub.Hub, func(s wskit.Stats) bool { return s.RedisDown == 1 && s.RedisUp == 0 })
		n.listen(t, srv, 1)
		up := func(s wskit.Stats) bool { return s.RedisUp == 1 && s.RedisDown == 0 }
		untilStats(t, "up", n.Hub.Hub, up)
		if s := n.Stats(); s.Gaps != 0 {
			t.Errorf("%+v", s)
		}
		srv.Kill()
		untilStats(t, "down", n.Hub.Hub, func(s wskit.Stats) bool { return s.RedisDown == 1 && s.RedisUp == 0 && s.Gaps == 1 })
		srv.Restart()
		untilStats(t, "up again", n.Hub.Hub, up)
		if s := n.Stats(); s.Gaps != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestStatsCountResumesResetsAndRepairs(t *testing.T) {
	redis := redistest.Start(t)
	hub, srv := linked(t, redis.Addr())
	id := at(t, srv)
	if s := hub.Stats(); s.Resumes+s.Resets+s.Repairs != 0 {
		t.Errorf("%+v", s)
	}
	hub.Count(t, 0)
	no(t, hub.BroadcastEventContext(t.Context(), 1))
	expectTold(t, srv.StreamAt(t, after(id)), "1")
	untilStats(t, "a resume", hub.Hub, func(s wskit.Stats) bool { return s.Resumes == 1 && s.Resets == 0 })
	expectTold(t, srv.StreamAt(t, after("other.1")), "event:wskit.reset epoch")
	untilStats(t, "a reset", hub.Hub, func(s wskit.Stats) bool { return s.Resumes == 2 && s.Resets == 1 && s.Repairs == 0 })
	redis.Kill()
	untilStats(t, "down", hub.Hub, func(s wskit.Stats) bool { return s.RedisDown == 1 })
	redis.Restart()
	untilStats(t, "a repair", hub.Hub, func(s wskit.Stats) bool { return s.RedisUp == 1 && s.Repairs > 0 })
}

func TestStatsAllocateNothingAndAreReadableAsJSON(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	b := srv.Open(t)
	hub.Count(t, 1)
	if n := testing.AllocsPerRun(100, func() { _ = hub.Stats() }); n != 0 && !raceDetector {
		t.Error(n, "allocations")
	}
	_ = b.Close(websocket.StatusNormalClosure, "")
	untilStats(t, "it has left", hub.Hub, func(s wskit.Stats) bool { return s.Disconnects[actors.ReasonPeer] == 1 })
	text, err := json.Marshal(hub.Stats())
	if err != nil || !strings.Contains(string(text), `"disconnects":{"peer_left":1}`) || !strings.Contains(string(text), `"subscribers":{}`) {
		t.Error(string(text), err)
	}
}

// OnTimeout and what is counted go together, whoever waited.
func TestAWaitThatAContextEndsIsATimeoutToo(t *testing.T) {
	hub := wstest.Idle(t, wskit.WithBroadcastBuf(0))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if err := hub.BroadcastContext(ctx, nil); !errors.Is(err, wskit.ErrTimeout) {
		t.Error(err)
	}
	if s := hub.Stats(); s.Timeouts != (actors.ByOpCount{actors.OpBroadcast: 1}) {
		t.Error(s.Timeouts)
	}
	hub.Start(t)
}
