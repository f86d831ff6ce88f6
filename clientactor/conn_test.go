package clientactor_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"github.com/wskit/wskit/internal/wstest"
)

// goroutines keeps none.
var goroutines = actors.NewRunner(0, false)

var standard = &clientactor.Config{
	WriteWait: 5 * time.Second, PingInterval: time.Minute, MaxMessageSize: 512, Queue: actors.Bound{Messages: 16},
}

// serve upgrades every request, runs the connection's actor and both pumps, and hands the connection to the test.
func serve(t *testing.T, cfg *clientactor.Config, handle func(bool, []byte) error) (url string, conns <-chan *clientactor.Conn) {
	t.Helper()
	accepted := make(chan *clientactor.Conn, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := clientactor.Accept(w, r, nil, cfg, goroutines, handle, nil)
		if err != nil {
			t.Error(err)
			return
		}
		spawn(c)
		c.StartWriting()
		go c.ReadLoop()
		accepted <- c
	}))
	t.Cleanup(srv.Close)
	return srv.URL, accepted
}

// spawn runs c's actor under a parent that does about failures what connections does.
func spawn(c *clientactor.Conn) *actor.PID { return spawnTelling(c, &wstest.List[any]{}) }

// spawnTelling is spawn that lists what the actor tells its parent: *actors.Failed and the like.
func spawnTelling(c *clientactor.Conn, told *wstest.List[any]) *actor.PID {
	pids := make(chan *actor.PID, 1)
	actors.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actors.Failed, *actors.Oversized, *actors.Overflowed:
			told.Add(m)
		case *actor.Started:
			pids <- ctx.Spawn(actor.PropsFromProducer(c.Actor, actor.WithDispatcher(actors.SharedPools().Connections),
				actor.WithMailbox(func() actor.Mailbox { return c.Outbox() })))
		case *actor.Terminated:
			ctx.Poison(ctx.Self()) // behind what the child has told: Terminated overtakes that
		}
	}, actor.WithSupervisor(actor.NewOneForOneStrategy(0, 0, func(any) actor.Directive {
		c.Outbox().Close(&actors.Close{Reason: actors.ReasonCrashed})
		return actor.StopDirective
	}))))
	return <-pids
}

func await(t *testing.T, c *clientactor.Conn) {
	t.Helper()
	wstest.Receive(t, "the connection ends", c.Done())
}

// dialRaw makes a WebSocket connection whose peer does nothing but read bytes: no pong, no close frame.
func dialRaw(t *testing.T, url string) (net.Conn, *bufio.Reader) {
	t.Helper()
	return dialEarly(t, url, nil)
}

// dialEarly sends something along with the request.
func dialEarly(t *testing.T, url string, early []byte) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	p, err := wstest.Ask(conn, wstest.Handshake{Path: "/", Early: early}.Request("x"))
	if err != nil {
		t.Fatal(err)
	}
	p.Upgraded(t)
	return conn, p.In
}

func TestAPeerThatAnswersNoPingIsClosedAfterTheWriteWait(t *testing.T) {
	cfg := *standard
	cfg.PingInterval, cfg.WriteWait = 20*time.Millisecond, 100*time.Millisecond
	url, conns := serve(t, &cfg, nil)
	_, r := dialRaw(t, url)
	c := <-conns
	start := time.Now()
	await(t, c)
	if d := time.Since(start); d < cfg.WriteWait {
		t.Errorf("closed after %v, before the write wait was over", d)
	}
	if got := c.Outbox().Reason(); got != actors.ReasonPing {
		t.Errorf("reason %v", got)
	}
	if b, err := r.ReadByte(); b != 0x89 || err != nil {
		t.Errorf("first byte %x, %v; want a ping", b, err)
	}
}

func TestAPeerThatAnswersPingsStaysAndIsPingedAtTheInterval(t *testing.T) {
	cfg := *standard
	cfg.PingInterval, cfg.WriteWait = 50*time.Millisecond, 20*time.Millisecond
	url, conns := serve(t, &cfg, nil)
	var pings atomic.Int64
	enough := make(chan struct{})
	ws, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{OnPingReceived: func(context.Context, []byte) bool {
		if pings.Add(1) == 10 {
			close(enough)
		}
		return true
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	go ws.Read(context.Background())
	c := <-conns
	start := time.Now()
	<-enough
	if d := time.Since(start); d < 9*cfg.PingInterval {
		t.Errorf("10 pings took only %v", d)
	}
	if got := c.Outbox().Reason(); got != actors.ReasonNone {
		t.Errorf("closed: %v", got)
	}
	ws.CloseNow()
	await(t, c)
}

func TestAConnectionThatIsNotReadIsNotBlamedForMissingPongs(t *testing.T) {
	cfg := *standard
	cfg.PingInterval, cfg.WriteWait = 20*time.Millisecond, 20*time.Millisecond
	conns := make(chan *clientactor.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := clientactor.Accept(w, r, nil, &cfg, goroutines, nil, nil)
		spawn(c)
		c.StartWriting()
		conns <- c
	}))
	defer srv.Close()
	_, r := dialRaw(t, srv.URL)
	c := <-conns
	for range 10 {
		if f, err := r.ReadByte(); err != nil || f != 0x89 {
			t.Fatal(f, err)
		}
		_, _ = r.ReadByte()
	}
	c.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
	if f, err := r.ReadByte(); err != nil || f != 0x88 && f != 0x89 {
		t.Fatal(f, err)
	}
	await(t, c) // bounded by the write wait, though the peer answers nothing
}

func TestAPanicInTheMessageHandlerClosesTheConnectionWith1011(t *testing.T) {
	url, conns := serve(t, standard, func(bool, []byte) error { panic("no") })
	ws, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	_ = ws.Write(t.Context(), websocket.MessageText, []byte("hi"))
	_, _, err = ws.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusInternalError {
		t.Errorf("status %v, error %v", got, err)
	}
	await(t, <-conns)
}

func TestACrashOfTheActorTellsThePeer1011(t *testing.T) {
	conns := make(chan *clientactor.Conn, 1)
	pids := make(chan *actor.PID, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := clientactor.Accept(w, r, nil, standard, goroutines, nil, nil)
		pids <- spawn(c)
		go c.ReadLoop()
		conns <- c
	}))
	defer srv.Close()
	ws, _, err := websocket.Dial(t.Context(), srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	c := <-conns
	actors.System().Root.Send(<-pids, &actors.Crash{Reason: "told to"})
	_, _, err = ws.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusInternalError {
		t.Errorf("status %v, error %v", got, err)
	}
	await(t, c)
}

func TestWhatWasQueuedBeforeCloseArrivesBeforeTheCloseFrame(t *testing.T) {
	url, conns := serve(t, standard, nil)
	ws, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	c := <-conns
	for range 10 {
		if err := c.Outbox().Send(actors.NewFrame([]byte("queued"))); err != nil {
			t.Fatal(err)
		}
	}
	c.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
	for range 10 {
		if _, b, err := ws.Read(t.Context()); err != nil || string(b) != "queued" {
			t.Fatal(string(b), err)
		}
	}
	_, _, err = ws.Read(t.Context())
	if got := websocket.CloseStatus(err); got != websocket.StatusNormalClosure {
		t.Errorf("status %v, error %v", got, err)
	}
	await(t, c)
}

func TestASilentPeerCannotDelayTheEndBeyondTheDeadline(t *testing.T) {
	url, conns := serve(t, standard, nil)
	dialRaw(t, url)
	c := <-conns
	start := time.Now()
	c.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown, Deadline: start.Add(100 * time.Millisecond)})
	await(t, c)
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("took %v", d)
	}
}
