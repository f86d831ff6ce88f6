package attack_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// server serves a hub's /ws, with pumps, and /sse.
type server struct {
	*httptest.Server
	accepted chan *wskit.Client
	refused  chan error
	streamed chan error
}

// tiny makes sockets take little, so that a peer that does not read is noticed at once.
const tiny = 64 << 10

func serve(t testing.TB, h *wskit.Hub, opts ...wskit.ClientOption) *server {
	return servePumps(t, h, func(c *wskit.Client) { go c.ReadPump(); go c.WritePump() }, opts...)
}

func servePumps(t testing.TB, h *wskit.Hub, pumps func(*wskit.Client), opts ...wskit.ClientOption) *server {
	t.Helper()
	s := &server{accepted: make(chan *wskit.Client, 1<<14), refused: make(chan error, 1<<14), streamed: make(chan error, 1<<14)}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		c, err := wskit.Accept(r.Context(), w, r, h, nil, opts...)
		if err != nil {
			s.refused <- err
			return
		}
		pumps(c)
		s.accepted <- c
	})
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) { s.streamed <- wskit.AcceptSSE(w, r, h) })
	s.Server = httptest.NewUnstartedServer(mux)
	s.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if tcp, ok := c.(*net.TCPConn); ok && state == http.StateNew {
			_ = tcp.SetWriteBuffer(tiny)
		}
	}
	s.Start()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

// dial opens a connection that a well-behaved client has.
func (s *server) dial(t testing.TB) (*peer, *wskit.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.URL+"/ws", &websocket.DialOptions{HTTPClient: s.Client()})
	if err != nil {
		t.Fatal("dial:", err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &peer{conn}, receive(t, "Accept returns", s.accepted)
}

type peer struct{ *websocket.Conn }

func (p *peer) next() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, data, err := p.Read(ctx)
	return string(data), err
}

func (p *peer) expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		if got, err := p.next(); got != w || err != nil {
			t.Fatalf("message %d is %.80q (%v), want %.80q", i, got, err, w)
		}
	}
}

// listen reads on to the end of the test, so that pings and close frames are answered.
func (p *peer) listen(t testing.TB) *peer {
	done := begin(func() {
		for {
			if _, _, err := p.Read(context.Background()); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { _ = p.CloseNow(); <-done })
	return p
}

func (p *peer) ends(t testing.TB, code websocket.StatusCode) {
	t.Helper()
	if got, err := p.next(); websocket.CloseStatus(err) != code {
		t.Fatalf("read %.80q, %v; want close code %d", got, err, code)
	}
}

// raw is a connection over bare TCP: it does what it is told and no more.
type raw struct {
	net.Conn
	br *bufio.Reader
}

const request = "GET /%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// raw asks for path, "ws" or "sse", and returns what was answered.
func (s *server) raw(t testing.TB, path string) (*raw, *http.Response) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.(*net.TCPConn).SetReadBuffer(tiny)
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	r := &raw{conn, bufio.NewReaderSize(conn, 512)}
	if _, err := fmt.Fprintf(r, request, path); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(r.br, nil)
	if err != nil {
		t.Fatal("no answer:", err)
	}
	return r, resp
}

func (s *server) silent(t testing.TB) (*raw, *wskit.Client) {
	t.Helper()
	r, resp := s.raw(t, "ws")
	if resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal("upgrade:", resp.Status)
	}
	return r, receive(t, "Accept returns", s.accepted)
}

const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// put sends one masked frame.
func (r *raw) put(t testing.TB, op byte, payload []byte) {
	t.Helper()
	frame := append([]byte{0x80 | op, 0x80 | byte(len(payload)), 0, 0, 0, 0}, payload...)
	if _, err := r.Write(frame); err != nil {
		t.Fatal(err)
	}
}

// frame reads one frame; the payload of a close frame is returned as "code text".
func (r *raw) frame() (op byte, payload string, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r.br, head[:]); err != nil {
		return
	}
	n := uint64(head[1])
	if head[0]&0xf0 != 0x80 || n > 127 {
		return 0, "", fmt.Errorf("header %x", head)
	}
	if n >= 126 {
		ext := make([]byte, 2+6*(n-126))
		if _, err = io.ReadFull(r.br, ext); err != nil {
			return
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-len(ext)), ext...))
	}
	p := make([]byte, min(n, 1<<26))
	_, err = io.ReadFull(r.br, p)
	if op = head[0] & 0x0f; op == opClose && n >= 2 {
		return op, fmt.Sprint(binary.BigEndian.Uint16(p), " ", string(p[2:])), err
	}
	return op, string(p), err
}

// expect reads these messages; pings in between are passed over.
func (r *raw) expect(t testing.TB, want ...string) {
	t.Helper()
	for i := 0; i < len(want); {
		op, got, err := r.frame()
		switch {
		case op == opPing && err == nil:
		case op != opText || got != want[i] || err != nil:
			t.Fatalf("frame %d is %x %.80q (%v), want %.80q", i, op, got, err, want[i])
		default:
			i++
		}
	}
}

func (r *raw) ends(t testing.TB, want string) {
	t.Helper()
	if op, got, err := r.frame(); op != opClose || got != want || err != nil {
		t.Fatalf("%x %.80q (%v), want a close frame with %q", op, got, err, want)
	}
}

// stuff hands a message to a client whose peer does not read, so that its socket is full and what is sent from now on
// waits in its queue.
func stuff(t testing.TB, c *wskit.Client, text string) {
	t.Helper()
	if err := c.SendErr([]byte(text)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the message is at the socket", c.Outbox().Drained)
}

// events reads an event stream and returns the data of each event when it has ended: an EventSource as WHATWG HTML 9.2.6
// describes it, for what this module sends. What is no plain message is returned as "forged".
func events(r io.Reader) (all []string) {
	text, _ := io.ReadAll(r)
	lines := strings.Split(strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(strings.TrimPrefix(string(text), "\ufeff")), "\n")
	var data []string
	for _, line := range lines[:len(lines)-1] {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "" && data != nil:
			all, data = append(all, strings.Join(data, "\n")), nil
		case line == "", line == ":": // the comment that keeps a stream alive
		case name == "data":
			data = append(data, strings.TrimPrefix(value, " "))
		default:
			all = append(all, "forged "+line)
		}
	}
	return slices.Clip(all)
}
