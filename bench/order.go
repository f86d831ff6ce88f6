package main

import "encoding/binary"

// order asks a server process for broadcasts. It travels in a form that is read without allocating, since what the process
// allocates is measured.
type order struct {
	first uint32 // number of the first message
	n     uint32 // how many, back to back
	body  body
	stamp int64
}

const orderLen = 4 + 4 + 4 + 8

// Bits in the size: text in the body, and messages to topics.
const (
	textBit   = 1 << 31
	topicsBit = 1 << 30
)

func (o order) encode() []byte {
	b := make([]byte, orderLen)
	binary.LittleEndian.PutUint32(b, o.first)
	binary.LittleEndian.PutUint32(b[4:], o.n)
	size := uint32(o.body.size)
	if o.body.text {
		size |= textBit
	}
	if o.body.topics {
		size |= topicsBit
	}
	binary.LittleEndian.PutUint32(b[8:], size)
	binary.LittleEndian.PutUint64(b[12:], uint64(o.stamp))
	return b
}

func decodeOrder(b *[orderLen]byte) order {
	size := binary.LittleEndian.Uint32(b[8:])
	return order{
		first: binary.LittleEndian.Uint32(b[:]),
		n:     binary.LittleEndian.Uint32(b[4:]),
		body:  body{size: int(size &^ (textBit | topicsBit)), text: size&textBit != 0, topics: size&topicsBit != 0},
		stamp: int64(binary.LittleEndian.Uint64(b[12:])),
	}
}
