package clientactor

import (
	"compress/flate"
	"io"
	"sync"
)

// window is the end of what was decompressed, to which what follows may refer (RFC 7692, section 7.2.3.2).
type window struct{ buf []byte }

const windowSize = 32 << 10 // of DEFLATE: RFC 1951, section 3.2.5

func (w *window) write(p []byte) {
	if len(p) > windowSize {
		p = p[len(p)-windowSize:]
	}
	if over := len(w.buf) + len(p) - windowSize; over > 0 {
		w.buf = w.buf[:copy(w.buf, w.buf[over:])]
	}
	w.buf = append(w.buf, p...)
}

// inflater is what decompressing one message needs. It is borrowed for no longer than that, and nobody waits meanwhile.
type inflater struct {
	source
	flate io.ReadCloser // a flate.Resetter, from source
	own   window        // for messages that refer to none before
	chunk [4 << 10]byte // for messages that are discarded
}

var inflaters = sync.Pool{New: func() any {
	in := new(inflater)
	in.flate = flate.NewReader(&in.source)
	return in
}}

// maxFinals is how many of its blocks a message may mark as the last one, after each of which decompression begins anew.
const maxFinals = 128

// inflate decompresses the message that has come whole, checks what it says, and keeps that unless it is to be discarded.
func (m *message) inflate(w *window, limit int64, discard bool) error {
	compressed := m.buf
	m.buf = nil
	if len(compressed) == 0 {
		return nil // what some send for an empty message, in place of the one byte of RFC 7692, section 7.2.3.6
	}
	in := inflaters.Get().(*inflater)
	defer func() {
		in.source, in.own.buf = source{}, in.own.buf[:0]
		inflaters.Put(in)
	}()
	if w == nil {
		w = &in.own
	}
	in.source = source{payload: compressed}
	for range maxFinals {
		if err := in.flate.(flate.Resetter).Reset(&in.source, w.buf); err != nil {
			return errDeflate // there is no such error
		}
		err := m.read(in, w, limit, discard)
		if err != io.EOF {
			return err
		}
		if in.over() {
			return m.check(true, discard)
		}
	}
	return errDeflate
}

// read reads what there is until the flate reader ends, with io.EOF if that is as it should be.
func (m *message) read(in *inflater, w *window, limit int64, discard bool) error {
	for {
		p := in.chunk[:]
		if !discard {
			m.grow(1, uint64(max(4*len(in.payload), 64)), false)
			p = m.buf[len(m.buf):cap(m.buf)]
		}
		if left := limit - m.inflated; limit >= 0 && int64(len(p)) > left {
			p = p[:left+1] // one too many says that there is more than may be
		}
		n, err := in.flate.Read(p)
		m.inflated += int64(n)
		w.write(p[:n])
		if discard {
			m.buf = append(m.buf, p[:n]...)
		} else {
			m.buf = m.buf[:len(m.buf)+n]
		}
		if bad := m.check(false, discard); bad != nil {
			return bad
		}
		switch {
		case limit >= 0 && m.inflated > limit:
			return errTooBig
		case err == io.EOF:
			return err
		case err != nil:
			return errDeflate
		}
	}
}

// source is a compressed message with what its sender has left out at the end: the length of an empty block (RFC 7692, section
// 7.2.2), and then the last block there is, so that the flate reader comes to an end. It reads no further ahead than it must,
// as flate promises for an io.ByteReader, so how it comes to that end tells whether the message is whole: in a block whose
// header, read by the byte, was the last of the message. Everything else needs more than there was.
type source struct {
	payload []byte
	tail    int  // how much of the end was read
	header  bool // the last to be read was a byte
}

const deflateEnd = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

func (s *source) ReadByte() (byte, error) {
	switch {
	case len(s.payload) > 0:
		b := s.payload[0]
		s.payload, s.header = s.payload[1:], true
		return b, nil
	case s.tail == 0 || s.tail == len(deflateEnd):
		return 0, io.ErrUnexpectedEOF
	}
	s.tail++
	return deflateEnd[s.tail-1], nil
}

func (s *source) Read(p []byte) (n int, err error) {
	if len(s.payload) > 0 {
		n = copy(p, s.payload)
		s.payload, s.header = s.payload[n:], false
		return n, nil
	}
	if s.tail == 0 && !s.header || s.tail == len(deflateEnd) {
		return 0, io.ErrUnexpectedEOF
	}
	n = copy(p, deflateEnd[s.tail:])
	s.tail += n
	return n, nil
}

// over reports whether there is nothing left: up to the end, or to a last block that the sender has made itself.
func (s *source) over() bool {
	return len(s.payload) == 0 && (s.tail == 0 || s.tail == len(deflateEnd))
}
