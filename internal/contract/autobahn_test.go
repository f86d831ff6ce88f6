package contract_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// conformance is one case of the Autobahn test suite's sections: what a client sends, and what it must get.
type conformance struct {
	name string
	send []wstest.Frame
	raw  []byte         // instead of send
	want []wstest.Frame // before the close frame; of messages only the payload counts, for an echo is text where it can be
	code int            // of the close frame; 0: the client sends one with 1000 itself, and gets it back
	chop int            // bytes that are written at a time; 0: all
	open bool           // what was sent does not end a message: the client waits for the close frame all the same
}

// The cases of sections 1 to 7, 9 (smaller) and 10. Section 8 has none; 12 and 13, compression, have a test of their own.
func conformances() (all []conformance) {
	add := func(c conformance) { all = append(all, c) }
	text := func(s string) wstest.Frame { return wstest.Whole(wstest.Text, s) }
	bin := func(s string) wstest.Frame { return wstest.Whole(wstest.Binary, s) }
	ping := func(s string) wstest.Frame { return wstest.Whole(wstest.Ping, s) }
	pong := func(s string) wstest.Frame { return wstest.Whole(wstest.Pong, s) }
	frames := func(f ...wstest.Frame) []wstest.Frame { return f }
	with := func(f wstest.Frame, change func(*wstest.Frame)) wstest.Frame { change(&f); return f }
	rsv := func(bits byte, f wstest.Frame) wstest.Frame {
		return with(f, func(f *wstest.Frame) { f.RSV = bits << 4 })
	}
	unfinished := func(f wstest.Frame) wstest.Frame { return with(f, func(f *wstest.Frame) { f.Fin = false }) }
	continued := func(fin bool, s string) wstest.Frame {
		return wstest.Frame{Fin: fin, Op: wstest.Continuation, Payload: s}
	}
	const hello, greek = "Hello, world!", "κόσμε"

	for i, n := range []int{0, 125, 126, 127, 128, 65535, 65536, 65536} {
		chop := 0
		if i == 7 {
			chop = 997
		}
		star, fe := text(strings.Repeat("*", n)), bin(strings.Repeat("\xfe", n))
		add(conformance{name: fmt.Sprintf("1.1.%d", i+1), send: frames(star), want: frames(star), chop: chop})
		add(conformance{name: fmt.Sprintf("1.2.%d", i+1), send: frames(fe), want: frames(fe), chop: chop})
	}

	odd, long := "\x00\xff\xfe\xfd\xfc\xfb\x00\xff", strings.Repeat("\xfe", 125)
	var ten, tenBack []wstest.Frame
	for i := range 10 {
		ten, tenBack = append(ten, ping(fmt.Sprint("payload-", i))), append(tenBack, pong(fmt.Sprint("payload-", i)))
	}
	for name, c := range map[string]conformance{
		"2.1":  {send: frames(ping("")), want: frames(pong(""))},
		"2.2":  {send: frames(ping(hello)), want: frames(pong(hello))},
		"2.3":  {send: frames(ping(odd)), want: frames(pong(odd))},
		"2.4":  {send: frames(ping(long)), want: frames(pong(long))},
		"2.5":  {send: frames(ping(long + "\xfe")), code: 1002},
		"2.6":  {send: frames(ping(long)), want: frames(pong(long)), chop: 1},
		"2.7":  {send: frames(pong(""))},
		"2.8":  {send: frames(pong("unsolicited pong payload"))},
		"2.9":  {send: frames(pong("unsolicited"), ping("ping payload")), want: frames(pong("ping payload"))},
		"2.10": {send: ten, want: tenBack},
		"2.11": {send: ten, want: tenBack, chop: 1},

		"3.1": {send: frames(rsv(4, text(hello))), code: 1002},
		"3.2": {send: frames(text(hello), rsv(2, text(hello)), ping("")), want: frames(text(hello)), code: 1002},
		"3.3": {send: frames(text(hello), rsv(3, text(hello)), ping("")), want: frames(text(hello)), code: 1002, chop: 20},
		"3.4": {send: frames(text(hello), rsv(6, text(hello)), ping("")), want: frames(text(hello)), code: 1002, chop: 1},
		"3.5": {send: frames(rsv(5, bin(odd))), code: 1002},
		"3.6": {send: frames(rsv(6, ping(hello))), code: 1002},
		"3.7": {send: frames(rsv(7, wstest.CloseWith(1000, ""))), code: 1002},

		"5.1":  {send: frames(unfinished(ping("fragment1")), continued(true, "fragment2")), code: 1002},
		"5.2":  {send: frames(unfinished(pong("fragment1")), continued(true, "fragment2")), code: 1002},
		"5.3":  {send: wstest.Fragments(wstest.Text, "fragment1", "fragment2"), want: frames(text("fragment1fragment2"))},
		"5.4":  {send: wstest.Fragments(wstest.Text, "fragment1", "fragment2"), want: frames(text("fragment1fragment2")), chop: 15},
		"5.5":  {send: wstest.Fragments(wstest.Text, "fragment1", "fragment2"), want: frames(text("fragment1fragment2")), chop: 1},
		"5.9":  {send: frames(continued(true, "non-continuation payload"), text(hello)), code: 1002},
		"5.10": {send: frames(continued(true, "non-continuation payload"), text(hello)), code: 1002, chop: 30},
		"5.11": {send: frames(continued(true, "non-continuation payload"), text(hello)), code: 1002, chop: 1},
		"5.12": {send: frames(continued(false, "non-continuation payload"), text(hello)), code: 1002},
		"5.13": {send: frames(continued(false, "non-continuation payload"), text(hello)), code: 1002, chop: 30},
		"5.14": {send: frames(continued(false, "non-continuation payload"), text(hello)), code: 1002, chop: 1},
		"5.15": {send: append(wstest.Fragments(wstest.Text, "fragment1", "fragment2"), continued(false, "fragment3"), text("fragment4")),
			want: frames(text("fragment1fragment2")), code: 1002},
		"5.16": {send: frames(continued(false, "fragment1"), unfinished(text("fragment2")), continued(true, "fragment3")), code: 1002},
		"5.17": {send: frames(continued(true, "fragment1"), unfinished(text("fragment2")), continued(true, "fragment3")), code: 1002},
		"5.18": {send: frames(unfinished(text("fragment1")), text("fragment2")), code: 1002},
	} {
		c.name = name
		add(c)
	}
	for i, chop := range []int{0, 20, 1} { // 5.6 to 5.8
		add(conformance{name: fmt.Sprintf("5.%d", 6+i), send: frames(unfinished(text("fragment1")), ping("ping"), continued(true, "fragment2")),
			want: frames(pong("ping"), text("fragment1fragment2")), chop: chop})
	}
	for i, chop := range []int{0, 24} { // 5.19, 5.20
		add(conformance{name: fmt.Sprintf("5.%d", 19+i), chop: chop, send: frames(unfinished(text("fragment1")), continued(false, "fragment2"), ping("pongme 1!"),
			continued(false, "fragment3"), ping("pongme 2!"), continued(false, "fragment4"), continued(true, "fragment5")),
			want: frames(pong("pongme 1!"), pong("pongme 2!"), text("fragment1fragment2fragment3fragment4fragment5"))})
	}
	add(conformance{name: "without a mask", raw: []byte{0x81, 0x02, 'h', 'i'}, code: 1002})
	for i, op := range []wstest.Opcode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		c := conformance{name: fmt.Sprintf("4.%d.%d", 1+i/5, 1+i%5), code: 1002, send: frames(wstest.Whole(op, ""))}
		if i%5 > 1 {
			c.send, c.want = frames(text(hello), wstest.Whole(op, strings.Repeat(hello, i&1)), ping("")), frames(text(hello))
		}
		add(c)
	}

	add(conformance{name: "6.1.1", send: frames(text("")), want: frames(text(""))})
	add(conformance{name: "6.1.2", send: wstest.Fragments(wstest.Text, "", "", ""), want: frames(text(""))})
	add(conformance{name: "6.1.3", send: wstest.Fragments(wstest.Text, "", "middle frame payload", ""), want: frames(text("middle frame payload"))})
	mixed := "Hello-µ@ßöäüàá-UTF-8!!"
	add(conformance{name: "6.2.2", send: wstest.Fragments(wstest.Text, mixed[:11], mixed[11:]), want: frames(text(mixed))})
	for i, s := range []string{mixed, greek} {
		add(conformance{name: fmt.Sprintf("6.2.%d", 1+2*i), send: frames(text(s)), want: frames(text(s))})
		add(conformance{name: fmt.Sprintf("6.2.%d by octets", 3+i), send: bytewise(s), want: frames(text(s))})
	}
	edited := greek + "\xed\xa0\x80edited"
	add(conformance{name: "6.3.1", send: frames(text(edited)), code: 1007})
	add(conformance{name: "6.3.2", send: bytewise(edited), code: 1007})
	add(conformance{name: "6.4.1", send: frames(unfinished(text(greek)), continued(false, "\xf4\x90\x80\x80")), code: 1007, open: true})
	add(conformance{name: "6.4.2", send: frames(unfinished(text(greek+"\xf4")), continued(false, "\x90")), code: 1007, open: true})
	for i, n := range []int{len(greek) + 4, len(greek) + 2} { // one frame, and its rest is never sent
		whole := text(greek + "\xf4\x90\x80\x80edited").Masked()
		add(conformance{name: fmt.Sprintf("6.4.%d", 3+i), raw: whole[:6+n], code: 1007, open: true})
	}
	for group, list := range map[string][]string{
		"6.5":  {"\u00b5\u00df", "\ufeffbom", "\x00"},
		"6.6":  prefixes(greek),
		"6.7":  {"\x00", "\u0080", "\u0800", "\U00010000"},
		"6.8":  {"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80"},
		"6.9":  {"\x7f", "\u07ff", "\uffff", "\U0010ffff"},
		"6.10": {"\xf7\xbf\xbf\xbf", "\xfb\xbf\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		"6.11": {"\ud7ff", "\ue000", "\ufffd", "\U0010ffff", "\xf4\x90\x80\x80"},
		"6.12": {"\x80", "\xbf", "\x80\xbf", "\x80\xbf\x80", "\x80\xbf\x80\xbf", "\x80\xbf\x80\xbf\x80", "\x80\xbf\x80\xbf\x80\xbf", allOf(0x80, 0xbf, "")},
		"6.13": {allOf(0xc0, 0xdf, " "), allOf(0xe0, 0xef, " "), allOf(0xf0, 0xf7, " "), allOf(0xf8, 0xfb, " "), allOf(0xfc, 0xfd, " ")},
		"6.14": {"\xc0", "\xe0\x80", "\xf0\x80\x80", "\xf8\x80\x80\x80", "\xfc\x80\x80\x80\x80", "\xdf", "\xef\xbf", "\xf7\xbf\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf"},
		"6.15": {"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xfc\x80\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf\xfb\xbf\xbf\xbf\xfd\xbf\xbf\xbf\xbf"},
		"6.16": {"\xfe", "\xff", "\xfe\xfe\xff\xff"},
		"6.17": {"\xc0\xaf", "\xe0\x80\xaf", "\xf0\x80\x80\xaf", "\xf8\x80\x80\x80\xaf", "\xfc\x80\x80\x80\x80\xaf"},
		"6.18": {"\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x87\xbf\xbf\xbf", "\xfc\x83\xbf\xbf\xbf\xbf"},
		"6.19": {"\xc0\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xf8\x80\x80\x80\x80", "\xfc\x80\x80\x80\x80\x80"},
		"6.20": {"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf", "\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"},
		"6.21": {"\xed\xa0\x80\xed\xb0\x80", "\xed\xa0\x80\xed\xbf\xbf", "\xed\xad\xbf\xed\xb0\x80", "\xed\xad\xbf\xed\xbf\xbf", "\xed\xae\x80\xed\xb0\x80",
			"\xed\xae\x80\xed\xbf\xbf", "\xed\xaf\xbf\xed\xb0\x80", "\xed\xaf\xbf\xed\xbf\xbf"},
		"6.22": nonCharacters(),
		"6.23": {"\ufff9", "\ufffa", "\ufffb", "\ufffc", "\ufffd", "\ufffe", "\uffff"},
	} {
		for i, s := range list {
			c := conformance{name: fmt.Sprintf("%s.%d", group, i+1), send: frames(text(s)), want: frames(text(s))}
			if !utf8.ValidString(s) {
				c.want, c.code = nil, 1007
			}
			add(c)
		}
	}

	bye := wstest.CloseWith(1000, "")
	big := strings.Repeat("B", 256<<10)
	reason := strings.Repeat("*", 123)
	for name, c := range map[string]conformance{
		"7.1.1": {send: frames(text(hello)), want: frames(text(hello))},
		"7.1.2": {send: frames(bye, bye), code: 1000},
		"7.1.3": {send: frames(bye, ping("")), code: 1000},
		"7.1.4": {send: frames(bye, text(hello)), code: 1000},
		"7.1.5": {send: frames(unfinished(text("fragment1")), bye, continued(true, "fragment2")), code: 1000},
		"7.1.6": {send: frames(text(big), text(hello), bye, ping("")), want: frames(text(big), text(hello)), code: 1000},
		"7.3.1": {send: frames(wstest.Whole(wstest.Close, "")), code: wstest.NoCode},
		"7.3.2": {send: frames(wstest.Whole(wstest.Close, "a")), code: 1002},
		"7.3.3": {send: frames(bye), code: 1000},
		"7.3.4": {send: frames(wstest.CloseWith(1000, hello)), code: 1000},
		"7.3.5": {send: frames(wstest.CloseWith(1000, reason)), code: 1000},
		"7.3.6": {send: frames(wstest.CloseWith(1000, reason+"*")), code: 1002},
		"7.5.1": {send: frames(wstest.CloseWith(1000, edited)), code: 1002},
	} {
		c.name = name
		add(c)
	}
	for i, code := range []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999} {
		add(conformance{name: fmt.Sprintf("7.7.%d", i+1), send: frames(wstest.CloseWith(code, "")), code: code})
	}
	for i, code := range []int{0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535} { // the last two are 7.13
		add(conformance{name: fmt.Sprintf("7.9.%d", i+1), send: frames(wstest.CloseWith(code, "")), code: 1002})
	}

	for i, n := range []int{64 << 10, 256 << 10, 1 << 20} {
		s, b := strings.Repeat("BAsd7&jh23", n/10), strings.Repeat("\xfe\x00\x7f", n/3)
		add(conformance{name: fmt.Sprintf("9.1.%d", i+1), send: frames(text(s)), want: frames(text(s))})
		add(conformance{name: fmt.Sprintf("9.2.%d", i+1), send: frames(bin(b)), want: frames(bin(b))})
		add(conformance{name: fmt.Sprintf("9.3.%d", i+1), send: split(wstest.Text, s, 64<<(2*i)), want: frames(text(s))})
		add(conformance{name: fmt.Sprintf("9.4.%d", i+1), send: split(wstest.Binary, b, 64<<(2*i)), want: frames(bin(b))})
		add(conformance{name: fmt.Sprintf("9.5.%d", i+1), send: frames(text(s)), want: frames(text(s)), chop: 1024 << i})
		add(conformance{name: fmt.Sprintf("9.6.%d", i+1), send: frames(bin(b)), want: frames(bin(b)), chop: 1024 << i})
	}
	for i, n := range []int{0, 16, 64, 256, 1024, 4096} {
		var many []wstest.Frame
		for range 100 {
			many = append(many, text(strings.Repeat("*", n)))
		}
		add(conformance{name: fmt.Sprintf("9.7.%d", i+1), send: many, want: many})
	}
	add(conformance{name: "10.1.1", send: split(wstest.Text, strings.Repeat("*", 65536), 1300), want: frames(text(strings.Repeat("*", 65536)))})
	return all
}

