package wskit

import (
	"encoding/binary"
	"net/http"
	"net/url"
)

// facts is a request as one string: each connection keeps it, and few are asked. It is a list of texts, each behind its length: what
// stands in parts, then the names of header fields and, before the values of each, their number.
type facts string

// handshake is what a request's header has for the upgrade alone.
var handshake = map[string]bool{"Connection": true, "Upgrade": true, "Sec-Websocket-Key": true, "Sec-Websocket-Version": true, "Sec-Websocket-Extensions": true}

func newFacts(r *http.Request) facts {
	b := make([]byte, 0, 512) // mostly that is enough, and what is kept the only allocation
	number := func(n int) { b = binary.AppendUvarint(b, uint64(n)) }
	text := func(s string) {
		number(len(s))
		b = append(b, s...)
	}
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
	return facts(b)
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
