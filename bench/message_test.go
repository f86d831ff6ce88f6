package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestMessagesHaveTheirSizeAreJSONAndAreFoundHoweverTheStreamIsCut(t *testing.T) {
	for _, size := range []int{0, minMessage, minMessage + 1, 128, 16 << 10} {
		m := newMessage(0xfeedbeef, 1<<50+7, body{size: size})
		if want := max(size, minMessage); len(m) != want {
			t.Errorf("size %d: got %d bytes", want, len(m))
		}
		if !json.Valid(m) {
			t.Errorf("size %d: not JSON: %s", size, m)
		}
	}
	stream := append(newMessage(7, 70, body{size: 40}), newMessage(8, 80, body{size: 128})...)
	for piece := 1; piece <= len(stream); piece++ {
		var s scanner
		var numbers []uint32
		var stamps []int64
		for i := 0; i < len(stream); i += piece {
			p := stream[i:min(i+piece, len(stream))]
			for {
				rest, number, stamp, ok := s.next(p)
				if !ok {
					break
				}
				numbers, stamps, p = append(numbers, number), append(stamps, stamp), rest
			}
		}
		if len(numbers) != 2 || numbers[0] != 7 || numbers[1] != 8 || stamps[0] != 70 || stamps[1] != 80 {
			t.Fatalf("in pieces of %d: numbers %v, stamps %v", piece, numbers, stamps)
		}
	}
}

func TestAMarkWithoutAMessageIsPassedOver(t *testing.T) {
	stream := append([]byte("@this is no message, whatever"), newMessage(3, 4, body{size: 64})...)
	var s scanner
	_, number, stamp, ok := s.next(stream)
	if !ok || number != 3 || stamp != 4 {
		t.Fatal(number, stamp, ok)
	}
}

func TestTextIsJSONOfItsSizeWithOneMarkAndCompresses(t *testing.T) {
	for _, size := range []int{0, 40, 100, 500, 1 << 10, 5000} {
		for number := range uint32(50) {
			m := newMessage(number, 9, body{size: size, text: true})
			if want := max(size, minMessage+2); len(m) != want || !json.Valid(m) || bytes.Count(m, []byte{mark}) != 1 {
				t.Fatalf("%d bytes instead of %d: %s", len(m), want, m)
			}
			var s scanner
			if rest, got, stamp, ok := s.next(m); !ok || got != number || stamp != 9 || string(rest) != `"]` {
				t.Fatal(got, stamp, ok, rest)
			}
		}
	}
	m := newMessage(1, 2, body{size: 1 << 10, text: true})
	if n := len(deflated(m)); n < 200 || n > 400 {
		t.Errorf("1 KB compressed is %d bytes", n)
	}
	if bytes.Equal(m[:500], newMessage(2, 2, body{size: 1 << 10, text: true})[:500]) {
		t.Error("every message says the same")
	}
}
