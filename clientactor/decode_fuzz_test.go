package clientactor

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// clientFrame is a frame as a client sends it.
func clientFrame(first byte, key uint32, payload []byte) []byte {
	f := []byte{first}
	switch n := len(payload); {
	case n <= maxControl:
		f = append(f, maskBit|byte(n))
	case n <= 0xffff:
		f = binary.BigEndian.AppendUint16(append(f, maskBit|126), uint16(n))
	default:
		f = binary.BigEndian.AppendUint64(append(f, maskBit|127), uint64(n))
	}
	var mask [4]byte
	binary.LittleEndian.PutUint32(mask[:], key)
	f = append(f, mask[:]...)
	for i, b := range payload {
		f = append(f, b^mask[i%4])
	}
	return f
}

// deflater compresses messages as a client does.
type deflater struct {
	buf bytes.Buffer
	w   *flate.Writer
}

func newDeflater(level int) *deflater {
	d := &deflater{}
	d.w, _ = flate.NewWriter(&d.buf, level)
	return d
}

func (d *deflater) message(p []byte, takeover bool) []byte {
	d.buf.Reset()
	if !takeover {
		d.w.Reset(&d.buf)
	}
	_, _ = d.w.Write(p)
	_ = d.w.Flush()
	return bytes.Clone(bytes.TrimSuffix(d.buf.Bytes(), []byte("\x00\x00\xff\xff")))
}

// final is a message in blocks of which the last is marked as such, and the empty one that follows (RFC 7692, section 7.2.3.4).
func final(p []byte, level int) []byte {
	var buf bytes.Buffer
	w, _ := flate.NewWriter(&buf, level)
	_, _ = w.Write(p)
	_ = w.Close()
	return append(buf.Bytes(), 0)
}

// compose makes a stream of frames that are mostly as they should be, of instructions.
func compose(in []byte, a agreement) (stream []byte) {
	next := func() (b byte) {
		if len(in) > 0 {
			b, in = in[0], in[1:]
		}
		return b
	}
	take := func(n int) (p []byte) {
		n = min(n, len(in))
		p, in = in[:n], in[n:]
		return p
	}
	def := newDeflater(flate.BestSpeed)
	inMessage := false
	for len(in) > 0 && len(stream) < 1<<18 {
		what, size := next(), next()
		p := take(int(size & 0x3f))
		if size&0xc0 == 0xc0 {
			p = bytes.Repeat(append(p, what), 1+int(next())*8)
		}
		key := uint32(next()) * 0x01030507
		first := byte(finBit)
		switch what & 0x0f {
		case 0, 1, 2, 3, 4:
			first |= opText + what&1
			if a.deflate && what&0x10 != 0 {
				first |= rsv1
				switch what >> 5 & 3 {
				case 0, 1:
					p = def.message(p, a.takeover)
				case 2:
					p = final(p, flate.BestSpeed)
				default: // as it is
				}
			}
			if inMessage {
				first &^= 0x0f | rsv1
			}
			if what&0x80 != 0 {
				first &^= finBit
			}
			inMessage = first&finBit == 0
		case 5, 6: // in two parts
			if inMessage {
				continue
			}
			first = opBinary - what&1
			if a.deflate && what&0x10 != 0 {
				first |= rsv1
				p = def.message(p, a.takeover)
			}
			half := len(p) / 2
			stream = append(stream, clientFrame(first, key, p[:half])...)
			if what&0x20 != 0 {
				stream = append(stream, clientFrame(finBit|opPing, key, p[:min(half, 20)])...)
			}
			if what&0x40 != 0 && half > 0 {
				half-- // overlaps
			}
			stream = append(stream, clientFrame(finBit, key, p[half:])...)
			continue
		case 7, 8, 9:
			first |= opPing + what&0x10>>4
			p = p[:min(len(p), maxControl)]
		case 10:
			code := []uint16{1000, 1001, 1002, 1004, 1005, 1007, 1015, 3000, 4999, 5000, 999}[what>>4%11]
			first, p = finBit|opClose, binary.BigEndian.AppendUint16(nil, code)
			p = append(p, take(int(size&0x1f))...)
		case 11: // anything
			first = next()
		case 12:
			stream = append(stream, p...)
			continue
		default: // text of many bytes
			first |= opText
			p = []byte(strings.Repeat("grüße €𝄞 ", 1+int(size)))
			if inMessage {
				first &^= 0x0f
			}
			inMessage = false
		}
		stream = append(stream, clientFrame(first, key, p)...)
	}
	return stream
}

