package actors_test

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"golang.org/x/sys/unix"
)

// The ways in which a TCP connection may be in another.
var wraps = map[string]func(*net.TCPConn) net.Conn{
	"TCP":                         func(c *net.TCPConn) net.Conn { return c },
	"TLS":                         func(c *net.TCPConn) net.Conn { return tls.Server(c, &tls.Config{}) },
	"a struct that embeds it":     func(c *net.TCPConn) net.Conn { return struct{ *net.TCPConn }{c} },
	"a struct that embeds a Conn": func(c *net.TCPConn) net.Conn { return &struct{ net.Conn }{c} },
	"TLS over one that does":      func(c *net.TCPConn) net.Conn { return tls.Server(struct{ net.Conn }{c}, &tls.Config{}) },
}

// "Data that was sent may be unacknowledged for 30 s": or for the write wait.
func TestUnacknowledgedDataIsBoundedOnWhateverIsWrappedAroundTCP(t *testing.T) {
	for name, wrap := range wraps {
		for _, c := range []struct{ wait, want time.Duration }{{10 * time.Second, 30 * time.Second}, {time.Minute, time.Minute}} {
			server, _ := pair(t)
			attached(wrap(server), c.wait)
			raw, err := server.SyscallConn()
			must(t, err)
			var got int
			must(t, raw.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }))
			must(t, err)
			equal(t, name+": TCP_USER_TIMEOUT", time.Duration(got)*time.Millisecond, c.want)
		}
	}
}

func TestWhatThePeerSendsIsASignOfLifeThoughNobodyReadsIt(t *testing.T) {
	for name, wrap := range wraps {
		server, peer := pair(t)
		s, _ := attached(wrap(server), time.Second)
		before := s.Vitals()
		_, err := server.Write([]byte("ping")) // as the peer's kernel acknowledges it, which shows nobody
		must(t, err)
		_, err = peer.Read(make([]byte, 4))
		must(t, err)
		if s.Vitals().MovedSince(before) {
			t.Errorf("%s: a sign of life from a peer that has sent nothing", name)
		}
		_, err = peer.Write([]byte("pong"))
		must(t, err)
		end := time.Now().Add(5 * time.Second)
		for !s.Vitals().MovedSince(before) {
			if time.Now().After(end) {
				t.Errorf("%s: no sign of life", name)
				break
			}
		}
	}
}

func TestWhatCannotBeAskedKnowsNothing(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	for name, c := range map[string]net.Conn{"pipe": server, "nil": conn{}, "panics": panics{server}} {
		s, _ := attached(c, time.Second)
		equal(t, name, s.Vitals(), actors.Vitals{})
	}
}

type panics struct{ net.Conn }

func (panics) NetConn() net.Conn { panic("a bad net.Conn") }
