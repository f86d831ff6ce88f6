package main

import (
	"bytes"
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

// decodeInPieces feeds stream to d and returns the payload and the first error.
func decodeInPieces(d decoder, stream []byte, piece int) (payload []byte, err error) {
	for i := 0; i < len(stream) && err == nil; i += piece {
		err = d.decode(stream[i:min(i+piece, len(stream))], func(p []byte) { payload = append(payload, p...) })
	}
	return payload, err
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

func TestChunksYieldTheBodyHoweverTheStreamIsCut(t *testing.T) {
	const stream = "5\r\nhello\r\n1;name=value\r\n,\r\n1A\r\n" + "abcdefghijklmnopqrstuvwxyz\r\n"
	const want = "hello,abcdefghijklmnopqrstuvwxyz"
	for piece := 1; piece <= len(stream); piece++ {
		got, err := decodeInPieces(&chunks{}, []byte(stream), piece)
		if err != nil || string(got) != want {
			t.Errorf("pieces of %d: %q, %v", piece, got, err)
		}
	}
	if _, err := decodeInPieces(&chunks{}, []byte("0\r\n\r\n"), 1); !errors.Is(err, errPeerClosed) {
		t.Errorf("end of the body: %v", err)
	}
	if _, err := decodeInPieces(&chunks{}, []byte("xyz\r\n"), 1); err == nil || errors.Is(err, errPeerClosed) {
		t.Errorf("no chunk: %v", err)
	}
}

func FuzzDecodersDoNotPanic(f *testing.F) {
	f.Add(serverFrame(0x81, []byte("text")), 1)
	f.Add([]byte("4\r\ntext\r\n0\r\n\r\n"), 3)
	f.Fuzz(func(_ *testing.T, stream []byte, piece int) {
		piece = min(max(piece, 1), 1<<16)
		_, _ = decodeInPieces(&frames{}, stream, piece)
		_, _ = decodeInPieces(&chunks{}, stream, piece)
	})
}
