package contract_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// server is an HTTP server with the hub behind /ws, with its pumps, and /sse.
type server struct {
	*httptest.Server
	accepted chan *wskit.Client // every client that /ws accepted
	refused  chan error         // every error of Accept
	streamed chan error         // every result of AcceptSSE
}

type serving struct {
	ctx    func(*http.Request) context.Context // nil: the request's own
	accept *websocket.AcceptOptions
	client []wskit.ClientOption
	pumps  func(*wskit.Client)                            // nil: both
	wrap   func(http.ResponseWriter) http.ResponseWriter  // nil: as it is
	setup  func(*httptest.Server)                         // before it starts
	start  func(*httptest.Server)                         // nil: Start
	sse    func(http.ResponseWriter, *http.Request) error // nil: AcceptSSE
}

func serve(t testing.TB, hub *wskit.Hub, how serving) *server {
	t.Helper()
	s := &server{accepted: make(chan *wskit.Client, 1<<14), refused: make(chan error, 1<<14), streamed: make(chan error, 1<<14)}
	wrap := func(w http.ResponseWriter) http.ResponseWriter {
		if how.wrap != nil {
			return how.wrap(w)
		}
		return w
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if how.ctx != nil {
			ctx = how.ctx(r)
		}
		c, err := wskit.Accept(ctx, wrap(w), r, hub, how.accept, how.client...)
		if err != nil {
			s.refused <- err
			return
		}
		if how.pumps != nil {
			how.pumps(c)
		} else {
			go c.ReadPump()
			go c.WritePump()
		}
		s.accepted <- c
	})
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
		if how.sse != nil {
			s.streamed <- how.sse(wrap(w), r)
			return
		}
		s.streamed <- wskit.AcceptSSE(wrap(w), r, hub)
	})
	s.Server = httptest.NewUnstartedServer(mux)
	if how.setup != nil {
		how.setup(s.Server)
	}
	if how.start != nil {
		how.start(s.Server)
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func (s *server) host() string { return s.Listener.Addr().String() }

// peer is a browser's end of a WebSocket connection.
type peer struct{ *websocket.Conn }

// dial opens a WebSocket connection and waits for the handler to have accepted it.
func (s *server) dial(t testing.TB, opts ...func(*websocket.DialOptions)) (*peer, *wskit.Client) {
	t.Helper()
	p := s.open(t, opts...)
	return p, receive(t, "Accept returns", s.accepted)
}

func (s *server) open(t testing.TB, opts ...func(*websocket.DialOptions)) *peer {
	t.Helper()
	o := websocket.DialOptions{HTTPClient: s.Client()}
	for _, opt := range opts {
		opt(&o)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, s.URL+"/ws", &o)
	if err != nil {
		t.Fatal("dial:", err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &peer{conn}
}

func (p *peer) next() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	kind, data, err := p.Read(ctx)
	if err == nil && kind != websocket.MessageText {
		return "", fmt.Errorf("a message of type %v", kind)
	}
	return string(data), err
}

// expect reads these messages.
func (p *peer) expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		if got, err := p.next(); got != w || err != nil {
			t.Fatalf("message %d is %.80q (%v), want %.80q", i, got, err, w)
		}
	}
}

// ends reads the end of the connection and checks its code.
func (p *peer) ends(t testing.TB, code websocket.StatusCode) {
	t.Helper()
	got, err := p.next()
	if websocket.CloseStatus(err) != code {
		t.Fatalf("read %.80q, %v; want close code %d", got, err, code)
	}
}

func (p *peer) say(t testing.TB, data string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := p.Write(ctx, websocket.MessageText, []byte(data)); err != nil {
		t.Fatal("write:", err)
	}
}

// echo is a WithOnMessage that answers.
func echo(c *wskit.Client, data []byte) { c.Send(append([]byte("echo "), data...)) }

// raw is a WebSocket connection over bare TCP, for what a well-behaved client does not do.
type raw struct {
	net.Conn
	br *bufio.Reader
}

func (s *server) dialTCP(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.host())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

const upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// raw upgrades a bare connection; early is sent right behind the request.
func (s *server) raw(t testing.TB, early ...byte) (*raw, *wskit.Client) {
	t.Helper()
	conn := s.dialTCP(t)
	if s.TLS != nil {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	r := &raw{Conn: conn, br: bufio.NewReader(conn)}
	r.put(t, append([]byte(upgrade), early...))
	resp, err := http.ReadResponse(r.br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal("upgrade:", resp, err)
	}
	return r, receive(t, "Accept returns", s.accepted)
}

func (r *raw) put(t testing.TB, p []byte) {
	t.Helper()
	if _, err := r.Write(p); err != nil {
		t.Fatal(err)
	}
}

const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// masked is a frame as a client sends it, with a mask of zeros.
func masked(op byte, payload string) []byte {
	frame := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		frame = append(frame, 0x80|byte(n))
	case n <= 0xffff:
		frame = binary.BigEndian.AppendUint16(append(frame, 0x80|126), uint16(n))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, 0x80|127), uint64(n))
	}
	return append(append(frame, 0, 0, 0, 0), payload...)
}

// frame reads one frame.
func (r *raw) frame() (op byte, payload string, err error) {
	var head [2]byte
	if _, err = io.ReadFull(r.br, head[:]); err != nil {
		return
	}
	n := uint64(head[1] & 0x7f)
	switch {
	case head[0]&0x70 != 0 || head[0]&0x80 == 0 || head[1]&0x80 != 0:
		return 0, "", fmt.Errorf("a header of %x: reserved bits, a fragment, or masked", head)
	case n >= 126:
		ext := make([]byte, 2+6*(n-126))
		if _, err = io.ReadFull(r.br, ext); err != nil {
			return
		}
		n = binary.BigEndian.Uint64(append(make([]byte, 8-len(ext)), ext...))
	}
	if n > 1<<26 {
		return 0, "", errors.New("an absurd length")
	}
	p := make([]byte, n)
	_, err = io.ReadFull(r.br, p)
	return head[0] & 0x0f, string(p), err
}

// code is the close code in the payload of a close frame.
func code(payload string) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16([]byte(payload)))
}

// stream is an EventSource.
type stream struct {
	*http.Response
	events chan string // the data of each event; closed at the end of the stream
	end    context.CancelFunc
}

func (s *server) stream(t testing.TB) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/sse", nil)
	resp, err := s.Client().Do(req)
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	st := &stream{Response: resp, events: make(chan string, 1<<12), end: cancel}
	done := begin(func() { parseEvents(resp.Body, st.events); close(st.events) })
	t.Cleanup(func() {
		cancel()
		_ = resp.Body.Close()
		<-done
	})
	return st
}

func (st *stream) expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		if got := receive(t, fmt.Sprintf("event %d", i), st.events); got != w {
			t.Fatalf("event %d is %.80q, want %.80q", i, got, w)
		}
	}
}

// parseEvents reads a stream as WHATWG HTML, section 9.2.6, says an EventSource does. An event that is not a plain message,
// because it has a type or an id, is reported as such.
func parseEvents(r io.Reader, events chan<- string) {
	br := bufio.NewReader(r)
	if bom, _ := br.Peek(3); bytes.Equal(bom, []byte("\xef\xbb\xbf")) {
		_, _ = br.Discard(3)
	}
	var data strings.Builder
	var kind, id string
	var cr bool // the last line ended in CR: an LF that follows belongs to it
	var line []byte
	dispatch := func() {
		text, fields := data.String(), kind+id
		data.Reset()
		kind, id = "", ""
		if fields != "" {
			events <- "forged " + fields
		}
		if text != "" {
			events <- strings.TrimSuffix(text, "\n")
		}
	}
	process := func(line string) {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			dispatch()
		case name == "data":
			data.WriteString(value + "\n")
		case name == "event":
			kind = "event:" + value
		case name == "id":
			id = "id:" + value
		case name == "retry":
			events <- "forged retry"
		}
	}
	for {
		b, err := br.ReadByte()
		if err != nil {
			return // an event without its blank line is not dispatched
		}
		switch {
		case b == '\n' && cr:
			cr = false
		case b == '\n' || b == '\r':
			process(string(line))
			line, cr = line[:0], b == '\r'
		default:
			line, cr = append(line, b), false
		}
	}
}
