package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
)

const historyChannel = "wskit-history"

// remember is what all hubs here have in common, and opts. redisAddr "": there is no Redis.
func remember(t *testing.T, redisAddr string, opts ...wskit.HubOption) []wskit.HubOption {
	t.Helper()
	opts = append(slices.Clip(opts),
		wskit.WithHistory(wskit.History{Messages: 1000}),
		wskit.WithMaxTopics(256),
		wskit.WithAuthenticate(func(*http.Request) (wskit.Identity, error) { return wskit.Identity{User: "ann"}, nil }),
		wskit.WithAuthorize(allow("secret")), wskit.WithAuthorizePublish(allow("notices")))
	if redisAddr != "" {
		client := redis.NewClient(&redis.Options{Addr: redisAddr})
		t.Cleanup(func() { _ = client.Close() })
		opts = append(opts, wskit.WithRedis(client, historyChannel))
	}
	return opts
}

// allow allows all topics but one.
func allow(but string) func(context.Context, wskit.Subscriber, string) error {
	return func(_ context.Context, _ wskit.Subscriber, topic string) error {
		if topic == but {
			return errors.New("not this one")
		}
		return nil
	}
}

// origin is a hub and its server, in this process.
type origin struct {
	hub  *wskit.Hub
	stop func() // in good order; may be called again
}

