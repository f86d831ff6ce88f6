package actors_test

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// inflate takes one frame off p and returns its message.
func inflate(t *testing.T, p []byte) (message string, compressed bool, rest []byte) {
	t.Helper()
	n, body := int(p[1]), p[2:]
	switch n {
	case 126:
		n, body = int(binary.BigEndian.Uint16(p[2:])), p[4:]
	case 127:
		n, body = int(binary.BigEndian.Uint64(p[2:])), p[10:]
	}
	if p[0]&^0x0f == 0x80 {
		return string(body[:n]), false, body[n:]
	}
	if p[0]&^0x0f != 0xc0 {
		t.Fatalf("first byte %x", p[0])
	}
	// As RFC 7692, section 7.2.2 has it; the second block ends what flate reads.
	text, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(body[:n]), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), true, body[n:]
}

func TestACompressedFrameHoldsTheMessage(t *testing.T) {
	noise := make([]byte, 4096)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(noise)
	for name, c := range map[string]struct {
		text       string
		compressed bool
	}{
		"below the threshold":  {strings.Repeat("x", 511), false},
		"at the threshold":     {strings.Repeat("x", 512), true},
		"a long header":        {strings.Repeat("some text that repeats, number ", 1<<15), true},
		"what does not shrink": {string(noise), false},
		"empty":                {"", false},
		"no UTF-8":             {strings.Repeat("\xff", 512), true},
	} {
		t.Run(name, func(t *testing.T) {
			f := frame(c.text)
			for range 2 {
				text, compressed, rest := inflate(t, f.Deflated(512))
				equal(t, "compressed", compressed, c.compressed)
				equal(t, "binary", f.Deflated(512)[0]&0x0f == 2, !utf8.ValidString(c.text))
				equal(t, "bytes behind the frame", len(rest), 0)
				if text != c.text {
					t.Errorf("%d bytes came out of %d", len(text), len(c.text))
				}
			}
			if c.compressed && len(f.Deflated(512)) > len(c.text)/4 {
				t.Errorf("%d bytes for %d", len(f.Deflated(512)), len(c.text))
			}
		})
	}
}

func TestABundleIsCompressedMessageByMessageForEachThreshold(t *testing.T) {
	messages := []string{strings.Repeat("a", 600), "short", strings.Repeat("b", 200)}
	f := bundle(t, messages...)
	for _, c := range []struct {
		threshold  int
		compressed [3]bool
	}{{512, [3]bool{true, false, false}}, {128, [3]bool{true, false, true}}, {512, [3]bool{true, false, false}}} {
		rest := f.Deflated(c.threshold)
		for i, want := range messages {
			var text string
			var compressed bool
			text, compressed, rest = inflate(t, rest)
			equal(t, "message", text, want)
			equal(t, "compressed", compressed, c.compressed[i])
		}
		equal(t, "bytes left", len(rest), 0)
	}
}
