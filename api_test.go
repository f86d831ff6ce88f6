package wskit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"go.uber.org/goleak"
)

// Nothing is exempt from the leak check: protoactor's shared system is heap, no goroutine of it outlives the hubs.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Every identifier of the contract at its exact type. A method is compared as an expression, so that neither a receiver
// nor a result nor a variadic parameter can change unnoticed.
var (
	_ error = wskit.ErrHubStopped
	_ error = wskit.ErrFlusherNotSupported

	_ func(...wskit.HubOption) *wskit.Hub                  = wskit.NewHub
	_ func(*redis.Client, string) wskit.HubOption          = wskit.WithRedis
	_ func(int) wskit.HubOption                            = wskit.WithBroadcastBuf
	_ func(int) wskit.HubOption                            = wskit.WithRegisterBuf
	_ func(time.Duration) wskit.HubOption                  = wskit.WithChannelTimeout
	_ func(func(string)) wskit.HubOption                   = wskit.WithOnTimeout
	_ func(func(wskit.Subscriber)) wskit.HubOption         = wskit.WithOnConnect
	_ func(func(wskit.Subscriber)) wskit.HubOption         = wskit.WithOnDisconnect
	_ wskit.HubOption                                      = (func(*wskit.Hub))(nil)
	_ func(*wskit.Hub)                                     = wskit.HubOption(nil)
	_ func(*wskit.Hub, context.Context)                    = (*wskit.Hub).Run
	_ func(*wskit.Hub, wskit.Subscriber)                   = (*wskit.Hub).Register
	_ func(*wskit.Hub, wskit.Subscriber)                   = (*wskit.Hub).Unregister
	_ func(*wskit.Hub, []byte)                             = (*wskit.Hub).Broadcast
	_ func(*wskit.Hub, context.Context, any) error         = (*wskit.Hub).BroadcastEvent
	_ func(*wskit.Hub, context.Context)                    = (*wskit.Hub).SubscribeToRedis
	_ func(*wskit.Hub) int                                 = (*wskit.Hub).SubscriberCount
	_ func(*wskit.Client, []byte) error                    = (*wskit.Client).SendErr
	_ func(*wskit.Client, []byte) bool                     = (*wskit.Client).Send
	_ func(*wskit.Client)                                  = (*wskit.Client).ReadPump
	_ func(*wskit.Client)                                  = (*wskit.Client).WritePump
	_ func(*wskit.Client)                                  = (*wskit.Client).Close
	_ func(time.Duration) wskit.ClientOption               = wskit.WithWriteWait
	_ func(time.Duration) wskit.ClientOption               = wskit.WithPingInterval
	_ func(int64) wskit.ClientOption                       = wskit.WithMaxMessageSize
	_ func(int) wskit.ClientOption                         = wskit.WithSendBufSize
	_ wskit.ClientOption                                   = (func(*wskit.ClientConfig))(nil)
	_ func(*wskit.ClientConfig)                            = wskit.ClientOption(nil)
	_ func(*wskit.Hub, int) *wskit.SSEClient               = wskit.NewSSEClient
	_ func(*wskit.SSEClient, []byte) bool                  = (*wskit.SSEClient).Send
	_ func(*wskit.SSEClient)                               = (*wskit.SSEClient).Close
	_ func(string, any) wskit.Event                        = wskit.NewEvent
	_ wskit.Subscriber                                     = (*wskit.Client)(nil)
	_ wskit.Subscriber                                     = (*wskit.SSEClient)(nil)
	_ func(*wskit.Hub, context.Context, string, any) error = (*wskit.Hub).BroadcastJSON

	_ func(*wskit.Hub, *websocket.Conn, context.Context, ...wskit.ClientOption) *wskit.Client = wskit.NewClient
	_ func(http.ResponseWriter, *http.Request, *wskit.Hub) error                              = wskit.AcceptSSE
	_ func(context.Context, http.ResponseWriter, *http.Request, *wskit.Hub,
		*websocket.AcceptOptions, ...wskit.ClientOption) (*wskit.Client, error) = wskit.Accept

	// Identical, not merely assignable: an interface with one method more or fewer would not convert both ways.
	_ = func(s interface {
		Send(data []byte) bool
		Close()
	}) wskit.Subscriber {
		return s
	}
	_ = func(s wskit.Subscriber) interface {
		Send(data []byte) bool
		Close()
	} {
		return s
	}

	// Struct conversion asks for the same fields of the same types in the same order.
	_ = struct {
		WriteWait, PingInterval time.Duration
		MaxMessageSize          int64
		SendBufSize             int
	}(wskit.ClientConfig{})
	_ = wskit.ClientConfig{time.Second, time.Second, int64(1), int(1)}
	_ = wskit.Event{"type", any(nil), time.Time{}}

	// Assignment, unlike conversion, asks for the same tags too.
	_ struct {
		Type      string    `json:"type"`
		Payload   any       `json:"payload"`
		Timestamp time.Time `json:"timestamp"`
	} = wskit.Event{}
)

