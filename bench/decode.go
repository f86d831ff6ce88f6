package main

import (
	"errors"
	"fmt"
)

// decoder strips a transport's framing from a connection's input, in pieces of any size.
type decoder interface {
	// decode hands the payload bytes in p to data, in order; the pieces are valid during the call.
	decode(p []byte, data func([]byte)) error
}

var errPeerClosed = errors.New("closed by the server")

// untilClosed is a body that the end of the connection ends.
type untilClosed struct{}

func (untilClosed) decode(p []byte, data func([]byte)) error {
	if len(p) > 0 {
		data(p)
	}
	return nil
}

// chunks decodes a chunked HTTP/1.1 body (RFC 9112, section 7.1).
type chunks struct {
	state chunkState
	size  int
}

type chunkState uint8

const (
	inSize chunkState = iota
	inExtension
	inData
	inDataEnd
)

func (c *chunks) decode(p []byte, data func([]byte)) error {
	for len(p) > 0 {
		b := p[0]
		switch c.state {
		case inSize, inExtension:
			p = p[1:]
			if err := c.sizeByte(b); err != nil {
				return err
			}
		case inData:
			n := min(len(p), c.size)
			data(p[:n])
			p, c.size = p[n:], c.size-n
			if c.size == 0 {
				c.state = inDataEnd
			}
		case inDataEnd:
			p = p[1:]
			if b == '\n' {
				c.state = inSize
			}
		}
	}
	return nil
}

func (c *chunks) sizeByte(b byte) error {
	digit := -1
	switch {
	case b == '\n' && c.size == 0:
		return errPeerClosed
	case b == '\n':
		c.state = inData
		return nil
	case c.state == inExtension || b == ';' || b == '\r':
		c.state = inExtension
		return nil
	case b >= '0' && b <= '9':
		digit = int(b - '0')
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		digit = int(b|0x20-'a') + 10
	}
	if digit < 0 || c.size > 1<<30 {
		return fmt.Errorf("chunk size: unexpected byte %q", b)
	}
	c.size = c.size<<4 | digit
	return nil
}
