package contract_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// everyone lets clients have any topic.
func everyone(context.Context, wskit.Subscriber, string) error { return nil }

// remembering is a hub that keeps history, and a server of it whose streams have these options.
func remembering(t *testing.T, kind wstest.Kind, history wskit.History, stream []wskit.ClientOption, opts ...wskit.HubOption) (*wstest.Hub, *wstest.Server) {
	t.Helper()
	hub := wstest.Run(t, append([]wskit.HubOption{wskit.WithHistory(history), wskit.WithAuthorize(everyone)}, opts...)...)
	return hub, wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: stream, Stream: func(w http.ResponseWriter, r *http.Request) error {
		return wskit.ServeSSE(w, r, hub.Hub, stream...)
	}})
}

// told is a stream's events and the positions that they came with, but for ids that came alone.
func told(t *testing.T, st *wstest.Stream, n int) (events, ids []string) {
	t.Helper()
	for len(events) < n {
		event := wstest.Receive(t, "an event", st.Events)
		head, data, named := strings.Cut(strings.TrimPrefix(event, "["), "] ")
		if !named {
			if !strings.HasPrefix(event, "[id:") {
				t.Fatalf("%q has no position", event)
			}
			continue
		}
		name, id, _ := strings.Cut(head, "id:")
		events, ids = append(events, name+data), append(ids, id)
	}
	return events, ids
}

// expectTold waits for these events, and returns the position of the last.
func expectTold(t *testing.T, st *wstest.Stream, want ...string) (id string) {
	t.Helper()
	events, ids := told(t, st, len(want))
	if !slices.Equal(events, want) {
		t.Fatalf("told %q, want %q", events, want)
	}
	return ids[len(ids)-1]
}

// at is where the log stands, by the word of a stream that has just begun.
func at(t *testing.T, srv *wstest.Server) string {
	t.Helper()
	st := srv.Stream(t)
	defer st.End()
	id, ok := strings.CutPrefix(strings.TrimSuffix(wstest.Receive(t, "where the log stands", st.Events), "]"), "[id:")
	if !ok {
		t.Fatalf("told %q", id)
	}
	return id
}

func after(id string, topics ...string) string {
	return "/sse?" + url.Values{"last_event_id": {id}, "topic": topics}.Encode()
}

func TestAStreamThatComesBackGetsWhatItMissed(t *testing.T) {
	wstest.EachStream(t, func(t *testing.T, kind wstest.Kind) {
		hub, srv := remembering(t, kind, wskit.History{}, nil)
		st := srv.StreamAt(t, "/sse?topic=room&topic=other")
		hub.Count(t, 1)
		room, other := hub.Topic("room"), hub.Topic("other")
		hub.Broadcast([]byte("1"))
		room.Broadcast([]byte("2"))
		id := expectTold(t, st, "1", "2")
		st.End()
		hub.Count(t, 0)
		for i := range 40 {
			room.Broadcast([]byte(fmt.Sprint("room ", i)))
			hub.Topic("elsewhere").Broadcast([]byte("not for it"))
			hub.Broadcast([]byte(fmt.Sprint("all ", i)))
		}
		other.Broadcast([]byte("other"))
		var missed []string
		for i := range 40 {
			missed = append(missed, fmt.Sprint("room ", i), fmt.Sprint("all ", i))
		}
		st = srv.StreamAt(t, after(id, "room", "other"))
		expectTold(t, st, append(missed, "other")...)
		hub.Broadcast([]byte("now"))
		expectTold(t, st, "now")
		fewer := srv.StreamAt(t, after(id, "other"))
		events, _ := told(t, fewer, 42)
		if events[40] != "other" || slices.Contains(events, "room 1") {
			t.Errorf("told %q", events)
		}
	})
}

func TestTheHeaderOfAnEventSourceWinsOverTheQuery(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, nil)
	first := at(t, srv)
	hub.Count(t, 0)
	hub.Broadcast([]byte("1"))
	hub.Broadcast([]byte("2"))
	st := srv.StreamAt(t, after(first))
	_, ids := told(t, st, 2)
	p := srv.Handshake(t, wstest.Handshake{Path: after(first), Header: map[string]string{
		"Connection": "", "Upgrade": "", "Sec-WebSocket-Key": "", "Sec-WebSocket-Version": "", "Last-Event-ID": ids[0]}})
	defer p.Close()
	events := make(chan string, 8)
	go func() { _ = wstest.ReadEvents(p.Answer.Body, func(e string) { events <- e }, nil) }()
	if e := wstest.Receive(t, "what was missed", events); e != "[id:"+ids[1]+"] 2" {
		t.Errorf("told %q first", e)
	}
}