func TestTheConstantsHaveTheContractsValues(t *testing.T) {
	// Untyped where the contract leaves them untyped: a constant of type int would not fit into an int64 option.
	var size int64 = wskit.DefaultMaxMessageSize
	var bufs [3]int = [...]int{wskit.DefaultSendBufSize, wskit.DefaultBroadcastBuf, wskit.DefaultRegisterBuf}
	var waits [3]time.Duration = [...]time.Duration{wskit.DefaultWriteWait, wskit.DefaultPingInterval, wskit.DefaultChannelTimeout}
	if size != 512 || bufs != [3]int{256, 256, 64} || waits != [3]time.Duration{10 * time.Second, 30 * time.Second, 5 * time.Second} {
		t.Error(size, bufs, waits)
	}
	var _ int = wskit.DefaultMaxMessageSize
	const _ time.Duration = wskit.DefaultWriteWait // constants, not variables
	const _ = wskit.DefaultSendBufSize + wskit.DefaultBroadcastBuf + wskit.DefaultRegisterBuf
}

func TestTheErrorsHaveTheContractsTexts(t *testing.T) {
	for err, text := range map[error]string{
		wskit.ErrHubStopped:          "wskit: hub is stopped",
		wskit.ErrFlusherNotSupported: "wskit: http.Flusher not supported",
	} {
		if err.Error() != text || !errors.Is(err, err) {
			t.Errorf("%q, want %q", err, text)
		}
	}
}

func TestNewEventIsOfNow(t *testing.T) {
	before := time.Now()
	e := wskit.NewEvent("t", 7)
	if e.Type != "t" || e.Payload != 7 || e.Timestamp.Before(before) || e.Timestamp.After(time.Now()) {
		t.Errorf("%+v", e)
	}
	data, err := json.Marshal(wskit.NewEvent("t", nil))
	if err != nil || !bytes.Contains(data, []byte(`"payload":null`)) {
		t.Errorf("%s %v: a nil payload is still there", data, err)
	}
}

// outsider is a program written for the v0.3 API, with every identifier of the contract.
const outsider = `package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	ws "github.com/wskit/wskit"
)

type sub struct{}

func (sub) Send(data []byte) bool { return len(data) < ws.DefaultMaxMessageSize }
func (sub) Close()                {}

// Interfaces that a program defines over the library, as tests of its users do.
type hub interface {
	Run(ctx context.Context)
	Register(sub ws.Subscriber)
	Unregister(sub ws.Subscriber)
	Broadcast(data []byte)
	BroadcastEvent(ctx context.Context, event any) error
	BroadcastJSON(ctx context.Context, typ string, payload any) error
	SubscribeToRedis(ctx context.Context)
	SubscriberCount() int
}

type client interface {
	ws.Subscriber
	SendErr(data []byte) error
	ReadPump()
	WritePump()
}

var (
	_ hub           = (*ws.Hub)(nil)
	_ client        = (*ws.Client)(nil)
	_ ws.Subscriber = (*ws.SSEClient)(nil)
	_ ws.Subscriber = sub{}
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), ws.DefaultWriteWait+ws.DefaultPingInterval)
	defer cancel()
	var rdb *redis.Client
	var custom ws.HubOption = func(*ws.Hub) {}
	h := ws.NewHub(ws.WithRedis(rdb, ""), ws.WithBroadcastBuf(ws.DefaultBroadcastBuf), ws.WithRegisterBuf(ws.DefaultRegisterBuf),
		ws.WithChannelTimeout(ws.DefaultChannelTimeout), ws.WithOnTimeout(func(op string) {}), custom, nil,
		ws.WithOnConnect(func(s ws.Subscriber) { _ = s.Send(nil) }), ws.WithOnDisconnect(func(s ws.Subscriber) { s.Close() }))
	go h.Run(ctx)
	go h.SubscribeToRedis(ctx)
	h.Register(sub{})
	h.Broadcast([]byte("x"))
	_ = h.BroadcastEvent(ctx, ws.Event{Type: "t", Payload: 1, Timestamp: time.Now()})
	_ = h.BroadcastJSON(ctx, "t", ws.NewEvent("t", nil))
	h.Unregister(sub{})
	var n int = h.SubscriberCount()
	_ = n
	s := ws.NewSSEClient(h, ws.DefaultSendBufSize)
	_ = s.Send(nil)
	s.Close()
	c := ws.NewClient(h, (*websocket.Conn)(nil), ctx, ws.WithSendBufSize(1))
	if err := c.SendErr(nil); errors.Is(err, ws.ErrHubStopped) {
		c.Close()
	}
	http.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		var opts []ws.ClientOption = []ws.ClientOption{ws.WithWriteWait(ws.DefaultWriteWait), ws.WithPingInterval(time.Second),
			ws.WithMaxMessageSize(ws.DefaultMaxMessageSize), func(c *ws.ClientConfig) { *c = ws.ClientConfig{} }}
		c, err := ws.Accept(r.Context(), w, r, h, &websocket.AcceptOptions{}, opts...)
		if err != nil {
			return
		}
		go c.ReadPump()
		go c.WritePump()
		_ = c.Send([]byte("hello"))
	})
	http.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
		switch err := ws.AcceptSSE(w, r, h); err {
		case nil, ws.ErrFlusherNotSupported:
		}
	})
}
`