// bytewise is a text of which each byte is a fragment.
func bytewise(s string) []wstest.Frame { return split(wstest.Text, s, 1) }

func split(op wstest.Opcode, s string, size int) []wstest.Frame {
	var parts []string
	for part := range slices.Chunk([]byte(s), size) {
		parts = append(parts, string(part))
	}
	return wstest.Fragments(op, parts...)
}

func prefixes(s string) (all []string) {
	for n := range len(s) {
		all = append(all, s[:n+1])
	}
	return all
}

func allOf(first, last byte, behind string) string {
	var b strings.Builder
	for c := int(first); c <= int(last); c++ {
		b.WriteByte(byte(c))
		b.WriteString(behind)
	}
	return b.String()
}

func nonCharacters() (all []string) {
	for plane := range rune(17) {
		all = append(all, string(plane<<16|0xfffe), string(plane<<16|0xffff))
	}
	return all
}

// squeezer compresses messages as a client does, and decompresses what it gets.
type squeezer struct {
	out bytes.Buffer
	w   *flate.Writer
}

const emptyBlock = "\x00\x00\xff\xff"

func newSqueezer() *squeezer {
	s := &squeezer{}
	s.w, _ = flate.NewWriter(&s.out, flate.DefaultCompression)
	return s
}

func (s *squeezer) squeeze(payload string, takeover bool) string {
	s.out.Reset()
	if !takeover {
		s.w.Reset(&s.out)
	}
	_, _ = io.WriteString(s.w, payload)
	_ = s.w.Flush()
	return strings.TrimSuffix(s.out.String(), emptyBlock)
}

