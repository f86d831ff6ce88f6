package actors_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
	"unsafe"

	"github.com/coder/websocket"

	"github.com/wskit/wskit/actors"
)

// wsFrame is what an independent reader of RFC 6455, section 5.2, makes of bytes on the wire.
type wsFrame struct {
	fin     bool
	rsv     byte
	opcode  byte
	masked  bool
	payload []byte
}

func parseWebSocket(wire []byte) (f wsFrame, rest []byte, err error) {
	if len(wire) < 2 {
		return f, nil, io.ErrUnexpectedEOF
	}
	f.fin, f.rsv, f.opcode, f.masked = wire[0]>>7 == 1, wire[0]>>4&7, wire[0]&15, wire[1]>>7 == 1
	n, wire := uint64(wire[1]&127), wire[2:]
	extended, least := 0, uint64(0)
	switch n {
	case 126:
		extended, least = 2, 126
	case 127:
		extended, least = 8, 1<<16
	}
	if len(wire) < extended {
		return f, nil, io.ErrUnexpectedEOF
	}
	if extended > 0 {
		n = binary.BigEndian.Uint64(append(make([]byte, 8-extended), wire[:extended]...))
		wire = wire[extended:]
	}
	switch {
	case n < least:
		return f, nil, errors.New("length not minimally encoded")
	case n > 1<<63-1:
		return f, nil, errors.New("length with the top bit set")
	case f.masked:
		return f, nil, errors.New("a server must not mask")
	case n > uint64(len(wire)):
		return f, nil, io.ErrUnexpectedEOF
	}
	f.payload = wire[:n]
	return f, wire[n:], nil
}

var edgeLengths = []int{0, 1, 2, 124, 125, 126, 127, 65534, 65535, 65536, 65537}

func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = 'a' + byte(i%26)
	}
	return p
}

func checkWebSocket(t *testing.T, payload []byte) {
	t.Helper()
	opcode := byte(1)
	if !utf8.Valid(payload) { // RFC 6455, section 8.1: text would end the peer's connection
		opcode = 2
	}
	f := actors.NewFrame(payload)
	got, rest, err := parseWebSocket(f.WebSocket())
	switch {
	case err != nil:
		t.Fatalf("%d bytes: %v", len(payload), err)
	case !got.fin || got.rsv != 0 || got.opcode != opcode || f.Binary() != (opcode == 2):
		t.Fatalf("%d bytes: fin %v rsv %d opcode %d, want one whole frame with %d", len(payload), got.fin, got.rsv, got.opcode, opcode)
	case len(rest) != 0:
		t.Fatalf("%d bytes: %d stray bytes after the frame", len(payload), len(rest))
	case !bytes.Equal(got.payload, payload) || !bytes.Equal(f.Payload(), payload) || f.Len() != len(payload):
		t.Fatalf("%d bytes: the payload changed", len(payload))
	}
}

func TestAFrameIsOneTextFrameAtEveryHeaderLength(t *testing.T) {
	for _, n := range edgeLengths {
		checkWebSocket(t, pattern(n))
	}
	checkWebSocket(t, nil)
}

func TestFramesWrittenBackToBackAreReadByCodersReader(t *testing.T) {
	server, client := pipedClient(t)
	go func() {
		for _, n := range edgeLengths {
			server.Write(actors.NewFrame(pattern(n)).WebSocket())
		}
		server.Write(actors.CloseFrame(1001, "server is shutting down"))
		io.Copy(io.Discard, server)
	}()
	for _, n := range edgeLengths {
		typ, got, err := client.Read(t.Context())
		must(t, err)
		if typ != websocket.MessageText || !bytes.Equal(got, pattern(n)) {
			t.Errorf("%d bytes: type %v, %d bytes read", n, typ, len(got))
		}
	}
	_, _, err := client.Read(t.Context())
	var closed websocket.CloseError
	if !errors.As(err, &closed) {
		t.Fatalf("after the close frame: %v", err)
	}
	equal(t, "close code", closed.Code, websocket.StatusGoingAway)
	equal(t, "close reason", closed.Reason, actors.ReasonShutdown.Text())
}

// pipedClient is coder/websocket's client end of an in-memory connection whose server end is bare.
func pipedClient(t *testing.T) (server net.Conn, client *websocket.Conn) {
	server, end := net.Pipe()
	client, _, err := websocket.Dial(context.Background(), "ws://in.memory", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: upgraded{end}},
	})
	must(t, err)
	client.SetReadLimit(-1)
	t.Cleanup(func() { client.CloseNow(); server.Close() })
	return server, client
}

type upgraded struct{ conn net.Conn }

