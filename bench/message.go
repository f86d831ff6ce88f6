package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
)

// A message is JSON, so that every system can carry it as text:
//
//	"......@nnnnnnnnssssssssssssssss"
//
// dots up to the wanted size, a mark, the message's number (8 hex digits) and the instant it was asked for (16 hex
// digits: nanoseconds on the load generator's clock). The mark stands at the end: who has seen it has got all of it.
// In place of the dots there may be text, see appendEvents.
const (
	mark       = '@'
	tailLen    = 8 + 16
	minMessage = 1 + 1 + tailLen + 1
)

// body is what a message looks like.
type body struct {
	size   int  // bytes
	text   bool // events in place of dots
	topics bool // to a topic each, in turn, and not to everybody
}

// newMessage makes a message of b.size bytes, at least minMessage.
func newMessage(number uint32, stamp int64, b body) []byte {
	size := max(b.size, minMessage)
	if b.text {
		size = max(size, minMessage+2)
		m := appendEvents(make([]byte, 0, size+maxEvent), number, size-1-tailLen-2)
		return append(appendTail(append(m, mark), number, stamp), '"', ']')
	}
	m := bytes.Repeat([]byte{'.'}, size)
	m[0], m[size-1] = '"', '"'
	m[size-minMessage+1] = mark
	appendTail(m[:size-1-tailLen], number, stamp)
	return m
}

// appendTail appends what follows the mark.
func appendTail(m []byte, number uint32, stamp int64) []byte {
	var bin [tailLen / 2]byte
	binary.BigEndian.PutUint32(bin[:], number)
	binary.BigEndian.PutUint64(bin[4:], uint64(stamp))
	return hex.AppendEncode(m, bin[:])
}

// scanner finds the marks in what one connection receives, however the stream is cut into pieces.
type scanner struct {
	tail [tailLen]byte
	have int  // bytes of tail
	open bool // a mark was seen and its tail is not complete
}

// next consumes p up to the end of the next message. ok is false when p holds no further one; then all of p is consumed.
func (s *scanner) next(p []byte) (rest []byte, number uint32, stamp int64, ok bool) {
	if !s.open {
		i := bytes.IndexByte(p, mark)
		if i < 0 {
			return nil, 0, 0, false
		}
		s.open, s.have, p = true, 0, p[i+1:]
	}
	n := copy(s.tail[s.have:], p)
	s.have += n
	if s.have < tailLen {
		return nil, 0, 0, false
	}
	s.open = false
	var bin [tailLen / 2]byte
	if _, err := hex.Decode(bin[:], s.tail[:]); err != nil {
		return s.next(p[n:])
	}
	return p[n:], binary.BigEndian.Uint32(bin[:]), int64(binary.BigEndian.Uint64(bin[4:])), true
}