// plain is a server's frame as it was before it was compressed.
func plain(f wstest.Frame) (wstest.Frame, error) {
	if f.RSV != wstest.RSV1 {
		return f, nil
	}
	p, err := io.ReadAll(flate.NewReader(strings.NewReader(f.Payload + emptyBlock + "\x01" + emptyBlock)))
	f.RSV, f.Payload = 0, string(p)
	return f, err
}

// roads is each way on which the cases are to be met.
func roads(t *testing.T, test func(t *testing.T, srv *wstest.Server, deflate bool)) {
	for _, kind := range []wstest.Kind{wstest.TCP, wstest.TLS} {
		for _, deflate := range []bool{false, true} {
			for _, serve := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, compressed %v, ServeWS %v", kind.Name, deflate, serve), func(t *testing.T) {
					hub := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
						if !c.Send(data) {
							t.Error("the echo is dropped")
						}
					}))
					how := wstest.Serving{Kind: kind, Block: serve, Client: []wskit.ClientOption{wskit.WithMaxMessageSize(-1), wskit.WithSendBufSize(1000)}}
					if deflate {
						how.Accept = &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover, CompressionThreshold: 1}
					}
					test(t, wstest.Serve(t, hub.Hub, how), deflate)
					hub.Count(t, 0)
				})
			}
		}
	}
}

