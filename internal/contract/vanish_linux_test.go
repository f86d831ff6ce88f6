package contract_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
	"golang.org/x/sys/unix"
)

// network is a network of two hosts, the server's and the client's, and a cable between them.
type network struct{ server, client string }

// newNetwork makes one of network namespaces, or skips t where it cannot.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil || os.Geteuid() != 0 {
		t.Skip("no network vanishes here: that takes root and iproute2")
	}
	n := &network{fmt.Sprintf("wskit-s%d", os.Getpid()), fmt.Sprintf("wskit-c%d", os.Getpid())}
	for _, host := range []string{n.server, n.client} {
		if out, err := exec.Command("ip", "netns", "add", host).CombinedOutput(); err != nil {
			t.Skipf("no network namespaces: %s", out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", host).Run() })
	}
	n.ip(t, "link", "add", "cable", "netns", n.server, "type", "veth", "peer", "name", "cable", "netns", n.client)
	for host, addr := range map[string]string{n.server: "192.0.2.1/24", n.client: "192.0.2.2/24"} {
		n.ip(t, "-n", host, "addr", "add", addr, "dev", "cable")
		n.ip(t, "-n", host, "link", "set", "cable", "up")
	}
	return n
}

func (*network) ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %s", strings.Join(args, " "), out)
	}
}

// at runs fn where the sockets that it makes are those of a host.
func (*network) at(host string, fn func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		ns, err := os.Open("/var/run/netns/" + host)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

func (n *network) listen(t *testing.T) (l net.Listener) {
	t.Helper()
	if err := n.at(n.server, func() (err error) { l, err = net.Listen("tcp4", "192.0.2.1:0"); return err }); err != nil {
		t.Fatal(err)
	}
	return l
}

func (n *network) dial(_ context.Context, network, addr string) (conn net.Conn, err error) {
	err = n.at(n.client, func() (err error) { conn, err = net.DialTimeout(network, addr, wstest.Patience); return err })
	return conn, err
}

// A stream whose client's network has vanished without a word ends about as soon as a WebSocket does, whatever it is written
// through: what is unacknowledged for 30 s, of which there is some after 15 s at the latest, ends the connection.
func TestAStreamWhoseClientsNetworkHasVanishedEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("the 30 s that data may be unacknowledged")
	}
	n := newNetwork(t)
	type stream struct {
		name     string
		hub      *wstest.Hub
		streamed chan error
	}
	var streams []stream
	for name, c := range map[string]struct {
		kind wstest.Kind
		opts []wskit.HubOption
		wrap func(http.ResponseWriter) http.ResponseWriter
	}{
		"net/http":                        {kind: wstest.TCP},
		"TLS":                             {kind: wstest.TLS},
		"HTTP/2":                          {kind: wstest.HTTP2},
		"hijacked":                        {kind: wstest.TCP, opts: []wskit.HubOption{wskit.WithSSEHijack()}},
		"a writer that takes no deadline": {kind: wstest.TCP, wrap: func(w http.ResponseWriter) http.ResponseWriter { return mute{w} }},
	} {
		hub := wstest.Run(t, c.opts...)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: c.kind, Wrap: c.wrap, Setup: func(s *httptest.Server) {
			_ = s.Listener.Close()
			s.Listener = n.listen(t)
		}})
		client := &http.Client{Transport: &http.Transport{DialContext: n.dial, ForceAttemptHTTP2: c.kind == wstest.HTTP2,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		resp, err := client.Get(srv.URL + "/sse")
		if err != nil {
			t.Fatal(name, err)
		}
		defer client.CloseIdleConnections()
		defer resp.Body.Close()
		hub.Count(t, 1)
		streams = append(streams, stream{name, hub, srv.Streamed})
	}
	n.ip(t, "-n", n.client, "link", "set", "cable", "down")
	began := time.Now()
	const most = 2 * time.Minute // a kernel looks when it would send again, at intervals that double
	for _, s := range streams {
		if !wstest.Poll(time.Until(began.Add(most)), func() bool { return s.hub.SubscriberCount() == 0 }) {
			t.Errorf("%s: still there after %v", s.name, time.Since(began))
			continue
		}
		t.Logf("%s: gone after %v: %v", s.name, time.Since(began).Round(time.Second), wstest.Receive(t, "AcceptSSE returns", s.streamed))
	}
}

// mute is a writer that lets neither deadlines through nor what it wraps.
type mute struct{ http.ResponseWriter }

func (m mute) Flush() { m.ResponseWriter.(http.Flusher).Flush() }