func (u upgraded) RoundTrip(r *http.Request) (*http.Response, error) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	h := http.Header{}
	h.Set("Connection", "Upgrade")
	h.Set("Upgrade", "websocket")
	h.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	return &http.Response{StatusCode: http.StatusSwitchingProtocols, Header: h, Body: u.conn, Request: r}, nil
}

func TestTheCallerMayReuseThePayload(t *testing.T) {
	p := []byte("before")
	f := actors.NewFrame(p)
	copy(p, "AFTER!")
	equal(t, "payload", string(f.Payload()), "before")
	equal(t, "websocket", string(f.WebSocket()[2:]), "before")
	equal(t, "sse", string(f.SSE()), "data: before\n\n")
}

func TestAppendingToAnEncodingDoesNotTouchTheFrame(t *testing.T) {
	f := frame("shared")
	_ = append(f.WebSocket(), '!')
	_ = append(f.Payload(), '!')
	equal(t, "a later append", string(append(f.Payload(), '?')), "shared?")
	equal(t, "payload", string(f.Payload()), "shared")
}

func TestEncodingsAreBuiltOnceHoweverManyAsk(t *testing.T) {
	f := frame("one\ntwo")
	var wg sync.WaitGroup
	ws, sse := make([]*byte, 16), make([]*byte, 16)
	for i := range ws {
		wg.Go(func() { ws[i], sse[i] = unsafe.SliceData(f.WebSocket()), unsafe.SliceData(f.SSE()) })
	}
	wg.Wait()
	for i := range ws {
		if ws[i] != ws[0] || sse[i] != sse[0] {
			t.Fatal("an encoding was built more than once")
		}
	}
	equal(t, "allocations of a second look", testing.AllocsPerRun(100, func() { f.WebSocket(); f.SSE() }), 0)
}

func TestAControlFrameCarriesAtMost125Bytes(t *testing.T) {
	for _, n := range []int{0, 1, 124, 125, 126, 127, 200, 70000} {
		for _, opcode := range []byte{0x8, 0x9, 0xA} {
			got, rest, err := parseWebSocket(actors.ControlFrame(opcode, pattern(n)))
			must(t, err)
			if !got.fin || got.rsv != 0 || got.opcode != opcode || len(rest) != 0 || !bytes.Equal(got.payload, pattern(min(n, 125))) {
				t.Errorf("opcode %#x, %d bytes: %+v", opcode, n, got)
			}
		}
	}
}

var allReasons = []actors.Reason{
	actors.ReasonNone, actors.ReasonClosed, actors.ReasonUnregistered, actors.ReasonShutdown, actors.ReasonContext,
	actors.ReasonPeer, actors.ReasonWrite, actors.ReasonPing, actors.ReasonCrashed, actors.ReasonRefused, actors.ReasonSlow, actors.ReasonUnserved,
	actors.ReasonDisconnected, actors.ReasonReplaced, actors.ReasonExpired, actors.ReasonRate,
	actors.ReasonRestart, actors.ReasonMaxAge,
}

// onWire says whether RFC 6455, section 7.4, and the IANA registry let an endpoint send the code.
func onWire(code uint16) bool {
	return code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006 || code >= 3000 && code <= 4999
}

func TestEveryReasonHasANameOfItsOwnAndACodeForTheWire(t *testing.T) {
	names := map[string]actors.Reason{}
	for i, r := range allReasons {
		equal(t, "the set is closed and in order", int(r), i)
		if other, taken := names[r.String()]; r.String() == "" || taken {
			t.Errorf("reason %d: name %q, also of %d", r, r, other)
		}
		names[r.String()] = r
		if !onWire(r.Code()) {
			t.Errorf("%v: code %d must not be sent", r, r.Code())
		}
		if r.Code() != 1000 && r.Text() == "" {
			t.Errorf("%v: code %d without a text", r, r.Code())
		}
		if len(r.Text()) > 123 || !utf8.ValidString(r.Text()) {
			t.Errorf("%v: text %q does not fit a close frame", r, r.Text())
		}
	}
}

func TestACloseFrameTellsCodeAndText(t *testing.T) {
	for _, r := range append(allReasons, 200) {
		checkClose(t, r.Code(), r.Text(), r.Text())
	}
	checkClose(t, 4999, "bye", "bye")
}

func checkClose(t *testing.T, code uint16, text, want string) {
	t.Helper()
	got, rest, err := parseWebSocket(actors.CloseFrame(code, text))
	must(t, err)
	if !got.fin || got.opcode != 8 || len(rest) > 0 {
		t.Errorf("%d %q: %+v", code, text, got)
	}
	equal(t, "code", binary.BigEndian.Uint16(got.payload), code)
	equal(t, "text", string(got.payload[2:]), want)
}