func TestAProgramOutsideTheModuleCompilesAgainstTheContract(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	// The library's own requirements, so that nothing has to be looked up anywhere.
	mod = regexp.MustCompile(`(?m)^module .*$`).ReplaceAll(mod, []byte("module example.org/outsider"))
	mod = fmt.Appendf(mod, "\nrequire github.com/wskit/wskit v0.0.0\n\nreplace github.com/wskit/wskit => %q\n", root)
	dir := t.TempDir()
	for name, data := range map[string][]byte{"go.mod": mod, "go.sum": sum, "main.go": []byte(outsider)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	vet := exec.Command("go", "vet", "-mod=mod", ".")
	vet.Dir = dir
	vet.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off", "GOTOOLCHAIN=local")
	if out, err := vet.CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// printer is a Subscriber of one's own.
type printer struct {
	name  string
	lines chan string
	ended atomic.Bool
}

func (p *printer) Send(data []byte) bool {
	p.lines <- p.name + ": " + string(data)
	return true
}

func (p *printer) Close() {
	if p.ended.CompareAndSwap(false, true) {
		close(p.lines)
	}
}

func ExampleHub_Broadcast() {
	hub := wskit.NewHub(wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send([]byte("welcome")) }))
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() { hub.Run(ctx); close(stopped) }()

	anne := &printer{name: "anne", lines: make(chan string, 8)}
	hub.Register(anne)
	hub.Broadcast([]byte("hello"))
	hub.Broadcast([]byte("world"))
	hub.Unregister(anne) // closes it, behind what was sent

	for line := range anne.lines {
		fmt.Println(line)
	}
	stop()
	<-stopped
	fmt.Println("subscribers:", hub.SubscriberCount())
	// Output:
	// anne: welcome
	// anne: hello
	// anne: world
	// subscribers: 0
}

func ExampleNewEvent() {
	event := wskit.NewEvent("price", map[string]int{"cents": 1250})
	event.Timestamp = time.Date(2024, 5, 17, 8, 30, 0, 0, time.UTC)
	data, err := json.Marshal(event)
	fmt.Println(string(data), err)
	// Output: {"type":"price","payload":{"cents":1250},"timestamp":"2024-05-17T08:30:00Z"} <nil>
}

func ExampleAcceptSSE() {
	hub := wskit.NewHub()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	stopped := make(chan struct{})
	go func() { hub.Run(ctx); close(stopped) }()

	result := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result <- wskit.AcceptSSE(w, r, hub)
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	fmt.Println(response.Header.Get("Content-Type"))
	hub.Broadcast([]byte("two\nlines"))
	lines := bufio.NewScanner(response.Body)
	for said := false; lines.Scan() && (lines.Text() != "" || !said); { // the stream begins with a comment
		if strings.HasPrefix(lines.Text(), "data:") {
			fmt.Println(lines.Text())
			said = true
		}
	}
	stop() // the hub ends the stream
	<-stopped
	fmt.Println(<-result)
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// text/event-stream
	// data: two
	// data: lines
	// <nil>
}
