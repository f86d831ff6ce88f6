package main

import (
	"errors"
	"testing"
)

// decodeInPieces feeds stream to d and returns the payload and the first error.
func decodeInPieces(d decoder, stream []byte, piece int) (payload []byte, err error) {
	for i := 0; i < len(stream) && err == nil; i += piece {
		err = d.decode(stream[i:min(i+piece, len(stream))], func(p []byte) { payload = append(payload, p...) })
	}
	return payload, err
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

func TestABodyWithoutLengthIsTakenAsItComes(t *testing.T) {
	if got, err := decodeInPieces(untilClosed{}, []byte("data: x\n\n"), 3); err != nil || string(got) != "data: x\n\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzDecodersDoNotPanic(f *testing.F) {
	f.Add(serverFrame(0x81, []byte("text")), 1)
	f.Add(serverFrame(0xc1, deflated([]byte("text"))), 2)
	f.Add([]byte("4\r\ntext\r\n0\r\n\r\n"), 3)
	f.Fuzz(func(_ *testing.T, stream []byte, piece int) {
		piece = min(max(piece, 1), 1<<16)
		for _, d := range []decoder{&frames{}, &frames{inflate: &inflater{}}, &chunks{}} {
			_, _ = decodeInPieces(d, stream, piece)
		}
	})
}
