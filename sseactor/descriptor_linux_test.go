package sseactor_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
	"github.com/wskit/wskit/sseactor"
	"golang.org/x/sys/unix"
)

// userTimeout is how long what conn has sent may be unacknowledged.
func userTimeout(t *testing.T, conn net.Conn) (d time.Duration) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		ms, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if err != nil {
			t.Error(err)
		}
		d = time.Duration(ms) * time.Millisecond
	})
	return d
}

// loopback is both ends of a connection.
func loopback(t *testing.T, network, addr string) (server, client *net.TCPConn) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skip(err) // no IPv6
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = s.Close(), c.Close() })
	return s.(*net.TCPConn), c.(*net.TCPConn)
}

func endsOf(conn net.Conn) sseactor.Ends {
	return sseactor.NewEnds(conn.LocalAddr().(*net.TCPAddr).AddrPort(), conn.RemoteAddr().(*net.TCPAddr).AddrPort())
}

func TestADescriptorIsFoundByItsConnectionsAddresses(t *testing.T) {
	for name, listen := range map[string][2]string{
		"IPv4": {"tcp4", "127.0.0.1:0"}, "IPv6": {"tcp6", "[::1]:0"}, "IPv4 on a socket of IPv6": {"tcp", ":0"},
	} {
		t.Run(name, func(t *testing.T) {
			server, client := loopback(t, listen[0], listen[1])
			for _, conn := range []*net.TCPConn{server, client} { // whose ends are each other's, turned round
				found := make(chan struct{})
				sseactor.Descriptors.Find(endsOf(conn), func(fd int) { sseactor.LimitUnacknowledged(fd, time.Minute); close(found) })
				wstest.Receive(t, "it is found", found)
				if got := userTimeout(t, conn); got != time.Minute {
					t.Error(got)
				}
				setUserTimeout(conn, 0)
			}
			if got := userTimeout(t, server); got != 0 {
				t.Error("both were changed:", got)
			}
		})
	}
}

func setUserTimeout(conn *net.TCPConn, d time.Duration) {
	raw, _ := conn.SyscallConn()
	_ = raw.Control(func(fd uintptr) { sseactor.LimitUnacknowledged(int(fd), d) })
}

func TestManyAreFoundInOneLookAndWhatIsNotThereIsForgotten(t *testing.T) {
	var s sseactor.Seeker
	found := make(chan sseactor.Ends, 100)
	nowhere := netip.MustParseAddrPort("192.0.2.1:1")
	for range cap(found) {
		server, _ := loopback(t, "tcp4", "127.0.0.1:0")
		e := endsOf(server)
		s.Find(sseactor.NewEnds(server.LocalAddr().(*net.TCPAddr).AddrPort(), nowhere), func(int) { t.Error("found what is not there") })
		s.Find(e, func(int) { found <- e })
	}
	seen := map[sseactor.Ends]bool{}
	for range cap(found) {
		seen[wstest.Receive(t, "they are found", found)] = true
	}
	wstest.Eventually(t, "it has ended", s.Idle)
	if len(seen) != cap(found) {
		t.Error(len(seen))
	}
}

// The request's context and address say which connection it came over, unless they say nothing that can be one.
func TestTheEndsOfARequestsConnection(t *testing.T) {
	local := func(addr net.Addr) context.Context {
		return context.WithValue(t.Context(), http.LocalAddrContextKey, addr)
	}
	v4 := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} // in 16 bytes
	for _, c := range []struct {
		ctx    context.Context
		remote string
		want   string
		header string
	}{
		{local(v4), "10.0.0.1:5", "127.0.0.1:80 10.0.0.1:5", ""},
		{local(v4), "[::ffff:10.0.0.1]:5", "127.0.0.1:80 10.0.0.1:5", ""},
		{local(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Port: 80, Zone: "eth0"}), "[fe80::2%eth0]:5", "[fe80::1]:80 [fe80::2]:5", ""},
		{local(v4), "10.0.0.1", "", ""},
		{local(v4), "", "", ""},
		{local(v4), "a.example:5", "", ""},
		{local(&net.UnixAddr{Name: "x", Net: "unix"}), "@", "", ""},
		{t.Context(), "10.0.0.1:5", "", ""},
		{local(v4), "10.0.0.1:5", "", "10.0.0.1"}, // which a middleware may have believed
		{local(v4), "10.0.0.1:5", "", "for=10.0.0.1:5;proto=http"},
		{local(v4), "10.0.0.1:5", "127.0.0.1:80 10.0.0.1:5", "10.0.0.2:5"},
		{local(v4), "[2001:db8::1]:5", "", "[2001:0DB8:0::1]:5"},
		{local(v4), "[2001:db8::1]:5", "127.0.0.1:80 [2001:db8::1]:5", "[2001:db8::1]:6"},
	} {
		r := (&http.Request{RemoteAddr: c.remote, Header: http.Header{"X-Real-Ip": {"x", c.header}}}).WithContext(c.ctx)
		e, ok := sseactor.EndsOf(r)
		if got := e.String(); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%q: %v %v, want %q", c.remote, got, ok, c.want)
		}
	}
}

// A stream through net/http is bounded as soon as it has lived for a while: then its client's network may vanish.
func TestWhatAStreamThroughNetHTTPSendsMayBeUnacknowledgedForSoLong(t *testing.T) {
	for wait, want := range map[time.Duration]time.Duration{10 * time.Second: actors.UserTimeout, time.Minute: time.Minute} {
		for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
			"net/http's own":    func(w http.ResponseWriter) http.ResponseWriter { return w },
			"takes no deadline": func(w http.ResponseWriter) http.ResponseWriter { return struct{ flusher }{w.(flusher)} },
		} {
			t.Run(name, func(t *testing.T) {
				conns, done := make(chan net.Conn, 1), make(chan error, 1)
				srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					s := claimed(1, wait)
					spawn(s)
					out := s.Respond(t.Context(), wrap(w), r)
					s.Beat() // which is due in 15 s
					done <- out.Serve()
				}))
				srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { conns <- c; return ctx }
				srv.Start()
				defer srv.Close()
				resp, err := http.Get(srv.URL)
				if err != nil {
					t.Fatal(err)
				}
				conn := <-conns
				wstest.Eventually(t, "it is bounded", func() bool { return userTimeout(t, conn) == want })
				_ = resp.Body.Close()
				if err := wstest.Receive(t, "Serve returns", done); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
	}
}

type flusher interface {
	http.ResponseWriter
	http.Flusher
}