// What the decoder makes of a stream does not depend on the pieces in which it comes, takes no more memory than has come, and is
// what the library makes of it, but for what differ explains.
func FuzzDecoder(f *testing.F) {
	text, bin := []byte("grüße"), []byte{0, 0xff, 0xfe}
	fast, plain := newDeflater(flate.BestSpeed), newDeflater(flate.NoCompression)
	frame := func(first byte, p []byte) []byte { return clientFrame(first, 0x04030201, p) }
	large := bytes.Repeat(text, 2000)
	bye := binary.BigEndian.AppendUint16(nil, 1000)
	squeezed := fast.message(large, false)
	for _, stream := range [][]byte{
		frame(0x81, text), frame(0x82, bin), frame(0x81, bin), slices.Concat(frame(0x01, text[:3]), frame(0x89, text), frame(0x80, text[3:])),
		frame(0x81, large), slices.Concat(frame(0x82, large), frame(0x88, bye)), slices.Concat(frame(0x8a, nil), frame(0x88, nil)),
		frame(0x88, append(bye, 0xff)), frame(0x88, []byte{3}), {0x81, 0x02, 'h', 'i'}, {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 4},
		frame(0xc1, squeezed), slices.Concat(frame(0x41, squeezed[:9]), frame(0x89, nil), frame(0x80, squeezed[9:])),
		slices.Concat(frame(0xc1, fast.message(text, false)), frame(0xc1, fast.message(text, true)), frame(0xc2, fast.message(bin, true))),
		frame(0xc2, plain.message(bin, false)), slices.Concat(frame(0xc1, final(text, 1)), frame(0xc1, final(text, 9))),
		slices.Concat(frame(0x41, squeezed[:9]), frame(0x88, bye)), frame(0xc1, nil), frame(0xc1, []byte{0}), frame(0xc1, squeezed[:20]),
		frame(0xc1, slices.Concat(final(text, 1)[:len(final(text, 1))-1], final(large, 1), final(nil, 1))),
	} {
		for setup := range byte(12) {
			f.Add(stream, setup, uint64(setup))
		}
	}
	for seed := range uint64(40) {
		p := make([]byte, 200)
		rng := rand.New(rand.NewPCG(seed, 1))
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
		f.Add(p, byte(0x80|seed), seed)
	}
	f.Fuzz(func(t *testing.T, stream []byte, setup byte, seed uint64) {
		a := agreement{deflate: setup%3 > 0, takeover: setup%3 == 2, limit: []int64{-1, 125, 1000, 70_000}[setup>>2&3]}
		if setup&0x80 != 0 {
			stream = compose(stream, a)
		}
		whole := ours(t, stream, a, func(most int) int { return most }, false)
		rng := rand.New(rand.NewPCG(seed, 2))
		longest := []int{1, 3, 14, 200, 5000, 20_000}[seed%6]
		for _, direct := range []bool{false, true} {
			parts := ours(t, stream, a, func(most int) int { return min(most, 1+rng.IntN(longest)) }, direct)
			if !slices.Equal(parts.messages, whole.messages) || !slices.Equal(parts.pongs, whole.pongs) || parts.err.Error() != whole.err.Error() {
				t.Fatalf("in pieces: %.60q, %q, %v; whole: %.60q, %q, %v", parts.messages, parts.pongs, parts.err, whole.messages, whole.pongs, whole.err)
			}
		}
		checkDiscard(t, stream, a, whole)
		if bad := differ(whole, theirs(t, stream, a), a, stream); bad != "" {
			t.Fatalf("%+v: %s", a, bad)
		}
	})
}

// checkDiscard reads a stream whose messages nobody wants: they are judged like any others.
func checkDiscard(t *testing.T, stream []byte, a agreement, want outcome) {
	d := &decoder{limit: a.limit, deflate: a.deflate, discard: true}
	if a.takeover {
		d.window = new(window)
	}
	in, messages := bytes.Clone(stream), 0
	for {
		u, rest, err := d.next(in)
		if err == nil && u.opcode == opClose {
			if _, err = parseClose(u.payload); err == nil {
				break
			}
		}
		var v, wanted *violation
		if errors.As(err, &v) {
			if !errors.As(want.err, &wanted) || v != wanted {
				t.Fatalf("discarding: %v, want %v", err, want.err)
			}
			break
		}
		if u.opcode == 0 {
			break
		}
		if u.opcode < opClose {
			messages++
		}
		in = rest
	}
	if messages != len(want.messages) {
		t.Fatalf("discarding: %d messages, want %d", messages, len(want.messages))
	}
}
