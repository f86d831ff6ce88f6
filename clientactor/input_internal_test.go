package clientactor

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// The library forgives both of these where a message has begun.
func TestTheEndOfThePeersStreamIsNoEOFForTheLibrary(t *testing.T) {
	for err, want := range map[error]error{io.EOF: errLeft, io.ErrUnexpectedEOF: errLeft, net.ErrClosed: net.ErrClosed, nil: nil} {
		if got := ended(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}

func TestAHeartbeatIsOneWholePingOrPong(t *testing.T) {
	long := bytes.Repeat([]byte("p"), 125)
	for name, c := range map[string]struct {
		in      []byte
		opcode  byte // 0: none
		payload []byte
		rest    []byte
	}{
		"ping":               {in: []byte{0x89, 0x80, 1, 2, 3, 4}, opcode: opPing},
		"pong":               {in: []byte{0x8a, 0x80, 1, 2, 3, 4}, opcode: opPong},
		"masked payload":     {in: []byte{0x89, 0x85, 1, 2, 3, 4, 'a' ^ 1, 'b' ^ 2, 'c' ^ 3, 'd' ^ 4, 'e' ^ 1}, opcode: opPing, payload: []byte("abcde")},
		"something behind":   {in: []byte{0x8a, 0x81, 0, 0, 0, 0, 'a', 0x81, 0x80}, opcode: opPong, payload: []byte("a"), rest: []byte{0x81, 0x80}},
		"the longest":        {in: append([]byte{0x89, 0x80 + 125, 0, 0, 0, 0}, long...), opcode: opPing, payload: long},
		"nothing":            {},
		"half a header":      {in: []byte{0x89, 0x80, 1, 2, 3}},
		"half a payload":     {in: []byte{0x89, 0x82, 0, 0, 0, 0, 'a'}},
		"not masked":         {in: []byte{0x89, 0x05, 'a', 'b', 'c', 'd', 'e'}},
		"not final":          {in: []byte{0x09, 0x80, 1, 2, 3, 4}},
		"a reserved bit":     {in: []byte{0xc9, 0x80, 1, 2, 3, 4}},
		"too long":           {in: append([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, long...)},
		"close":              {in: []byte{0x88, 0x80, 1, 2, 3, 4}},
		"text":               {in: []byte{0x81, 0x80, 1, 2, 3, 4}},
		"an unknown control": {in: []byte{0x8b, 0x80, 1, 2, 3, 4}},
	} {
		in := input{came: c.in}
		opcode, payload, ok := in.heartbeat()
		rest := c.rest
		if c.opcode == 0 {
			rest = c.in
		}
		if ok != (c.opcode != 0) || ok && opcode != c.opcode || !bytes.Equal(payload, c.payload) || !bytes.Equal(in.came[in.at:], rest) {
			t.Errorf("%s: %v, opcode %x, payload %q, rest %x", name, ok, opcode, payload, in.came[in.at:])
		}
	}
}
