package clientactor

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/coder/websocket"
	wiretest "github.com/wskit/wskit/internal/wstest/wire"
)

// outcome is what became of a stream of bytes that a client sent.
type outcome struct {
	messages []string // each with its type
	pongs    []string
	close    []byte // the payload of the close frame that was answered; nil: none was
	err      error
	crashed  bool
}

// agreement is what client and server have agreed to.
type agreement struct {
	deflate, takeover bool
	limit             int64
}

// script is a net.Conn of which a client's bytes are read, and then errEnd, and which keeps what is written to it.
type script struct {
	net.Conn
	in  bytes.Reader
	out bytes.Buffer
}

// errEnd is no io.EOF: the library takes that for the end of a message.
var errEnd = errors.New("the stream has ended")

func (s *script) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if err != nil {
		err = errEnd
	}
	return n, err
}

func (s *script) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

type scripted struct {
	*httptest.ResponseRecorder
	conn *script
}

func (s scripted) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return s.conn, bufio.NewReadWriter(bufio.NewReader(s.conn), bufio.NewWriter(s.conn)), nil
}

// theirs is what the WebSocket library makes of a stream.
func theirs(t testing.TB, stream []byte, a agreement) (o outcome) {
	r := httptest.NewRequest("GET", "/", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
		"Sec-WebSocket-Extensions": "permessage-deflate",
	} {
		r.Header.Set(k, v)
	}
	opts := &websocket.AcceptOptions{}
	if a.deflate {
		opts.CompressionMode = websocket.CompressionNoContextTakeover
		if a.takeover {
			opts.CompressionMode = websocket.CompressionContextTakeover
		}
	}
	conn := &script{}
	conn.in.Reset(stream)
	ws, err := websocket.Accept(scripted{httptest.NewRecorder(), conn}, r, opts)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(a.limit)
	conn.out.Reset()
	func() {
		defer func() {
			if v := recover(); v != nil {
				o.crashed, o.err = true, fmt.Errorf("%v", v)
			}
		}()
		for o.err == nil {
			kind, r, err := ws.Reader(context.Background())
			if err != nil {
				o.err = err
				return
			}
			p, err := io.ReadAll(r)
			if err != nil {
				o.err = err
				return
			}
			o.messages = append(o.messages, fmt.Sprint(int(kind), ":", string(p)))
		}
	}()
	if !o.crashed {
		_ = ws.CloseNow()
	}
	for out := bufio.NewReader(&conn.out); ; {
		f, err := wiretest.Read(out)
		if err != nil {
			return o
		}
		switch f.Op {
		case wiretest.Pong:
			o.pongs = append(o.pongs, f.Payload)
		case wiretest.Close:
			if o.close == nil {
				o.close = []byte(f.Payload)
			}
		}
	}
}

// ours is what the decoder makes of a stream that comes in pieces, each as large as piece says; direct has some of it come the
// way that large messages take.
func ours(t testing.TB, stream []byte, a agreement, piece func(most int) int, direct bool) (o outcome) {
	d := &decoder{limit: a.limit, deflate: a.deflate}
	if a.takeover {
		d.window = new(window)
	}
	came := 0
	handle := func(u unit) {
		switch u.opcode {
		case opPing:
			o.pongs = append(o.pongs, string(u.payload))
		case opPong:
		case opClose:
			peers, err := parseClose(u.payload)
			if o.err = err; err == nil {
				o.err = peers
			}
		default:
			if a.limit >= 0 && int64(len(u.payload)) > a.limit {
				t.Fatalf("a message of %d bytes, of %d allowed", len(u.payload), a.limit)
			}
			o.messages = append(o.messages, fmt.Sprint(int(u.opcode), ":", string(u.payload)))
		}
	}
	for len(stream) > 0 && o.err == nil {
		n := piece(len(stream))
		var in []byte
		if room := d.space(); direct && room != nil {
			n = copy(room, stream[:n])
			o.err = d.took(n)
		} else {
			in = bytes.Clone(stream[:n])
		}
		stream = stream[n:]
		came += n
		for o.err == nil {
			var u unit
			if u, in, o.err = d.next(in); u.opcode == 0 {
				break
			}
			handle(u)
		}
		if got := cap(d.buf) + cap(d.aside); got > 2*came+3*inputBuffer {
			t.Fatalf("%d bytes are held for %d that have come", got, came)
		}
	}
	if o.err == nil {
		o.err = errLeft
	}
	if f := farewell(o.err); f != nil {
		o.close = f[2:]
	}
	return o
}

