package main

import "testing"

func TestOrdersArriveAsTheyWereSent(t *testing.T) {
	for _, o := range []order{
		{},
		{first: 1, n: 64, body: body{size: 16 << 10}, stamp: 1 << 40},
		{first: 2, n: 10_000, body: body{size: 128, topics: true}, stamp: 3},
		{first: 1<<32 - 1, n: 1, body: body{size: 1 << 10, text: true}, stamp: -1},
	} {
		if got := decodeOrder((*[orderLen]byte)(o.encode())); got != o {
			t.Errorf("%+v instead of %+v", got, o)
		}
	}
}