func connect(t *testing.T, srv *wstest.Server, deflate bool, params string) *wstest.Peer {
	t.Helper()
	h := wstest.Handshake{}
	if deflate {
		h.Header = map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate" + params}
	}
	p := srv.Handshake(t, h)
	p.Upgraded(t)
	if got := p.Answer.Header.Get("Sec-WebSocket-Extensions"); deflate != (got != "") {
		t.Fatalf("agreed on %q", got)
	}
	return p
}

// Each case of the Autobahn test suite that concerns a server, with the outcomes that it calls OK; section 6 fails fast.
func TestTheCasesOfAutobahn(t *testing.T) {
	cases := conformances()
	roads(t, func(t *testing.T, srv *wstest.Server, deflate bool) {
		for _, c := range cases {
			if deflate && c.name == "3.1" {
				continue // the bit means something
			}
			p := connect(t, srv, deflate, "")
			stream := c.raw
			squeeze := newSqueezer()
			for _, f := range c.send {
				if deflate && f.Fin && f.RSV == 0 && (f.Op == wstest.Text || f.Op == wstest.Binary) {
					f.RSV, f.Payload = wstest.RSV1, squeeze.squeeze(f.Payload, true)
				}
				stream = append(stream, f.Masked()...)
			}
			want := c.code
			if want == 0 {
				want = 1000
				stream = append(stream, wstest.CloseWith(1000, "").Masked()...)
			}
			chop := c.chop
			if chop == 0 {
				chop = len(stream)
			}
			writing := wstest.Begin(func() {
				for piece := range slices.Chunk(stream, chop) {
					if _, err := p.Write(piece); err != nil {
						return // it has seen enough
					}
				}
			})
			for _, w := range c.want {
				f, err := p.Frame()
				if err == nil {
					f, err = plain(f)
				}
				if w.Op == wstest.Binary && utf8.ValidString(w.Payload) {
					w.Op = wstest.Text
				}
				if f != w || err != nil {
					t.Errorf("%s: %v, %v; want %v", c.name, f, err, w)
				}
			}
			f, err := p.Frame()
			if !f.Is(wstest.Close) || f.Code() != want || err != nil {
				t.Errorf("%s: %v, %v; want a close frame with %d", c.name, f, err, want)
			}
			if f, err := p.Frame(); err != io.EOF {
				t.Errorf("%s: after the close frame %v, %v", c.name, f, err)
			}
			_ = p.Close()
			wstest.Receive(t, "all is written", writing)
		}
	})
}

