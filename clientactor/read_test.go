package clientactor_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"github.com/wskit/wskit/internal/wstest/wire"
)

// masked is a frame as a client sends it: RFC 6455, section 5.2.
func masked(first byte, payload []byte) []byte {
	return wire.Frame{Fin: first&0x80 != 0, RSV: first & 0x70, Op: wire.Opcode(first & 0x0f), Payload: string(payload)}.Masked()
}

// withOpts is serve with options of the library's, each connection of which is read by a goroutine nobody watches over.
func withOpts(t *testing.T, opts *websocket.AcceptOptions, handle func(bool, []byte) error) (url string, conns <-chan *clientactor.Conn) {
	accepted := make(chan *clientactor.Conn, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := clientactor.Accept(w, r, opts, standard, goroutines, handle, nil)
		if err != nil {
			t.Error(err)
			return
		}
		spawn(c)
		go func() { _ = c.Serve() }()
		accepted <- c
	}))
	t.Cleanup(srv.Close)
	return srv.URL, accepted
}

func TestUserCodeThatFailsWhileReadingCostsItsConnectionAndThePeerIsToldSo(t *testing.T) {
	pong := func(context.Context, []byte) {}
	ping, hi := masked(0x89, nil), slices.Concat(masked(0x81, []byte("hi")), masked(0x81, []byte("yo"))) // at once
	for name, c := range map[string]struct {
		opts   websocket.AcceptOptions
		handle func(bool, []byte) error
		in     []byte
	}{
		"Goexit in the handler":                      {handle: func(bool, []byte) error { runtime.Goexit(); return nil }, in: hi},
		"panic in the handler":                       {handle: func(bool, []byte) error { panic("boom") }, in: hi},
		"Goexit in the handler, reading within":      {websocket.AcceptOptions{OnPongReceived: pong}, func(bool, []byte) error { runtime.Goexit(); return nil }, hi},
		"Goexit in OnPingReceived":                   {websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool { runtime.Goexit(); return true }}, nil, ping},
		"panic in OnPingReceived":                    {websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool { panic("boom") }}, nil, ping},
		"panic in OnPongReceived":                    {websocket.AcceptOptions{OnPongReceived: func(context.Context, []byte) { panic("boom") }}, nil, masked(0x8a, nil)},
		"panic in OnPingReceived with a close error": {websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool { panic(websocket.CloseError{Code: 1000}) }}, nil, ping},
		"panic in OnPingReceived, and more comes":    {websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool { panic("boom") }}, nil, slices.Concat(ping, hi, ping)},
	} {
		t.Run(name, func(t *testing.T) {
			url, conns := withOpts(t, &c.opts, c.handle)
			conn, r := dialRaw(t, url)
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := conn.Write(c.in); err != nil {
				t.Fatal(err)
			}
			want := []byte{0x88, 2 + byte(len(actors.ReasonCrashed.Text())), 0x03, 0xf3}
			if head, err := r.Peek(len(want)); !bytes.Equal(head, want) {
				t.Errorf("the peer is told %x, %v; want a close frame with 1011", head, err)
			}
			_, _ = conn.Write(masked(0x88, []byte{0x03, 0xf3})) // as a peer answers
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Errorf("the connection is not closed: %v", err)
			}
			closed := <-conns
			await(t, closed)
			if got := closed.Outbox().Reason(); got != actors.ReasonCrashed {
				t.Errorf("reason %v", got)
			}
		})
	}
}

func TestAPanicWhileABorrowedConnectionIsReadCostsThatConnection(t *testing.T) {
	conns := make(chan *clientactor.Conn, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{OnPingReceived: func(context.Context, []byte) bool { panic("boom") }})
		if err != nil {
			t.Error(err)
			return
		}
		c := clientactor.New(ws, standard, goroutines, nil)
		spawn(c)
		conns <- c
		_ = c.Serve()
	}))
	t.Cleanup(srv.Close)
	conn, r := dialRaw(t, srv.URL)
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Write(slices.Concat(masked(0x89, nil), masked(0x89, nil))); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, r)
	if _, err := conn.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is not closed")
	}
	c := <-conns
	await(t, c)
	if got := c.Outbox().Reason(); got != actors.ReasonCrashed {
		t.Errorf("reason %v", got)
	}
}

func TestAMessageThatThePeerDidNotFinishIsNotHandedOn(t *testing.T) {
	send := reading(t)
	for name, in := range map[string][]byte{
		"a fragment":              masked(0x01, []byte("f")),
		"a header":                masked(0x81, []byte("five5"))[:6],
		"half a payload":          masked(0x81, []byte("five5"))[:8],
		"a fragment and half one": slices.Concat(masked(0x01, []byte("f")), masked(0x80, []byte("five5"))[:6]),
		"a fragment and a ping":   slices.Concat(masked(0x01, []byte("f")), masked(0x89, nil)),
	} {
		if messages, _ := send(t, [][]byte{masked(0x81, []byte("whole")), in}); !slices.Equal(messages, []string{"whole"}) {
			t.Errorf("%s: messages %q", name, messages)
		}
	}
}

