package actors

import (
	"bytes"
	"compress/flate"
	"sync"
)

// deflaters are expensive to make and large.
var deflaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// deflateTail ends what a flush writes; a message is sent without it (RFC 7692, section 7.2.1).
const deflateTail = "\x00\x00\xff\xff"

// deflate is payload as one compressed, unmasked frame; first is the first byte of one that is not compressed.
func deflate(first byte, payload []byte) []byte {
	buf := bytes.NewBuffer(make([]byte, maxHeader, maxHeader+len(payload)/2+len(deflateTail)))
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(buf)
	_, _ = w.Write(payload) // a bytes.Buffer takes everything
	_ = w.Flush()
	frame := bytes.TrimSuffix(buf.Bytes(), []byte(deflateTail))
	return frame[putHeader(frame, first|compressed, len(frame)-maxHeader):]
}