func TestWhatCannotBeProvedIsOneReset(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{Messages: 1000}, nil, wskit.WithTopicHistory(func(topic string) wskit.History {
		if topic == "short" {
			return wskit.History{Messages: 2}
		}
		return wskit.History{}
	}))
	begin := at(t, srv)
	epoch, _, _ := strings.Cut(begin, ".")
	for i := range 3 {
		hub.Topic("short").Broadcast([]byte(fmt.Sprint("short ", i)))
	}
	hub.Broadcast([]byte("for all"))
	now := at(t, srv)
	hub.Topic("none").Broadcast([]byte("nothing is kept of it"))
	for name, c := range map[string]struct{ path, want string }{
		"malformed":             {after("nonsense"), "unknown"},
		"of 10 KB":              {after(strings.Repeat("x", 10<<10)), "unknown"},
		"a sign":                {after(epoch + ".+1"), "unknown"},
		"a leading zero":        {after(epoch + ".01"), "unknown"},
		"too large a number":    {after(epoch + ".18446744073709551616"), "unknown"},
		"without an epoch":      {after(".1"), "unknown"},
		"from the future":       {after(epoch + ".1000"), "unknown"},
		"of another hub":        {after("another.1"), "epoch"},
		"too old":               {after(begin, "short"), "expired"},
		"of a topic not kept":   {after(now, "none"), "expired"},
		"one topic of several":  {after(begin, "short", "long"), "expired"},
		"of a topic never used": {after(begin, "never"), ""},
		"within what is kept":   {after(epoch+".1", "short"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			st := srv.StreamAt(t, c.path)
			events, _ := told(t, st, 1)
			if want := "event:wskit.reset " + c.want; c.want != "" && events[0] != want {
				t.Errorf("told %q, want %q", events[0], want)
			} else if c.want == "" && strings.Contains(events[0], "reset") {
				t.Errorf("told %q", events[0])
			}
			for len(st.Events) > 0 {
				<-st.Events
			}
			hub.Broadcast([]byte("next " + name))
			if events, _ = told(t, st, 1); strings.Contains(events[0], "reset") {
				t.Errorf("told %q", events)
			}
			for events[0] != "next "+name {
				events, _ = told(t, st, 1)
			}
			st.End()
		})
	}
}

func TestMoreThanAResumeDeliversIsAReset(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{Messages: 2000, Bytes: 8 << 20}, []wskit.ClientOption{wskit.WithSendBufSize(4)})
	begin := at(t, srv)
	for i := range 300 {
		hub.Broadcast([]byte(fmt.Sprint(i)))
	}
	st := srv.StreamAt(t, after(begin)) // many more than its queue has room for
	events, _ := told(t, st, 300)
	if events[0] != "0" || events[299] != "299" {
		t.Errorf("told %q", events)
	}
	hub.Broadcast([]byte("300"))
	expectTold(t, st, "300")
	expectTold(t, srv.StreamAt(t, after(begin)), "event:wskit.reset too_many")
	now := at(t, srv)
	hub.Broadcast([]byte(strings.Repeat("x", 1<<20)))
	if events, _ := told(t, srv.StreamAt(t, after(now)), 1); len(events[0]) != 1<<20 {
		t.Errorf("told %.50q", events[0])
	}
	hub.Broadcast([]byte("1"))
	expectTold(t, srv.StreamAt(t, after(now)), "event:wskit.reset too_many")
}

func TestAQuietStreamsCursorIsCarriedOn(t *testing.T) {
	wstest.EachStream(t, func(t *testing.T, kind wstest.Kind) {
		hub, srv := remembering(t, kind, wskit.History{Messages: 2}, []wskit.ClientOption{wskit.WithKeepAlive(20 * time.Millisecond)})
		st := srv.StreamAt(t, "/sse?topic=quiet")
		hub.Count(t, 1)
		for i := range 10 {
			hub.Topic("elsewhere").Broadcast([]byte(fmt.Sprint(i)))
		}
		var id string
		wstest.Eventually(t, "the tenth position", func() bool {
			id = strings.TrimSuffix(strings.TrimPrefix(wstest.Receive(t, "an id", st.Events), "[id:"), "]")
			return strings.HasSuffix(id, ".10")
		})
		st.End()
		hub.Topic("quiet").Broadcast([]byte("one"))
		hub.Topic("quiet").Broadcast([]byte("two"))
		expectTold(t, srv.StreamAt(t, after(id, "quiet")), "one", "two")
	})
}

