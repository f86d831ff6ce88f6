package clientactor

import (
	"math"
	"unicode/utf8"
)

// message is one that is being put together.
type message struct {
	opcode     byte // of its first frame; 0: there is none
	compressed bool
	announced  int64  // bytes of payload, of the frames that have begun
	buf        []byte // what has come; of one that nobody wants, what has not been checked
	checked    int    // of a text, how much of buf is whole characters
	inflated   int64  // bytes that came out of a compressed one
}

// compressedLimit is how many bytes a message may have before it is decompressed, which a few may have more of than after it:
// twice the limit and 1 KB. What is over that is over the limit, or a flood of nothing.
func compressedLimit(limit int64) int64 {
	if limit > (math.MaxInt64-1024)/2 {
		return math.MaxInt64
	}
	return 2*limit + 1024
}

// announce counts a frame of n bytes that begins.
func (m *message) announce(n, limit int64) error {
	if limit < 0 {
		return nil
	}
	if m.compressed {
		limit = compressedLimit(limit)
	}
	if n > limit-m.announced {
		return errTooBig
	}
	m.announced += n
	return nil
}

// grow makes room for n bytes more, and for some of those that are announced to follow in the same frame: for no more than
// have come. After the last frame there is no room left that nobody needs.
func (m *message) grow(n int, follow uint64, last bool) {
	if cap(m.buf)-len(m.buf) >= n {
		return
	}
	size := len(m.buf) + n + int(min(follow, uint64(max(len(m.buf), inputBuffer))))
	if !last {
		size = max(size, 2*cap(m.buf))
	}
	buf := make([]byte, len(m.buf), size)
	copy(buf, m.buf)
	m.buf = buf
}

// check says whether a text is UTF-8 as far as it has come: when it is whole to its end, before that up to a character that
// may still be completed. What is to be discarded is forgotten then.
func (m *message) check(whole, discard bool) error {
	if m.opcode == opText {
		p := m.buf[m.checked:]
		end := len(p) - unfinished(p)
		if !utf8.Valid(p[:end]) || whole && end < len(p) {
			return errText
		}
		m.checked += end
	}
	if discard {
		rest := m.buf[:0]
		if m.opcode == opText {
			rest = append(rest, m.buf[m.checked:]...)
		}
		m.buf, m.checked = rest, 0
	}
	return nil
}

// unfinished is how many bytes at the end of p are the beginning of a character.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if last := p[len(p)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}