// differ says how what the decoder makes of a stream differs from what the library does, unless it is meant to:
//
//   - text that is not UTF-8 ends reading with 1007: the library does not look at it;
//   - so does a compressed message that is broken or cut off: the library hands on what there is of it, or says nothing;
//   - a message that is too long ends it with 1009 when it is announced: the library reads up to the limit first, and may meet
//     something else before; compressed, it may be too long before it is decompressed too;
//   - what else the protocol forbids ends it with 1002, as soon as it has come: the library may wait for more, which never comes,
//     says nothing to a frame without a mask or with a length of 2^63 or more, nor where its reason is too long for a frame;
//   - a close reason that is not UTF-8 ends it with 1002 too: the library echoes it;
//   - a compressed message is judged when it is whole: the library judges it while it comes;
//   - after a block that is marked as the last one decompression goes on: the library takes what follows for the next message, or
//     the end of the connection;
//   - where the stream ends within a frame of a compressed message, the library decompresses what has come of that with its mask
//     still on, and may find a whole message in it;
//   - where the library panics (a close frame within a compressed message) the close frame is answered.
func differ(o, lib outcome, a agreement, stream []byte) string {
	if k, found := firstFinal(stream, a); found && k <= len(o.messages) {
		return prefix(o.messages[:k], lib.messages)
	}
	var v *violation
	strict := errors.As(o.err, &v)
	var corrupt flate.CorruptInputError
	switch {
	case a.deflate && slices.Equal(o.messages, lib.messages) && (errors.As(lib.err, &corrupt) || errors.Is(lib.err, websocket.ErrMessageTooBig)):
		return prefix(lib.pongs[:min(len(o.pongs), len(lib.pongs))], o.pongs)
	case strict && (v == errText || v == errDeflate || v == errTooBig): // the library may have gone on
		if bad := prefix(o.messages, lib.messages); bad != "" {
			return bad
		}
		return prefix(o.pongs[:min(len(o.pongs), len(lib.pongs))], lib.pongs)
	case a.deflate && o.err == errLeft && len(lib.messages) == len(o.messages)+1:
		return prefix(o.messages, lib.messages)
	case !slices.Equal(o.messages, lib.messages):
		return fmt.Sprintf("%d messages and %v, the library %d and %v: %s", len(o.messages), o.err, len(lib.messages), lib.err, prefix(o.messages, lib.messages))
	case !slices.Equal(o.pongs, lib.pongs):
		return fmt.Sprintf("pongs %q, the library %q", o.pongs, lib.pongs)
	case lib.crashed, v == errCloseReason && lib.close != nil, strict && lib.close == nil:
		return ""
	case strict && len(lib.close) >= 2 && bytes.Equal(o.close[:2], lib.close[:2]): // each has its own words
		return ""
	case !strict && bytes.Equal(o.close, lib.close) && (o.close == nil) == (lib.close == nil):
		return ""
	}
	return fmt.Sprintf("closed with %x (%v), the library %x (%v)", o.close, o.err, lib.close, lib.err)
}

func prefix(some, all []string) string {
	for i, m := range some {
		if i >= len(all) || m != all[i] {
			return fmt.Sprintf("number %d of %d is %.60q, the library's %.200q", i, len(some), m, all)
		}
	}
	return ""
}

// firstFinal is the number of the first message, whole or not, in which a block is marked as the last one, found in another way
// than the decoder's.
func firstFinal(stream []byte, a agreement) (message int, found bool) {
	if !a.deflate {
		return 0, false
	}
	var payload, history []byte
	compressed := false
	for whole := true; whole; {
		var first byte
		var p []byte
		first, p, stream, whole = cutFrame(stream)
		switch first & 0x0f {
		case opText, opBinary:
			payload, compressed = nil, first&rsv1 != 0
		case opContinuation:
		default:
			continue
		}
		payload = append(payload, p...)
		if compressed {
			dict := history
			if !a.takeover {
				dict = nil
			}
			out, err := io.ReadAll(flate.NewReaderDict(bytes.NewReader(append(payload, "\x00\x00\xff\xff"...)), dict))
			if err == nil {
				return message, true
			}
			if whole && first&finBit != 0 {
				history = append(history, out...)
				history = history[max(0, len(history)-windowSize):]
			}
		}
		if first&finBit != 0 {
			message++
		}
	}
	return 0, false
}

// cutFrame takes a masked frame off a stream, or what there is of it.
func cutFrame(s []byte) (first byte, payload, rest []byte, whole bool) {
	if len(s) < 6 {
		return opPong, nil, nil, false
	}
	n, at := uint64(s[1]&0x7f), 2
	switch n {
	case 126:
		at = 4
	case 127:
		at = 10
	}
	if len(s) < at+4 {
		return opPong, nil, nil, false
	}
	if at > 2 {
		n = 0
		for _, b := range s[2:at] {
			n = n<<8 | uint64(b)
		}
	}
	key, body := s[at:at+4], s[at+4:]
	whole = uint64(len(body)) >= n
	n = min(n, uint64(len(body)))
	payload = bytes.Clone(body[:n])
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	return s[0], payload, body[n:], whole
}
