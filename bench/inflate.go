package main

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"strings"
	"sync"
)

// deflateOffer is the extension that a client asks for, and what the server has to agree to: that each message can be
// inflated by itself (RFC 7692, section 7.1.1).
const (
	deflateOffer    = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	deflateRequired = "server_no_context_takeover"
)

// deflateAgreed reports whether a response's header grants deflateOffer.
func deflateAgreed(header string) bool {
	for line := range strings.Lines(header) {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(strings.TrimSpace(name), "Sec-WebSocket-Extensions") {
			return strings.Contains(value, "permessage-deflate") && strings.Contains(value, deflateRequired)
		}
	}
	return false
}

// deflateFrom is the length, in bytes, from which on a message has to come compressed.
const deflateFrom = 512

// inflater puts the messages of a connection together that negotiated permessage-deflate, and inflates those that came
// compressed.
type inflater struct {
	compressed bool
	message    []byte // compressed
	plain      int    // bytes of a message that is not
}

// begin is for the first frame of a compressed message.
func (i *inflater) begin() { i.compressed = true }

func (i *inflater) add(p []byte, data func([]byte)) {
	if i.compressed {
		i.message = append(i.message, p...)
		return
	}
	i.plain += len(p)
	if len(p) > 0 {
		data(p)
	}
}

// flateReader is shared by connections: each takes 40 KB.
type flateReader struct {
	io.ReadCloser
	in  bytes.Reader
	buf [2 << 10]byte
}

var flateReaders = sync.Pool{New: func() any { return &flateReader{ReadCloser: flate.NewReader(nil)} }}

// end is for the end of a message.
func (i *inflater) end(data func([]byte)) error {
	message, compressed, plain := i.message, i.compressed, i.plain
	i.message, i.compressed, i.plain = i.message[:0], false, 0
	if !compressed {
		if plain >= deflateFrom {
			return fmt.Errorf("a message of %d bytes came uncompressed", plain)
		}
		return nil
	}
	r := flateReaders.Get().(*flateReader)
	defer flateReaders.Put(r)
	// Two empty blocks: the sender has cut off the beginning of the first, and the second is the last.
	r.in.Reset(append(message, "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...))
	if err := r.ReadCloser.(flate.Resetter).Reset(&r.in, nil); err != nil {
		return err
	}
	for {
		n, err := r.Read(r.buf[:])
		if n > 0 {
			data(r.buf[:n])
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("inflating: %w", err)
		}
	}
}