func TestANewSubscriberGetsTheLastMessagesFirst(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, []wskit.ClientOption{wskit.WithReplay(3)})
	expectTold0 := srv.StreamAt(t, "/sse?topic=a")
	hub.Count(t, 1)
	for i := range 4 {
		hub.Topic("a").Broadcast([]byte(fmt.Sprint("a", i)))
		hub.Topic("b").Broadcast([]byte("not for it"))
		hub.Broadcast([]byte(fmt.Sprint("all", i)))
	}
	expectTold(t, expectTold0, "a0", "all0", "a1", "all1", "a2", "all2", "a3", "all3")
	st := srv.StreamAt(t, "/sse?topic=a")
	_, ids := told(t, st, 3)
	if st := srv.StreamAt(t, "/sse?topic=a"); expectTold(t, st, "all2", "a3", "all3") != ids[2] {
		t.Error("other positions")
	}
	st = srv.StreamAt(t, after("another.1", "a")) // who starts anew is as good as new
	events, ids := told(t, st, 4)
	if !slices.Equal(events, []string{"event:wskit.reset epoch", "all2", "a3", "all3"}) || !increasing(ids) {
		t.Errorf("told %q at %q", events, ids)
	}
	c, peer := wskit.NewSSEClient(hub.Hub, 0), srv.Handshake(t, wstest.Handshake{})
	defer c.Close()
	peer.Expect(t, "all1", "all2", "all3") // a plain WebSocket, which is in no topic
}

func increasing(ids []string) bool {
	last := uint64(0)
	for _, id := range ids {
		var n uint64
		_, number, _ := strings.Cut(id, ".")
		if _, err := fmt.Sscan(number, &n); err != nil || n <= last {
			return false
		}
		last = n
	}
	return true
}

func TestAWebSocketResumesToo(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		if kind == wstest.NewClient {
			t.Skip("the program accepts it, and knows the request")
		}
		hub, srv := remembering(t, kind, wskit.History{}, nil)
		ask := v1
		ask.Path = "/ws?topic=a"
		p := srv.Handshake(t, ask)
		p.Upgraded(t)
		hub.Count(t, 1)
		f, _ := p.Next(true)
		epoch, _ := strings.CutSuffix(f.Payload, `.0"}`)
		epoch, ok := strings.CutPrefix(epoch, `{"id":"`)
		if !ok {
			t.Fatalf("told %q", f.Payload)
		}
		id := func(n int) string { return fmt.Sprintf(`"id":"%s.%d"`, epoch, n) }
		hub.Topic("a").Broadcast([]byte(`{"x":1}`))
		hub.Broadcast([]byte("text"))
		hub.User("nobody").Broadcast([]byte("3"))
		p.Expect(t, "{"+id(1)+`,"topic":"a","data":{"x":1}}`, "{"+id(2)+`,"text":"text"}`)
		_ = p.Close()
		hub.Count(t, 0)
		hub.Topic("a").Broadcast([]byte("4"))
		ask.Path = "/ws?topic=a&last_event_id=" + epoch + ".1"
		p = srv.Handshake(t, ask)
		p.Upgraded(t)
		p.Expect(t, "{"+id(2)+`,"text":"text"}`, "{"+id(4)+`,"topic":"a","data":4}`)
		ask.Path = "/ws?topic=a&last_event_id=other.1"
		p = srv.Handshake(t, ask)
		p.Upgraded(t)
		p.Expect(t, "{"+id(4)+`,"reset":"epoch"}`)
		plain := srv.Handshake(t, wstest.Handshake{Path: "/ws?topic=a&last_event_id=" + epoch + ".1"})
		plain.Upgraded(t)
		plain.Expect(t, "text", "4")
		hub.Broadcast([]byte("5"))
		plain.Expect(t, "5")
		p.Expect(t, "{"+id(5)+`,"data":5}`)
	})
}

func TestAQuietWebSocketsCursorIsCarriedOn(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, []wskit.ClientOption{wskit.WithPingInterval(20 * time.Millisecond)})
	p, _ := speak(t, srv)
	hub.Topic("elsewhere").Broadcast([]byte("1"))
	wstest.Eventually(t, "the first position", func() bool {
		f, err := p.Next(true)
		return err == nil && strings.HasSuffix(f.Payload, `.1"}`)
	})
}

