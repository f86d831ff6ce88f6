package main

import (
	"encoding/json"
	"testing"
)

func TestMessagesHaveTheirSizeAreJSONAndAreFoundHoweverTheStreamIsCut(t *testing.T) {
	for _, size := range []int{0, minMessage, minMessage + 1, 128, 16 << 10} {
		m := newMessage(0xfeedbeef, 1<<50+7, size)
		if want := max(size, minMessage); len(m) != want {
			t.Errorf("size %d: got %d bytes", want, len(m))
		}
		if !json.Valid(m) {
			t.Errorf("size %d: not JSON: %s", size, m)
		}
	}
	stream := append(newMessage(7, 70, 40), newMessage(8, 80, 128)...)
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
	stream := append([]byte("@this is no message, whatever"), newMessage(3, 4, 64)...)
	var s scanner
	_, number, stamp, ok := s.next(stream)
	if !ok || number != 3 || stamp != 4 {
		t.Fatal(number, stamp, ok)
	}
}
