package wstest

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest/wire"
)

// Peer is a client's end of a connection that does what it is told and no more: no pong, no close frame, no reading ahead
// beyond 512 bytes. Its methods are for one goroutine, but reading and writing may go on side by side.
type Peer struct {
	net.Conn
	Answer *http.Response // to the request that it was opened with; its Body is not read
	In     *bufio.Reader  // what comes behind the answer's head
}

// Handshake is the request that a Peer is opened with. The zero Handshake is RFC 6455's example, for /ws.
type Handshake struct {
	Path   string            // "": /ws
	Header map[string]string // besides those of RFC 6455, or instead; "": left out
	Early  []byte            // sent right behind the request, in the same write

	RecvBuffer int // bytes of the socket's receive buffer, so that not reading is noticed early; 0: the system's
}

// Request is the bytes of the request.
func (h Handshake) Request(host string) []byte {
	path := h.Path
	if path == "" {
		path = "/ws"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n", path)
	for _, standard := range [...][2]string{{"Host", host}, {"Connection", "Upgrade"}, {"Upgrade", "websocket"},
		{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}} {
		if _, instead := h.Header[standard[0]]; !instead {
			fmt.Fprintf(&b, "%s: %s\r\n", standard[0], standard[1])
		}
	}
	for name, value := range h.Header {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	b.WriteString("\r\n")
	return append([]byte(b.String()), h.Early...)
}

// Peer opens a WebSocket at /ws, waits until Serve's handler has accepted it, and leaves all else to the test. early is sent
// right behind the request.
func (s *Server) Peer(t testing.TB, early ...byte) (*Peer, *wskit.Client) {
	t.Helper()
	p := s.Handshake(t, Handshake{Early: early})
	p.Upgraded(t)
	return p, Receive(t, "Accept returns", s.Accepted)
}

// Handshake asks for an upgrade and reads the answer's head, whatever that is.
func (s *Server) Handshake(t testing.TB, h Handshake) *Peer {
	t.Helper()
	conn := s.Conn(t)
	if h.RecvBuffer > 0 {
		if tcp := tcpOf(conn); tcp != nil {
			_ = tcp.SetReadBuffer(h.RecvBuffer)
		}
	}
	p, err := Ask(conn, h.Request(s.Host()))
	if err != nil {
		t.Fatal("no answer:", err)
	}
	return p
}

// Ask asks for path as curl does, over a connection of its own, and reads the answer's head.
func (s *Server) Ask(t testing.TB, method, path string) *Peer {
	t.Helper()
	p, err := Ask(s.Conn(t), fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", method, path, s.Host()))
	if err != nil {
		t.Fatal("no answer:", err)
	}
	return p
}

// Ask writes a request to conn and reads the answer's head. It is for whoever has no Server or no testing.TB.
func Ask(conn net.Conn, request []byte) (*Peer, error) {
	p := &Peer{Conn: conn, In: bufio.NewReaderSize(conn, 512)}
	if _, err := p.Write(request); err != nil {
		return p, err
	}
	var err error
	p.Answer, err = http.ReadResponse(p.In, nil)
	return p, err
}

// Read reads what comes behind the answer's head.
func (p *Peer) Read(b []byte) (int, error) { return p.In.Read(b) }

// Event reads the data of a stream's next event, which is one line and nothing else. Comments are passed over.
func (p *Peer) Event(t testing.TB) string {
	t.Helper()
	for {
		line, err := p.In.ReadString('\n')
		if err != nil {
			t.Fatalf("no event: %.80q, %v", line, err)
		}
		if strings.HasPrefix(line, ":") || line == "\n" {
			continue
		}
		data, isData := strings.CutPrefix(line, "data: ")
		if blank, err := p.In.ReadString('\n'); blank != "\n" || !isData {
			t.Fatalf("no event: %.80q %.80q, %v", line, blank, err)
		}
		return strings.TrimSuffix(data, "\n")
	}
}

// Upgraded fails unless the answer was 101.
func (p *Peer) Upgraded(t testing.TB) {
	t.Helper()
	if p.Answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal("upgrade:", p.Answer.Status)
	}
}

// Put writes bytes.
func (p *Peer) Put(t testing.TB, bytes []byte) {
	t.Helper()
	if _, err := p.Write(bytes); err != nil {
		t.Fatal("write:", err)
	}
}

// Send sends a whole frame, masked.
func (p *Peer) Send(t testing.TB, op Opcode, payload string) {
	t.Helper()
	p.Put(t, wire.Masked(op, payload))
}

// SendFrames sends frames, masked, in one write.
func (p *Peer) SendFrames(t testing.TB, frames ...Frame) {
	t.Helper()
	p.Put(t, wire.Masks(frames...))
}

// Say sends a text message.
func (p *Peer) Say(t testing.TB, data string) {
	t.Helper()
	p.Send(t, Text, data)
}

// Frame reads one frame and answers none.
func (p *Peer) Frame() (Frame, error) { return wire.Read(p.In) }

// ExpectFrame reads one frame and checks that it is this one, whole and with no reserved bit.
func (p *Peer) ExpectFrame(t testing.TB, op Opcode, payload string) {
	t.Helper()
	want := wire.Whole(op, payload)
	if f, err := p.Frame(); f != want || err != nil {
		t.Fatalf("read %v (%v), want %v", f, err, want)
	}
}

// Next reads frames up to one that is neither a ping nor a pong. If it answers, each ping gets its pong.
func (p *Peer) Next(answer bool) (Frame, error) {
	for {
		f, err := p.Frame()
		if err != nil || f.Op != Ping && f.Op != Pong {
			return f, err
		}
		if answer && f.Op == Ping {
			if _, err := p.Write(wire.Masked(Pong, f.Payload)); err != nil {
				return f, err
			}
		}
	}
}

// Expect reads these text messages, each a frame; pings in between are passed over.
func (p *Peer) Expect(t testing.TB, want ...string) {
	t.Helper()
	for i, w := range want {
		if f, err := p.Next(false); f != wire.Whole(Text, w) || err != nil {
			t.Fatalf("frame %d is %v (%v), want text of %d bytes %.80q", i, f, err, len(w), w)
		}
	}
}

// Ends reads the server's close frame, before which nothing but pings may come, and checks its code and reason.
func (p *Peer) Ends(t testing.TB, code int, reason string) {
	t.Helper()
	if f, err := p.Next(false); f != wire.CloseWith(code, reason) || err != nil {
		t.Fatalf("read %v (%v), want a close frame with %d %q", f, err, code, reason)
	}
}

// CloseCode reads up to the server's close frame, whatever comes before, and returns its code.
func (p *Peer) CloseCode() (int, error) {
	for {
		f, err := p.Next(false)
		if err != nil || f.Op == Close {
			return f.Code(), err
		}
	}
}

// TCP is the socket underneath, nil if there is none.
func (p *Peer) TCP() *net.TCPConn { return tcpOf(p.Conn) }

// Reset ends the connection with an RST.
func (p *Peer) Reset() {
	if tcp := p.TCP(); tcp != nil {
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
		return
	}
	_ = p.Close()
}

func tcpOf(conn net.Conn) *net.TCPConn {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		conn = t.NetConn()
	}
	tcp, _ := conn.(*net.TCPConn)
	return tcp
}