func TestHistoryCanBeAskedFor(t *testing.T) {
	hub, _ := remembering(t, wstest.TCP, wskit.History{Messages: 3}, nil)
	ctx := t.Context()
	room := hub.Topic("room")
	for i := range 5 {
		no(t, room.BroadcastContext(ctx, []byte(fmt.Sprint(i))))
		hub.Broadcast([]byte("other"))
	}
	no(t, room.BroadcastBinaryContext(ctx, []byte{0xff}))
	hub.Settled(t)
	list, err := room.History(ctx, 10)
	var got, ids []string
	for _, m := range list {
		got, ids = append(got, fmt.Sprint(m.Type, string(m.Data))), append(ids, m.ID)
		if since := time.Since(m.Time); since < 0 || since > time.Minute {
			t.Error(m.Time)
		}
	}
	if err != nil || fmt.Sprint(got) != fmt.Sprint([]string{"MessageText3", "MessageText4", "MessageBinary\xff"}) || !increasing(ids) {
		t.Errorf("%q at %q (%v)", got, ids, err)
	}
	for n, want := range map[int]int{0: 0, -1: 0, 1: 1, 2: 2} {
		if list, err := room.History(ctx, n); err != nil || len(list) != want {
			t.Errorf("of %d: %v (%v)", n, list, err)
		}
	}
	if list, err := hub.History(ctx, 10); err != nil || len(list) != 3 {
		t.Errorf("%v (%v)", list, err)
	}
	_, err = wstest.Run(t).Topic("room").History(ctx, 1)
	if !errors.Is(err, wskit.ErrNoHistory) {
		t.Error(err)
	}
	if _, err = hub.Topic("\n").History(ctx, 1); !errors.Is(err, wskit.ErrInvalidTopic) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	var none context.Context
	if _, err = room.History(none, 1); !errors.Is(err, wskit.ErrInvalidArgument) {
		t.Error(err)
	}
	_, _ = room.History(ended, 1)
	hub.Halt(t)
	if _, err = room.History(ctx, 1); !errors.Is(err, wskit.ErrHubStopped) {
		t.Error(err)
	}
}

func TestWhatIsTooOldIsNotKept(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{Age: 50 * time.Millisecond}, nil)
	begin := at(t, srv)
	hub.Broadcast([]byte("1"))
	hub.Settled(t)
	wstest.Eventually(t, "nothing kept", func() bool {
		list, err := hub.History(t.Context(), 1)
		return err == nil && len(list) == 0
	})
	expectTold(t, srv.StreamAt(t, after(begin)), "event:wskit.reset expired")
}

func TestAMessageWithAKeyIsSentOnce(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, nil)
	st := srv.Stream(t)
	hub.Count(t, 1)
	for range 3 {
		no(t, hub.Everyone().BroadcastContext(t.Context(), []byte("once"), wskit.WithKey("k")))
		hub.Everyone().Broadcast([]byte("never"), wskit.WithKey("k"))
		no(t, hub.Everyone().BroadcastEventContext(t.Context(), "never", wskit.WithKey("k")))
	}
	hub.Everyone().Broadcast([]byte("other"), wskit.WithKey("k2"))
	expectTold(t, st, "once", "other")
	for _, bad := range []string{"", strings.Repeat("k", 256)} {
		if err := hub.Everyone().BroadcastContext(t.Context(), nil, wskit.WithKey(bad)); !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Error(err)
		}
		if err := hub.Everyone().BroadcastEventContext(t.Context(), nil, wskit.WithKey(bad)); !errors.Is(err, wskit.ErrInvalidArgument) {
			t.Error(err)
		}
	}
}

func TestACrashOfTheRegistryForgetsNoHistory(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, nil, wskit.WithLogger(nil))
	st := srv.StreamAt(t, "/sse?topic=a")
	hub.Count(t, 1)
	hub.Topic("a").Broadcast([]byte("1"))
	id := expectTold(t, st, "1")
	st.End()
	hub.Count(t, 0)
	hub.Topic("a").Broadcast([]byte("2"))
	wstest.Crash(wstest.One(t, hub.Hub, "registry"), "test")
	hub.Topic("a").Broadcast([]byte("3"))
	st = srv.StreamAt(t, after(id, "a"))
	_, ids := told(t, st, 2)
	if !strings.HasSuffix(ids[0], ".2") || !strings.HasSuffix(ids[1], ".3") {
		t.Errorf("at %q", ids)
	}
}