// A peer that is being written to and sends something too long, or closes, finds the answer behind the message.
func TestACloseFrameWaitsForTheMessageThatIsBeingWritten(t *testing.T) {
	for name, c := range map[string]struct {
		sends []byte
		code  websocket.StatusCode
	}{
		"too long": {masked(0x81, make([]byte, standard.MaxMessageSize+1)), websocket.StatusMessageTooBig},
		"closes":   {masked(0x88, []byte{0x03, 0xe8}), websocket.StatusNormalClosure},
	} {
		t.Run(name, func(t *testing.T) {
			url, conns := serve(t, standard, func(bool, []byte) error { return nil })
			conn, r := dialRaw(t, url)
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			closed := <-conns
			const size = 16 << 20 // more than the buffers in between hold
			if err := closed.Outbox().Send(actors.NewFrame(make([]byte, size))); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Peek(1); err != nil { // it is being written
				t.Fatal(err)
			}
			if _, err := conn.Write(c.sends); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			rest := answer[min(len(answer), 10+size):]
			if len(rest) < 4 || rest[0] != 0x88 || binary.BigEndian.Uint16(rest[2:]) != uint16(c.code) {
				t.Errorf("%d bytes, behind the message %.20x: no close frame with %d", len(answer), rest, c.code)
			}
			await(t, closed)
		})
	}
}

// The answer to a close frame is written by a goroutine of its own where there is no writing without waiting.
func TestAPeerThatClosesIsAnswered(t *testing.T) {
	for name, secure := range map[string]bool{"TCP": false, "TLS": true} {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c, err := clientactor.Accept(w, r, nil, standard, goroutines, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			spawn(c)
			_ = c.Serve()
		}))
		if secure {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		for range 20 {
			ws, _, err := websocket.Dial(t.Context(), srv.URL, &websocket.DialOptions{HTTPClient: srv.Client()})
			if err != nil {
				t.Fatal(err)
			}
			if err := ws.Close(websocket.StatusNormalClosure, "bye"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		srv.Close()
	}
}

// Messages of all sizes around those of buffers and headers, whole and in fragments with pings and pongs in between, in pieces
// of all sizes, some along with the request: each arrives whole and in order, and each ping is answered.
func TestWhateverTheSizesAndThePiecesEachMessageArrivesWhole(t *testing.T) {
	cfg := *standard
	cfg.MaxMessageSize = -1
	got := make(chan []byte, 1024)
	url, conns := serve(t, &cfg, func(_ bool, p []byte) error { got <- p; return nil })
	sizes := []int{0, 1, 8, 9, 10, 15, 16, 17, 125, 126, 127, 4080, 4088, 4089, 4090, 4092, 4095, 4096, 4097, 8192, 70_000}
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 0))
		payload := func(longest int) []byte {
			p := make([]byte, min(sizes[rng.IntN(len(sizes))], longest))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			return p
		}
		var stream, pongs []byte
		var want [][]byte
		heartbeats := func() {
			for rng.IntN(3) == 0 {
				p := payload(125)
				if rng.IntN(2) == 0 {
					stream = append(stream, masked(0x8a, p)...)
					continue
				}
				stream = append(stream, masked(0x89, p)...)
				pongs = append(pongs, actors.ControlFrame(0xa, p)...)
			}
		}
		for range 1 + rng.IntN(20) {
			var whole []byte
			for i, parts := 0, 1+rng.IntN(3); i < parts; i++ {
				heartbeats()
				first := byte(0)
				if i == 0 {
					first = 2 // the bytes are random
				}
				if i == parts-1 {
					first |= 0x80
				}
				p := payload(1 << 20)
				whole = append(whole, p...)
				stream = append(stream, masked(first, p)...)
			}
			want = append(want, whole)
		}
		bye := []byte{3, 232}
		stream = append(stream, masked(0x88, bye)...)
		early := rng.IntN(min(len(stream), 5000))
		conn, r := dialEarly(t, url, stream[:early])
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		go func() {
			for piece := range slices.Chunk(stream[early:], []int{13, 1000, 4096, 100_000}[seed%4]) {
				if _, err := conn.Write(piece); err != nil {
					return
				}
			}
		}()
		answer, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		await(t, <-conns)
		conn.Close()
		for i, w := range want {
			if p := <-got; !bytes.Equal(p, w) {
				t.Fatalf("seed %d: message %d has %d bytes, want %d", seed, i, len(p), len(w))
			}
		}
		if !bytes.Equal(answer, append(pongs, actors.ControlFrame(0x8, bye)...)) {
			t.Fatalf("seed %d: the answer of %d bytes is not the pongs and the close frame", seed, len(answer))
		}
		if len(got) > 0 {
			t.Fatalf("seed %d: %d messages more", seed, len(got))
		}
	}
}
