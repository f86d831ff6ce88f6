package sseactor

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// net/http does not part with a connection that it serves, and a middleware's writer may not even let a deadline through. What
// the kernel is to do for such a connection all the same it is told through its descriptor, which is found by the connection's
// two addresses. Nothing is read or written through it.

// ends is the two addresses of a TCP connection.
type ends struct{ local, remote netip.AddrPort }

// endsOf is the ends of the connection that a request came over. They are not known if that is no TCP connection, or if
// middleware may have put what a header says in the place of the client's address: with that a client could name the connection
// of another.
func endsOf(r *http.Request) (e ends, ok bool) {
	local, isTCP := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	remote, err := netip.ParseAddrPort(r.RemoteAddr)
	if !isTCP || err != nil || isInHeader(r.Header, plain(remote)) {
		return e, false
	}
	return ends{plain(local.AddrPort()), plain(remote)}, true
}

// isInHeader reports whether a may have been taken from a header. An address of IPv6 can be written in more than one way, its
// port in one.
func isInHeader(h http.Header, a netip.AddrPort) bool {
	text := a.Addr().String()
	if a.Addr().Is6() {
		text = strconv.Itoa(int(a.Port()))
	}
	for _, values := range h {
		for _, v := range values {
			if strings.Contains(v, text) {
				return true
			}
		}
	}
	return false
}

// plain is an address as others of the same socket are compared with it.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// seeker finds descriptors. To look for one is to look at all that the process has open, so it is done for all who wait at
// once, and pauses in between: however many streams come, it takes a hundredth of a processor at most.
type seeker struct {
	mu     sync.Mutex
	wanted map[ends][]func(fd int)
	at     bool // a goroutine is at it
}

const seekPause = 99 // times what the look before has taken

var descriptors seeker

// find has fn called with a descriptor of the connection, soon and from another goroutine; not at all if it is not found. The
// descriptor is a duplicate, which no other connection can come to have, and is closed when fn returns.
func (s *seeker) find(e ends, fn func(fd int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == nil {
		s.wanted = map[ends][]func(int){}
	}
	s.wanted[e] = append(s.wanted[e], fn)
	if !s.at {
		s.at = true
		go s.seek()
	}
}

func (s *seeker) seek() {
	for {
		s.mu.Lock()
		wanted := s.wanted
		s.wanted = nil
		s.at = wanted != nil
		s.mu.Unlock()
		if wanted == nil {
			return
		}
		began := time.Now()
		look(wanted)
		time.Sleep(seekPause * time.Since(began))
	}
}
