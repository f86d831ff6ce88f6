package e2e

import (
	"fmt"
	"net"
	"sync"
	"testing"
)

// network is what lies between a page and its server: a TCP proxy that a test can cut.
type network struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu          sync.Mutex
	down, tears bool
	torn        int
	conns       map[net.Conn]struct{} // of both sides
}

// startNetwork starts a network to whoever listens at target. It ends with the test.
func startNetwork(t *testing.T, target string) *network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &network{listener: l, target: target, conns: map[net.Conn]struct{}{}}
	n.wg.Go(n.accept)
	t.Cleanup(func() {
		_ = l.Close()
		n.cut()
		n.wg.Wait()
	})
	return n
}

func (n *network) accept() {
	for {
		near, err := n.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", n.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		n.mu.Lock()
		if n.down {
			reset(near)
			reset(far)
		}
		n.conns[near], n.conns[far] = struct{}{}, struct{}{}
		n.mu.Unlock()
		n.wg.Go(func() { n.carry(far, near, false) })
		n.wg.Go(func() { n.carry(near, far, true) })
	}
}

// carry copies until either end is closed, and then closes both.
func (n *network) carry(to, from net.Conn, tearable bool) {
	buf := make([]byte, 64<<10)
	for {
		size, err := from.Read(buf)
		if err == nil && tearable {
			n.mu.Lock()
			if n.tears {
				size, err = size/2, net.ErrClosed
				n.torn++
			}
			n.mu.Unlock()
		}
		if _, failed := to.Write(buf[:size]); failed != nil || err != nil {
			break
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range []net.Conn{to, from} {
		_ = c.Close()
		delete(n.conns, c)
	}
}

// cut resets all connections, and those to come until it is restored.
func (n *network) cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for c := range n.conns {
		reset(c)
	}
}

// tear is cut, but in the midst of something that the server sends, and without a reset.
func (n *network) tear(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	n.tears, n.torn = true, 0
	n.mu.Unlock()
	eventually(t, func() error {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.torn == 0 {
			return fmt.Errorf("the server sends nothing that could be torn")
		}
		n.tears, n.down = false, true
		return nil
	})
	n.cut()
}

func (n *network) restore() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}
