package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

func serverFrame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}

func TestFramesYieldThePayloadHoweverTheStreamIsCut(t *testing.T) {
	var stream, want []byte
	for _, n := range []int{0, 1, 125, 126, 300, 1<<16 - 1, 1 << 16} {
		p := bytes.Repeat([]byte{byte('a' + n%7)}, n)
		want = append(want, p...)
		stream = append(stream, serverFrame(0x81, p)...)
		stream = append(stream, serverFrame(0x80|opPing, []byte("ping"))...)
	}
	// A message in two frames, as an unbuffered writer sends it.
	stream = append(stream, serverFrame(0x01, []byte("first"))...)
	stream = append(stream, serverFrame(0x80, nil)...)
	want = append(want, "first"...)

	for _, piece := range []int{1, 2, 3, 7, 4096, len(stream)} {
		pings := 0
		f := &frames{pong: func(p []byte) error {
			if string(p) != "ping" {
				t.Errorf("pieces of %d: ping with %q", piece, p)
			}
			pings++
			return nil
		}}
		got, err := decodeInPieces(f, stream, piece)
		if err != nil || !bytes.Equal(got, want) || pings != 7 {
			t.Errorf("pieces of %d: %d bytes instead of %d, %d pings, %v", piece, len(got), len(want), pings, err)
		}
	}
}

func TestFramesReportWhyTheServerClosed(t *testing.T) {
	_, err := decodeInPieces(&frames{}, serverFrame(0x80|opClose, append([]byte{1001 >> 8, 1001 & 0xff}, "going away"...)), 1)
	if !errors.Is(err, errPeerClosed) || !strings.Contains(err.Error(), "1001 going away") {
		t.Error(err)
	}
	if _, err := decodeInPieces(&frames{}, serverFrame(0x80|opClose, nil), 1); !errors.Is(err, errPeerClosed) {
		t.Error(err)
	}
	if _, err := decodeInPieces(&frames{}, clientFrame(1, []byte("x")), 1); err == nil {
		t.Error("a masked frame passed")
	}
}

// deflated is what permessage-deflate makes of a message.
func deflated(message []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed) // the level is valid
	_, _ = w.Write(message)
	_ = w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff"))
}

func TestCompressedMessagesAreInflatedHoweverTheStreamIsCut(t *testing.T) {
	text := newMessage(1, 2, body{size: 5000, text: true})
	short := []byte(`"short"`)
	half := deflated(text)
	var stream []byte
	for range 3 {
		stream = append(stream, serverFrame(finBit|rsv1Bit|1, deflated(text))...)
		stream = append(stream, serverFrame(finBit|opPing, []byte("ping"))...)
		stream = append(stream, serverFrame(finBit|1, short)...)
		stream = append(stream, serverFrame(rsv1Bit|1, half[:100])...) // in two frames
		stream = append(stream, serverFrame(finBit, half[100:])...)
	}
	want := bytes.Repeat(bytes.Join([][]byte{text, short, text}, nil), 3)
	for _, piece := range []int{1, 7, 4096, len(stream)} {
		got, err := decodeInPieces(&frames{inflate: &inflater{}}, stream, piece)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("pieces of %d: %d bytes instead of %d, %v", piece, len(got), len(want), err)
		}
	}
}

func TestCompressionHasToBeWhatWasAgreed(t *testing.T) {
	long, short := make([]byte, deflateFrom), make([]byte, deflateFrom-1)
	twoFrames := append(serverFrame(1, long[:300]), serverFrame(finBit, long[300:])...)
	for _, c := range []struct {
		what    string
		inflate *inflater
		stream  []byte
		valid   bool
	}{
		{"compressed without agreement", nil, serverFrame(finBit|rsv1Bit|1, deflated(long)), false},
		{"long and plain without agreement", nil, serverFrame(finBit|1, long), true},
		{"long and plain", &inflater{}, serverFrame(finBit|1, long), false},
		{"long and plain in two frames", &inflater{}, twoFrames, false},
		{"short and plain", &inflater{}, serverFrame(finBit|1, short), true},
		{"not deflated", &inflater{}, serverFrame(finBit|rsv1Bit|1, []byte("\xff\xff\xff\xff")), false},
	} {
		if _, err := decodeInPieces(&frames{inflate: c.inflate}, c.stream, 50); (err == nil) != c.valid {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	for header, want := range map[string]bool{
		"HTTP/1.1 101 x\r\nsec-websocket-extensions: permessage-deflate; server_no_context_takeover": true,
		"HTTP/1.1 101 x\r\nSec-WebSocket-Extensions: permessage-deflate":                             false,
		"HTTP/1.1 101 x\r\nX: permessage-deflate; server_no_context_takeover":                        false,
		"HTTP/1.1 101 x": false,
	} {
		if deflateAgreed(header) != want {
			t.Errorf("%q: %v", header, !want)
		}
	}
}
