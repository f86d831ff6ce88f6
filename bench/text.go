package main

import (
	"math/rand/v2"
	"strconv"
)

// maxEvent is how long an event is at most, in bytes.
const maxEvent = 160

var (
	users   = [...]string{"alice", "bogdan", "chiara", "dmitri", "emeka", "fatima", "grete", "hiroshi"}
	actions = [...]string{"moved", "joined", "left", "edited", "commented", "uploaded"}
)

// appendEvents appends n bytes of a JSON array: events, and the beginning of a string, which the caller ends. What the
// events say is drawn anew for each number; compressed, 1 KB of it is some 300 bytes.
func appendEvents(m []byte, number uint32, n int) []byte {
	end := len(m) + n
	draw := rand.New(rand.NewPCG(uint64(number), 1))
	m = append(m, '[')
	for {
		before := len(m)
		m = appendEvent(m, draw)
		if len(m) >= end {
			m = m[:before]
			break
		}
	}
	m = append(m, '"')
	for len(m) < end {
		m = append(m, '.')
	}
	return m
}

func appendEvent(m []byte, draw *rand.Rand) []byte {
	m = append(m, `{"id":`...)
	m = strconv.AppendUint(m, uint64(draw.Uint32()), 10)
	m = append(append(m, `,"user":"`...), users[draw.IntN(len(users))]...)
	m = append(append(m, `","action":"`...), actions[draw.IntN(len(actions))]...)
	m = append(m, `","x":`...)
	m = strconv.AppendInt(m, int64(draw.IntN(1920)), 10)
	m = append(m, `,"y":`...)
	m = strconv.AppendInt(m, int64(draw.IntN(1080)), 10)
	m = append(m, `,"room":"lobby","time":"2026-11-23T20:15:`...)
	m = append(m, byte('0'+draw.IntN(6)), byte('0'+draw.IntN(10)))
	return append(m, `Z"},`...)
}
