package attack_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// cut makes messages of arbitrary bytes: each byte before it says how long the next is, 255 that it is long.
func cut(data []byte) (messages [][]byte) {
	for len(data) > 0 && len(messages) < 100 {
		n := int(data[0])
		data = data[1:]
		if n == 255 && len(data) > 1 {
			n = int(binary.BigEndian.Uint16(data)) // longer than what is left: repeated
			data = data[2:]
			pattern := append([]byte{byte(n)}, data[:min(7, len(data))]...)
			messages = append(messages, bytes.Repeat(pattern, n/len(pattern)+1)[:n])
			continue
		}
		n = min(n, len(data))
		messages = append(messages, data[:n])
		data = data[n:]
	}
	return messages
}

var cuts = [][]byte{
	{}, {0}, {1, 'a', 0, 2, 'b', 'c'}, []byte("\x05a\nb\rc\x06\r\n\r\n: \x09event: x\n\x03\n\n\n\x04id:1\x08retry: 1\x03\xef\xbb\xbf"),
	{255, 0, 125, 1, 255, 0, 126, 2, 255, 0, 127, 3, 255, 255, 255, 4, 5}, bytes.Repeat([]byte{255, 4, 0, 'x'}, 150),
	bytes.Repeat([]byte{1, 'y'}, 200), []byte("\xff\xff\xff\xff\xff\xff"), []byte("\x07data: x\x06data:x\x04data\x01:\x02: \x02 :"),
}

// Whatever is broadcast arrives at an EventSource as one event each, in order, all the way through HTTP.
func FuzzSSEEndToEnd(f *testing.F) {
	for _, seed := range cuts {
		f.Add(seed)
	}
	lines := strings.NewReplacer("\r\n", "\n", "\r", "\n")
	f.Fuzz(func(t *testing.T, data []byte) {
		h := wstest.Run(t)
		resp, err := wstest.Serve(t, h.Hub, wstest.Serving{Kind: wstest.Pipe}).Client().Get("http://pipe/sse")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		h.Count(t, 1)
		got := make(chan []string, 1)
		go func() { got <- wstest.AllEvents(resp.Body) }()
		var want []string
		for _, m := range cut(data) {
			h.Broadcast(m)
			want = append(want, lines.Replace(string([]rune(string(m))))) // what is not UTF-8 arrives as U+FFFD
		}
		h.Halt(t) // ends the stream after all that
		if all := wstest.Receive(t, "the end of the stream", got); !slices.Equal(all, want) {
			t.Fatalf("%d events %.200q, want %d %.200q", len(all), all, len(want), want)
		}
	})
}

// Whatever is sent or broadcast, in whatever batches it is written, is read back by another implementation of the protocol
// as it was; over a connection without and with non-blocking writes.
func FuzzWebSocketBatchesAreReadBack(f *testing.F) {
	for i, seed := range cuts {
		f.Add(seed, i%2 == 0, i%3 == 0)
	}
	f.Fuzz(func(t *testing.T, data []byte, socket, pumpFirst bool) {
		h := wstest.Run(t)
		pump := func(c *wskit.Client) {
			go c.ReadPump()
			if pumpFirst {
				go c.WritePump()
			}
		}
		var p *wstest.Browser
		var c *wskit.Client
		if socket {
			p, c = servePumps(t, h.Hub, pump).Browser(t)
		} else {
			p, c = wstest.Serve(t, h.Hub, wstest.Serving{Kind: wstest.Pipe, Pumps: pump}).Browser(t)
		}
		defer p.CloseNow()
		h.Count(t, 1)
		messages := cut(data)
		finished := wstest.Begin(func() {
			for _, m := range messages {
				if !c.Send(bytes.Clone(m)) {
					t.Error("dropped")
				}
			}
			if !pumpFirst {
				go c.WritePump()
			}
			c.Close()
		})
		for i, m := range messages {
			if _, got, err := p.NextOf(); got != string(m) || err != nil {
				t.Fatalf("message %d of %d is %.80q (%v), want %.80q", i, len(messages), got, err, m)
			}
		}
		p.Ends(t, websocket.StatusNormalClosure)
		<-finished
	})
}