func TestAClientOfAHubWithHistoryIsCutOffBeforeItHasHoles(t *testing.T) {
	hub, _ := remembering(t, wstest.TCP, wskit.History{}, nil)
	for want, opts := range map[bool][]wskit.ClientOption{true: nil, false: {wskit.WithOverflow(wskit.DropNewest)}} {
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: append(opts, wskit.WithSendBufSize(1)), Pumps: func(*wskit.Client) {}})
		_, c := srv.Peer(t)
		for range 3 {
			hub.Broadcast([]byte("1"))
		}
		hub.Settled(t)
		if err := c.SendErr(nil); errors.Is(err, wskit.ErrHubStopped) != want {
			t.Errorf("with %d options: %v", len(opts), err)
		}
		c.Close()
	}
}

func TestAPanicInTopicHistoryIsReported(t *testing.T) {
	failed := make(chan string, 8)
	hub := wstest.Run(t, wskit.WithLogger(nil), wskit.WithTopicHistory(func(topic string) wskit.History { panic(topic) }),
		wskit.WithOnError(func(op string, err error) { failed <- fmt.Sprint(op, " ", err) }))
	no(t, hub.Topic("a").BroadcastContext(t.Context(), []byte("1")))
	if got := wstest.Receive(t, "a report", failed); !strings.Contains(got, "TopicHistory") {
		t.Error(got)
	}
	list, err := hub.Topic("a").History(t.Context(), 1)
	if err != nil || len(list) != 1 {
		t.Error(list, err)
	}
}

func TestAClientThatTheProgramMakesGoesOnFromItsCursor(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, nil)
	begin := at(t, srv)
	for i := range 3 {
		hub.Broadcast([]byte(fmt.Sprint(i)))
	}
	for _, opt := range []wskit.ClientOption{wskit.WithCursor(begin), wskit.WithReplay(3)} {
		lent := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.NewClient, Client: []wskit.ClientOption{opt}})
		p, _ := lent.Peer(t)
		p.Expect(t, "0", "1", "2")
	}
}

// What was missed does not count against the queue, while OnConnect holds it back either.
func TestAGreetingCutsNobodyOff(t *testing.T) {
	var hub *wskit.Hub
	h, srv := remembering(t, wstest.TCP, wskit.History{Messages: 300}, []wskit.ClientOption{wskit.WithSendBufSize(8)},
		wskit.WithOnConnect(func(s wskit.Subscriber) {
			if m := s.(wskit.Member); m.Request().URL.Query().Has("last_event_id") {
				s.Send([]byte("hello"))
				hub.Broadcast([]byte("during"))
			}
		}))
	hub = h.Hub
	begin := at(t, srv)
	for i := range 100 {
		hub.Broadcast([]byte(fmt.Sprint(i)))
	}
	st := srv.StreamAt(t, after(begin))
	if got := wstest.Receive(t, "a greeting", st.Events); got != "hello" {
		t.Fatalf("told %q", got)
	}
	events, _ := told(t, st, 101)
	if events[0] != "0" || events[100] != "during" {
		t.Errorf("told %q", events)
	}
}

// When very many wait for Redis already, who comes back is told to come later; who is new is let in.
func TestTooManyThatComeBackAreToldToComeLater(t *testing.T) {
	hub, srv := remembering(t, wstest.TCP, wskit.History{}, nil)
	begin := at(t, srv)
	hub.Count(t, 0)
	book := &actors.ResolveLink(actors.System(), hub.PID()).Book
	book.SetResuming(actors.MaxResuming)
	st := srv.StreamAt(t, after(begin))
	if retry := wstest.Receive(t, "when to come", st.Events); !strings.HasPrefix(retry, "[retry:") {
		t.Errorf("told %q", retry)
	}
	st.Ends(t)
	p := srv.Handshake(t, wstest.Handshake{Path: "/ws?last_event_id=" + begin})
	if p.Answer.StatusCode != 503 || p.Answer.Header.Get("Retry-After") == "" {
		t.Errorf("answered %v", p.Answer)
	}
	if err := wstest.Receive(t, "an error", srv.Refused); !errors.Is(err, wskit.ErrTooManyResumes) {
		t.Error(err)
	}
	srv.Stream(t)
	hub.Count(t, 1)
	book.SetResuming(0)
	srv.StreamAt(t, after(begin))
	hub.Count(t, 2)
}