// startOrigin serves a hub with these options at an address. It stops with the test.
func startOrigin(t *testing.T, addr string, opts []wskit.HubOption) *origin {
	t.Helper()
	hub := wskit.NewHub(opts...)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, historyPage)
	})
	mux.Handle("/events", hub.SSEHandler(wskit.WithRetry(100*time.Millisecond)))
	mux.Handle("/ws", hub.WebSocketHandler())
	ctx, cancel := context.WithCancel(context.Background())
	served, subscribed := make(chan error, 1), make(chan struct{})
	go func() { served <- wskit.Serve(ctx, &http.Server{Addr: addr, Handler: mux}, hub) }()
	go func() { defer close(subscribed); hub.SubscribeToRedis(ctx) }()
	o := &origin{hub, sync.OnceFunc(func() {
		cancel()
		if err := <-served; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		<-subscribed
	})}
	t.Cleanup(o.stop)
	eventually(t, func() error {
		select {
		case err := <-served:
			served <- err
			t.Fatalf("the server ended with %v", err)
		default:
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return o
}

func freeAddr(t *testing.T) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// publisher publishes numbers, one after the other, until it is stopped.
type publisher struct {
	hub  *wskit.Hub
	stop func() []toldEvent // returns what a page is to be told; may be called again
	sent atomic.Int64
}

// pace leaves those who are away for a few seconds within what a resume delivers.
const pace = 20 * time.Millisecond

// publish has hub publish to topics, to everybody, to ann, and to a topic that no page is in.
func publish(t *testing.T, hub *wskit.Hub, topics []string) *publisher {
	t.Helper()
	p := &publisher{hub: hub}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var wanted []toldEvent
	go func() {
		defer close(done)
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for n := 0; ctx.Err() == nil; n++ {
			to, e := hub.Everyone(), toldEvent{Data: strconv.Itoa(n)}
			switch rand.IntN(10) {
			case 0:
			case 1:
				to, e.User = hub.User("ann").Audience, "ann"
			case 2:
				to, e.Topic = hub.Topic("elsewhere").Audience, "elsewhere"
			default:
				e.Topic = topics[rand.IntN(len(topics))]
				to = hub.Topic(e.Topic).Audience
			}
			var err error
			if n%7 == 0 {
				e.Data = "\ufffd" + e.Data
				err = to.BroadcastBinaryContext(context.Background(), fmt.Append([]byte{0xff}, n))
			} else {
				err = to.BroadcastEventContext(context.Background(), n)
			}
			if err != nil {
				t.Errorf("message %d to %+v: %v", n, e, err)
			}
			if e.Topic != "elsewhere" {
				wanted = append(wanted, e)
			}
			p.sent.Add(1)
			<-tick.C
		}
	}()
	p.stop = func() []toldEvent {
		cancel()
		<-done
		return wanted
	}
	t.Cleanup(func() { p.stop() })
	return p
}

// more waits until so many more were published.
func (p *publisher) more(t *testing.T, n int64) {
	t.Helper()
	n += p.sent.Load()
	eventually(t, func() error {
		if sent := p.sent.Load(); sent < n {
			return fmt.Errorf("%d published, want %d", sent, n)
		}
		return nil
	})
}

// cut cuts the page off while messages are published, and waits until it is back.
func (tab *historyTab) cut(t *testing.T, p *publisher, tear bool) {
	t.Helper()
	before := tab.told(t)
	if tear {
		tab.net.tear(t)
	} else {
		tab.net.cut()
	}
	p.more(t, 20)
	tab.net.restore()
	tab.back(t, before)
}

// toldAll checks that the page was told all that was published, once each and in order, and is told none of it again.
func (tab *historyTab) toldAll(t *testing.T, p *publisher) {
	t.Helper()
	wanted := p.stop()
	before := tab.await(t, fmt.Sprintf("%d events", len(wanted)), func(v told) bool { return len(v.Events) >= len(wanted) })
	tab.net.cut()
	tab.net.restore()
	tab.back(t, before)
	if err := p.hub.BroadcastEventContext(t.Context(), -1); err != nil {
		t.Fatal(err)
	}
	v := tab.await(t, "the last", func(v told) bool { return v.last().Data == "-1" })
	wanted = without(append(wanted, toldEvent{Data: "-1"}), tab.stream)
	if got := without(v.Events, tab.stream); !slices.Equal(got, wanted) {
		i := 0
		for i < min(len(got), len(wanted)) && got[i] == wanted[i] {
			i++
		}
		t.Errorf("told %d events, want %d; from event %d on they are %+v, want %+v",
			len(got), len(wanted), i, got[i:min(i+5, len(got))], wanted[i:min(i+5, len(wanted))])
	}
	if len(v.Resets) > 0 {
		t.Errorf("there were resets: %+v", v.Resets)
	}
	kept, err := p.hub.History(t.Context(), 1)
	if err != nil || len(kept) != 1 || kept[0].ID != v.last().ID {
		t.Errorf("the last event is %+v, the last message %+v, %v", v.last(), kept, err)
	}
	tab.inOrder(t, v)
}

// overWebSocket and overEventSource are how a page may listen.
var (
	overWebSocket   = []listening{{"WebSocket", false, nil}}
	overEventSource = []listening{{"EventSource", true, nil}, {"hijacked EventSource", true, []wskit.HubOption{wskit.WithSSEHijack()}}}
)

type listening struct {
	name   string
	stream bool // an EventSource
	opts   []wskit.HubOption
}

// eachHistory runs test for each of these, without a Redis and with one. redis: its address; "": there is none.
func eachHistory(t *testing.T, kinds []listening, test func(t *testing.T, b *browser, kind listening, redis string)) {
	b := startBrowser(t)
	for _, kind := range kinds {
		t.Run(kind.name, func(t *testing.T) { test(t, b, kind, "") })
		t.Run(kind.name+" with Redis", func(t *testing.T) { test(t, b, kind, startRedis(t)) })
	}
}

func TestAPageThatIsCutOffIsToldAllOnceAndInOrder(t *testing.T) {
	var topics []string
	for i := range 200 {
		topics = append(topics, fmt.Sprint("room ", i))
	}
	eachHistory(t, append(overWebSocket, overEventSource...), func(t *testing.T, b *browser, kind listening, redis string) {
		addr := freeAddr(t)
		o := startOrigin(t, addr, remember(t, redis, kind.opts...))
		from := o.hub
		if redis != "" {
			from = runHub(t, remember(t, redis)...)
			go from.SubscribeToRedis(t.Context())
		}
		tab := openHistory(t, b, o, addr, kind.stream, topics...)
		p := publish(t, from, topics)
		p.more(t, 20)
		for i := range 4 {
			tab.cut(t, p, i%2 == 1)
			p.more(t, 10)
			if redis == "" {
				continue
			}
			before := tab.told(t)
			o.stop()
			p.more(t, 10)
			o = startOrigin(t, addr, remember(t, redis, kind.opts...))
			tab.back(t, before)
		}
		tab.cut(t, p, true)
		tab.toldAll(t, p)
	})
}

func TestAPageThatSpeaksTheSubprotocolJoinsAndPublishes(t *testing.T) {
	eachHistory(t, overWebSocket, func(t *testing.T, b *browser, kind listening, redis string) {
		addr := freeAddr(t)
		o := startOrigin(t, addr, remember(t, redis, kind.opts...))
		tab := openHistory(t, b, o, addr, kind.stream, "room")
		for _, c := range []struct{ command, answer string }{
			{`{"op":"join","topic":"extra","ref":1}`, "1 ok"},
			{`{"op":"join","topic":"secret","ref":2}`, "2 forbidden"},
			{`{"op":"publish","topic":"extra","data":{"n":1},"ref":"a"}`, "a ok"},
			{`{"op":"publish","topic":"extra","text":"two","key":"k","ref":"b"}`, "b ok"},
			{`{"op":"publish","topic":"extra","text":"two","key":"k","ref":"b again"}`, "b again ok"},
			{`{"op":"publish","topic":"notices","data":0,"ref":3}`, "3 forbidden"},
			{`{"op":"publish","topic":"elsewhere","data":0,"ref":4}`, "4 ok"},
			{`{"op":"say","ref":5}`, "5 malformed"},
			{`{"op":"ping","ref":6}`, "6 ok"},
		} {
			evaluate[chromedp.Void](t, tab.tab, fmt.Sprintf("link.send(%q)", c.command))
			tab.await(t, c.answer, func(v told) bool { return len(v.Answers) > 0 && v.Answers[len(v.Answers)-1] == c.answer })
		}
		evaluate[chromedp.Void](t, tab.tab, `topics.push("extra")`)
		before := tab.told(t)
		tab.net.cut()
		if err := o.hub.Topic("extra").BroadcastEventContext(t.Context(), 3); err != nil {
			t.Error(err)
		}
		tab.net.restore()
		tab.back(t, before)
		v := tab.await(t, "what it missed", func(v told) bool { return v.last().Data == "3" })
		tab.inOrder(t, v)
		if want := []toldEvent{{Data: `{"n":1}`, Topic: "extra"}, {Data: "two", Topic: "extra"}, {Data: "3", Topic: "extra"}}; !slices.Equal(without(v.Events, false), want) {
			t.Errorf("told %+v, want %+v", v.Events, want)
		}
		if len(v.Answers) != 9 || len(v.Resets) > 0 {
			t.Errorf("the answers are %q, the resets %+v", v.Answers, v.Resets)
		}
	})
}

func TestAPageOfAnotherEpochIsResetOnceAndGoesOn(t *testing.T) {
	eachHistory(t, append(overWebSocket, overEventSource...), func(t *testing.T, b *browser, kind listening, shared string) {
		addr := freeAddr(t)
		o := startOrigin(t, addr, remember(t, shared, kind.opts...))
		tab := openHistory(t, b, o, addr, kind.stream, "room")
		say := func(text string) {
			t.Helper()
			if err := o.hub.Topic("room").BroadcastEventContext(t.Context(), text); err != nil {
				t.Error(err)
			}
		}
		hears := func(text string) told {
			t.Helper()
			return tab.await(t, text, func(v told) bool { return v.last().Data == strconv.Quote(text) })
		}
		loseLog := []func(){
			func() { // the page goes too, and comes back
				before := tab.told(t)
				o.stop()
				o = startOrigin(t, addr, remember(t, shared, kind.opts...))
				tab.back(t, before)
				say("0")
			},
		}
		if shared != "" {
			client := redis.NewClient(&redis.Options{Addr: shared})
			defer client.Close()
			empty := func() {
				t.Helper()
				if err := client.FlushAll(t.Context()).Err(); err != nil {
					t.Fatal(err)
				}
			}
			loseLog = []func(){
				func() { // the page is there
					empty()
					say("0")
				},
				func() { // the page is away, and the reset is behind what it misses
					before := tab.told(t)
					tab.net.cut()
					empty()
					say("not to be seen")
					tab.net.restore()
					tab.back(t, before)
					say("1")
				},
			}
		}
		say("begin")
		hears("begin")
		for i, lose := range loseLog {
			before := len(tab.told(t).Events)
			lose()
			hears(strconv.Itoa(i))
			away := tab.told(t)
			tab.net.cut()
			say("missed")
			tab.net.restore()
			tab.back(t, away)
			hears("missed")
			say("now")
			v := hears("now")
			tab.inOrder(t, v)
			if len(v.Events) != before+3 {
				t.Errorf("told %+v", v.Events)
			}
			if len(v.Resets) != i+1 || v.Resets[i].Reason != "epoch" || v.Resets[i].Before != before {
				t.Fatalf("the resets are %+v, want %d, the last of epoch before event %d", v.Resets, i+1, before)
			}
			epoch, _ := position(t, v.Resets[i].ID)
			for j, e := range v.Events {
				if got, _ := position(t, e.ID); (got == epoch) != (j >= before) {
					t.Errorf("the reset is at %s, event %d at %s", v.Resets[i].ID, j, e.ID)
				}
			}
		}
	})
}
