package redistest

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Mute says what a proxy swallows.
type Mute int32

const (
	Nothing     Mute = iota
	Subscribers      // both directions of connections that have sent SUBSCRIBE: they are half-open
	Replies          // what Redis answers on all other connections: commands are executed, and nobody learns of it
	Everything       // both directions of all connections
	Subscribing      // connections that send SUBSCRIBE are cut
)

// ProxyServer is a TCP proxy in front of a Redis. Its methods may be called from any goroutine.
type ProxyServer struct {
	listener net.Listener
	target   string
	mute     atomic.Int32
	accepted atomic.Int64
	wg       sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	conns    map[*proxied]struct{}
	commands map[string]int
}

// proxied is one connection. Once something of it was swallowed it stays mute: what comes later would make no sense.
type proxied struct {
	client, redis net.Conn
	subscriber    atomic.Bool
	deafened      atomic.Bool // towards Redis
	muted         atomic.Bool // towards the client
}

// Proxy starts a proxy to target, a host and port. It stops with the test.
func Proxy(t testing.TB, target string) *ProxyServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &ProxyServer{listener: l, target: target, conns: make(map[*proxied]struct{}), commands: make(map[string]int)}
	p.wg.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

// Addr is where the proxy listens.
func (p *ProxyServer) Addr() string { return p.listener.Addr().String() }

// Mute changes what is swallowed from now on. A connection of which something was swallowed stays mute for ever.
func (p *ProxyServer) Mute(m Mute) { p.mute.Store(int32(m)) }

// Cut drops all connections, and returns how many there were.
func (p *ProxyServer) Cut() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.close()
	}
	return len(p.conns)
}

// CutSubscribers drops the connections that have sent SUBSCRIBE.
func (p *ProxyServer) CutSubscribers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.subscriber.Load() {
			c.close()
		}
	}
}

// Inject writes to the clients of connections that have sent SUBSCRIBE what Redis has not said.
func (p *ProxyServer) Inject(reply string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if c.subscriber.Load() {
			_, _ = c.client.Write([]byte(reply))
		}
	}
}

// Accepted is how many connections there have been.
func (p *ProxyServer) Accepted() int { return int(p.accepted.Load()) }

// Commands is how many commands of that name clients have sent, swallowed ones included.
func (p *ProxyServer) Commands(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.commands[strings.ToLower(name)]
}

func (p *ProxyServer) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Cut()
	p.wg.Wait()
}

func (p *ProxyServer) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		redis, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &proxied{client: client, redis: redis}
		p.mu.Lock()
		if p.closed {
			c.close()
		}
		p.conns[c] = struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.up(c) })
		p.wg.Go(func() { p.down(c) })
	}
}

func (p *ProxyServer) drop(c *proxied) {
	c.close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (c *proxied) close() {
	_ = c.client.Close()
	_ = c.redis.Close()
}

// up carries commands, one after the other.
func (p *ProxyServer) up(c *proxied) {
	defer p.drop(c)
	in := bufio.NewReader(c.client)
	for {
		raw, name, err := readCommand(in)
		if err != nil {
			return
		}
		if name == "subscribe" {
			c.subscriber.Store(true)
		}
		p.mu.Lock()
		p.commands[name]++
		p.mu.Unlock()
		switch m := Mute(p.mute.Load()); {
		case m == Everything, m == Subscribers && c.subscriber.Load():
			c.deafened.Store(true)
		case m == Subscribing && c.subscriber.Load():
			return
		}
		if c.deafened.Load() {
			continue
		}
		if _, err := c.redis.Write(raw); err != nil {
			return
		}
	}
}

// down carries what Redis sends.
func (p *ProxyServer) down(c *proxied) {
	defer p.drop(c)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.redis.Read(buf)
		if err != nil {
			return
		}
		subscriber := c.subscriber.Load()
		if m := Mute(p.mute.Load()); m == Everything || m == Subscribers && subscriber || m == Replies && !subscriber {
			c.muted.Store(true)
		}
		if c.muted.Load() {
			continue
		}
		if _, err := c.client.Write(buf[:n]); err != nil {
			return
		}
	}
}

// readCommand reads an array of bulk strings, the one form in which clients send commands.
func readCommand(in *bufio.Reader) (raw []byte, name string, err error) {
	var all bytes.Buffer
	line := func() (int, error) {
		text, err := in.ReadString('\n')
		if err != nil {
			return 0, err
		}
		all.WriteString(text)
		return strconv.Atoi(strings.TrimSpace(text[1:]))
	}
	args, err := line()
	for i := 0; i < args && err == nil; i++ {
		var size int
		if size, err = line(); err != nil {
			break
		}
		at := all.Len()
		if _, err = io.CopyN(&all, in, int64(size)+2); err == nil && i == 0 {
			name = strings.ToLower(string(all.Bytes()[at : at+size]))
		}
	}
	return all.Bytes(), name, err
}
