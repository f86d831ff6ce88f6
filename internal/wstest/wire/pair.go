package wire

import (
	"net"
	"testing"
)

// Pair is both ends of a TCP connection over loopback, whose socket buffers are asked to hold that many bytes each way (the
// system rounds up; 0: its default). They are closed with the test.
func Pair(t testing.TB, buffer int) (server, client *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if server, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if buffer > 0 {
		_ = server.SetWriteBuffer(buffer)
		_ = client.SetReadBuffer(buffer)
	}
	return server, client
}