// Whatever bytes a client sends after its upgrade, the others get every message, and the hub is rid of it when it leaves.
func FuzzWhatAClientSendsHurtsNoOther(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x81, 0x85, 0, 0, 0, 0, 'h', 'e', 'l', 'l', 'o'})
	f.Add([]byte{0x81, 0x05, 'h', 'e', 'l', 'l', 'o'})                      // not masked
	f.Add([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8})                       // closes
	f.Add([]byte{0x88, 0x81, 0, 0, 0, 0, 0x03})                             // half a code
	f.Add([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0})                           // a ping too long
	f.Add([]byte{0x01, 0x81, 0, 0, 0, 0, 'a', 0x80, 0x81, 0, 0, 0, 0, 'b'}) // fragments
	f.Add([]byte{0xf1, 0x80, 0, 0, 0, 0})                                   // reserved bits
	f.Add([]byte{0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0})
	f.Add([]byte{0x82, 0xfe, 0x04, 0x00, 1, 2, 3, 4})
	f.Add(bytes.Repeat([]byte{0x89, 0x80, 0, 0, 0, 0}, 300))
	f.Add([]byte{0x83, 0x80, 0, 0, 0, 0, 0x80, 0x80, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var bystander *wskit.Client
		h := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, m []byte) {
			c.Send(m)
			if len(m) > 0 && m[0] == 'p' {
				panic("told to")
			}
		}), wskit.WithOnError(func(op string, err error) {
			if op != "OnMessage" {
				t.Error(op, err)
			}
		}))
		srv := serve(t, h.Hub)
		healthy, c := srv.Browser(t)
		bystander = c
		evil, _ := silent(t, srv)
		read := wstest.Begin(func() { _, _ = io.Copy(io.Discard, evil.In) })
		h.Broadcast([]byte("before"))
		sent := wstest.Begin(func() { _, _ = evil.Write(data); _ = evil.Conn.(*net.TCPConn).CloseWrite() })
		h.Broadcast([]byte("meanwhile"))
		healthy.Expect(t, "before", "meanwhile")
		wstest.Receive(t, "it is sent", sent)
		wstest.Receive(t, "the server ends it", read)
		h.Count(t, 1)
		h.Broadcast([]byte("after"))
		healthy.Expect(t, "after")
		if bystander.SendErr([]byte("still open")) != nil {
			t.Error("the other was closed")
		}
		healthy.Expect(t, "still open")
		healthy.Listen(t)
	})
}

// Options with any numbers never panic, and what is limited stays within its limit, or the default where it makes no sense.
func FuzzOptions(f *testing.F) {
	extremes := []int64{0, 1, -1, math.MaxInt64, math.MinInt64, int64(time.Millisecond), 256, 1 << 31}
	for i, v := range extremes {
		w := extremes[(i+3)%len(extremes)]
		f.Add(v, v, v, v, v, v, v, v, v, v, byte(i))
		f.Add(v, w, v, w, v, w, v, w, v, w, byte(i))
	}
	f.Fuzz(func(t *testing.T, broadcasts, registers, channelTimeout, drain, subscribers, wait, ping, size, messages, bytes int64, overflow byte) {
		h := wstest.Run(t, wskit.WithBroadcastBuf(int(broadcasts)), wskit.WithRegisterBuf(int(registers)), wskit.WithChannelTimeout(time.Duration(channelTimeout)),
			wskit.WithDrainTimeout(time.Duration(drain)), wskit.WithMaxSubscribers(int(subscribers)), nil, wskit.WithRedis(nil, "x"), wskit.WithName(""),
			wskit.WithLogger(nil), wskit.WithActorSystem(nil), wskit.WithOnDrop(nil), wskit.WithOnConnect(nil), wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))
		opts := []wskit.ClientOption{wskit.WithWriteWait(time.Duration(wait)), wskit.WithPingInterval(time.Duration(ping)), nil,
			wskit.WithMaxMessageSize(size), wskit.WithSendBufSize(int(messages)), wskit.WithSendBufBytes(int(bytes)), wskit.WithOverflow(wskit.Overflow(overflow))}
		own := &wstest.Probe{}
		longest := time.Duration(channelTimeout)
		if longest <= 0 {
			longest = wskit.DefaultChannelTimeout
		}
		longest = min(longest, wstest.Patience) + margin
		if d := wstest.Took(t, "the calls", func() {
			h.Register(own)
			h.Broadcast([]byte("x"))
		}); d > 2*longest {
			t.Errorf("they took %v", d)
		}
		p := wstest.Serve(t, h.Hub, wstest.Serving{Kind: wstest.Pipe, Client: opts})
		_, _ = wskit.Accept(t.Context(), httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil), h.Hub, nil, opts...)
		ctx, cancel := context.WithTimeout(context.Background(), wstest.Patience)
		defer cancel()
		conn, resp, err := websocket.Dial(ctx, "ws://pipe/ws", &websocket.DialOptions{HTTPClient: p.Client()})
		if err != nil && (resp == nil || resp.StatusCode != http.StatusServiceUnavailable) && channelTimeout >= int64(time.Second) {
			t.Fatal(err)
		}
		if err == nil {
			defer conn.CloseNow()
			go func() {
				for {
					if _, _, err := conn.Read(ctx); err != nil {
						return
					}
				}
			}()
		}
		select {
		case c := <-p.Accepted:
			fits := 0
			for i := range 300 {
				if c.Send([]byte(fmt.Sprint(i))) {
					fits++
				}
			}
			if fits == 0 && (bytes <= 0 || bytes > 3) && wait <= 0 && ping <= 0 {
				t.Error("nothing fits")
			}
			c.Close()
		default:
		}
		h.Unregister(own)
		start := time.Now()
		h.Stop()
		wstest.Receive(t, "Run returns", h.Done)
		if drain > 0 && time.Duration(drain) < wstest.Patience && time.Since(start) > time.Duration(drain)+margin {
			t.Errorf("the hub took %v to stop", time.Since(start))
		}
	})
}
