package sseactor

import "net/netip"

// What tests of descriptors see of the inside.

type (
	Ends   = ends
	Seeker = seeker
)

var (
	Descriptors         = &descriptors
	EndsOf              = endsOf
	LimitUnacknowledged = limitUnacknowledged
)

func (s *seeker) Find(e ends, fn func(fd int)) { s.find(e, fn) }

func (s *seeker) Idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.at && s.wanted == nil
}

func NewEnds(local, remote netip.AddrPort) ends { return ends{plain(local), plain(remote)} }

func (e ends) String() string { return e.local.String() + " " + e.remote.String() }

// Beat is what comes every KeepAlive.
func (s *Stream) Beat() { s.box.PostUserMessage(beat{}) }
