package wskit

import (
	"encoding/binary"
	"net/http"
	"net/url"
	"strings"
)

// facts is a request as one string: each connection keeps it, and few are asked. It is a list of texts, each behind its length: what
// stands in parts, then the names of header fields and, before the values of each, their number.
type facts string

// handshake is what a request's header has for the upgrade alone.
var handshake = map[string]bool{"Connection": true, "Upgrade": true, "Sec-Websocket-Key": true, "Sec-Websocket-Version": true, "Sec-Websocket-Extensions": true}

func newFacts(r *http.Request) facts {
	size := 0
	walk(r, func(text string) { size += lengthSize(len(text)) + len(text) }, func(n int) { size += lengthSize(n) })
	var b strings.Builder
	b.Grow(size)
	number := func(n int) {
		for ; n >= 0x80; n >>= 7 {
			b.WriteByte(byte(n) | 0x80)
		}
		b.WriteByte(byte(n))
	}
	walk(r, func(text string) { number(len(text)); b.WriteString(text) }, number)
	return facts(b.String())
}

// walk visits what is kept of a request.
func walk(r *http.Request, text func(string), number func(int)) {
	u := r.URL
	if u == nil {
		u = new(url.URL)
	}
	for _, part := range [...]string{r.Method, r.Host, r.RemoteAddr, u.Scheme, u.Opaque, u.Host, u.Path, u.RawPath, u.RawQuery} {
		text(part)
	}
	for name, values := range r.Header {
		if handshake[name] {
			continue
		}
		text(name)
		number(len(values))
		for _, v := range values {
			text(v)
		}
	}
}

// lengthSize is how many bytes n takes, as binary.Uvarint reads it.
func lengthSize(n int) (size int) {
	for size = 1; n >= 0x80; n >>= 7 {
		size++
	}
	return size
}

// request is the other way round; nil: there was none.
func (f facts) request() *http.Request {
	if f == "" {
		return nil
	}
	rest := []byte(f)
	number := func() int {
		n, size := binary.Uvarint(rest)
		rest = rest[size:]
		return int(n)
	}
	text := func() string {
		n := number()
		s := string(rest[:n])
		rest = rest[n:]
		return s
	}
	r := &http.Request{URL: new(url.URL), Header: http.Header{}}
	for _, part := range [...]*string{&r.Method, &r.Host, &r.RemoteAddr, &r.URL.Scheme, &r.URL.Opaque, &r.URL.Host, &r.URL.Path, &r.URL.RawPath, &r.URL.RawQuery} {
		*part = text()
	}
	for len(rest) > 0 {
		name := text()
		values := make([]string, number())
		for i := range values {
			values[i] = text()
		}
		r.Header[name] = values
	}
	return r
}