// Sections 12 and 13, as far as a server without window bits goes: messages of all sizes, with the window and without, in one
// frame and in many, with pings in between.
func TestTheCasesOfAutobahnForCompression(t *testing.T) {
	roads(t, func(t *testing.T, srv *wstest.Server, deflate bool) {
		if !deflate {
			return
		}
		for _, takeover := range []bool{true, false} {
			params := "; client_max_window_bits"
			if !takeover {
				params += "; client_no_context_takeover"
			}
			for _, size := range []int{16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072} {
				for _, part := range []int{0, 256, 4096} {
					p := connect(t, srv, true, params)
					squeeze := newSqueezer()
					for i := range 10 {
						payload := strings.Repeat(fmt.Sprintf(`{"n":%d,"text":"grüße"},`, i), size/24+1)
						if i%3 == 2 {
							payload += "\xff" // binary
						}
						kind := wstest.Text
						if !utf8.ValidString(payload) {
							kind = wstest.Binary
						}
						squeezed := squeeze.squeeze(payload, takeover)
						size := len(squeezed)
						if part > 0 {
							size = part
						}
						parts := split(kind, squeezed, size)
						parts[0].RSV = wstest.RSV1
						stream := parts[0].Masked()
						for _, f := range parts[1:] {
							stream = append(append(stream, wstest.Masked(wstest.Ping, "")...), f.Masked()...)
						}
						p.Put(t, stream)
						f, err := p.Frame()
						for f.Op == wstest.Pong {
							f, err = p.Frame()
						}
						if err == nil {
							f, err = plain(f)
						}
						if f != wstest.Whole(kind, payload) || err != nil {
							t.Fatalf("takeover %v, %d bytes in parts of %d, message %d: %v, %v", takeover, size, part, i, f, err)
						}
					}
					p.Put(t, wstest.CloseWith(1000, "").Masked())
					if f, err := p.Frame(); !f.Is(wstest.Close) || f.Code() != 1000 {
						t.Fatal(f, err)
					}
					_ = p.Close()
				}
			}
		}
	})
}