func TestACloseTextIsCutTo123BytesAtTheEndOfACharacter(t *testing.T) {
	for text, want := range map[string]string{
		strings.Repeat("x", 123):              strings.Repeat("x", 123),
		strings.Repeat("x", 124):              strings.Repeat("x", 123),
		strings.Repeat("x", 121) + "\u00e9":   strings.Repeat("x", 121) + "\u00e9",
		strings.Repeat("x", 122) + "\u00e9":   strings.Repeat("x", 122),
		strings.Repeat("\U0001f600", 31):      strings.Repeat("\U0001f600", 30),
		"not \xff UTF-8":                      "not \ufffd UTF-8",
		strings.Repeat("x", 121) + "\xff\xfe": strings.Repeat("x", 121),
	} {
		checkClose(t, 4000, text, want)
	}
}

func TestTheCloseThatBeginsTheEndSaysWhatThePeerIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		first actors.Close
		code  uint16
		text  string
	}{
		"a code of its own":       {actors.Close{Reason: actors.ReasonDisconnected, Code: 4321, Text: "out"}, 4321, "out"},
		"a code without a text":   {actors.Close{Reason: actors.ReasonShutdown, Code: 4321}, 4321, ""},
		"that of its reason":      {actors.Close{Reason: actors.ReasonExpired}, 4001, "expired"},
		"a text without a code":   {actors.Close{Reason: actors.ReasonRate, Text: "mine"}, 1008, "too many messages"},
		"no code and no reason":   {actors.Close{}, 1000, ""},
		"a code without a reason": {actors.Close{Code: 3000}, 3000, ""},
	} {
		box := actors.NewOutbox(1)
		box.Close(&c.first)
		box.Close(&actors.Close{Reason: actors.ReasonCrashed, Code: 4000, Text: "too late"})
		code, text := box.Why()
		equal(t, name+": code", code, c.code)
		equal(t, name+": text", text, c.text)
		code, text = c.first.Why()
		equal(t, name+": its own code", code, c.code)
		equal(t, name+": its own text", text, c.text)
	}
}

func TestABinaryFrameIsBinaryWhateverIsInIt(t *testing.T) {
	for _, payload := range []string{"", "text", "\xff", strings.Repeat("x", 126), strings.Repeat("x", 30000)} {
		f := actors.NewBinaryFrame([]byte(payload))
		text := actors.NewFrame([]byte(payload))
		got, rest, err := parseWebSocket(f.WebSocket())
		must(t, err)
		if !got.fin || got.rsv != 0 || got.opcode != 2 || len(rest) > 0 || !f.Binary() {
			t.Errorf("%d bytes: fin %v, rsv %d, opcode %d, binary %v", len(payload), got.fin, got.rsv, got.opcode, f.Binary())
		}
		equal(t, "payload", string(got.payload), payload)
		equal(t, "payload", string(f.Payload()), payload)
		equal(t, "SSE", string(f.SSE()), string(text.SSE()))
		if len(payload) > 100 {
			equal(t, "opcode of a compressed one", f.Deflated(0)[0], 0xc2)
		}
		bundle, _ := actors.Bundle([]*actors.Frame{text, f})
		equal(t, "bundle", string(bundle.WebSocket()), string(text.WebSocket())+string(f.WebSocket()))
		equal(t, "a bundle is none", bundle.Binary(), false)
	}
}

func TestAnUnknownReasonIsToldAsACrash(t *testing.T) {
	for _, r := range []actors.Reason{actors.Reason(len(allReasons)), 100, 255} {
		equal(t, "name", r.String(), actors.ReasonCrashed.String())
		equal(t, "code", r.Code(), 1011)
		equal(t, "text", r.Text(), actors.ReasonCrashed.Text())
	}
	equal(t, "in a format", fmt.Sprintf("%v", actors.Reason(255)), "crashed")
}

func FuzzWebSocketFrame(f *testing.F) {
	for _, s := range []string{"", "a", "\x00", "\xff\xfe", strings.Repeat("x", 125), strings.Repeat("x", 126), `{"type":"x"}`} {
		f.Add([]byte(s), uint16(1))
	}
	f.Add([]byte("repeat"), uint16(65535/6+1))
	f.Fuzz(func(t *testing.T, payload []byte, times uint16) {
		if n := len(payload) * int(times); n > 0 && n < 200_000 {
			payload = bytes.Repeat(payload, int(times))
		}
		checkWebSocket(t, payload)
	})
}
