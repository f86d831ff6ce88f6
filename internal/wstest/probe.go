package wstest

import (
	"strings"
	"sync"
)

// Closed is what a Probe writes down when it is closed.
const Closed = "<closed>"

// Probe is a foreign subscriber that writes down each message, and Closed. The zero Probe takes everything.
type Probe struct {
	Journal

	mu      sync.Mutex
	onSend  func(data string) bool
	onClose func()
}

// OnSend sets what Send does after the message was written down; its result is Send's.
func (p *Probe) OnSend(fn func(data string) bool) *Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onSend = fn
	return p
}

// OnClose sets what Close does after that was written down.
func (p *Probe) OnClose(fn func()) *Probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.onClose = fn
	return p
}

// Send implements wskit.Subscriber.
func (p *Probe) Send(data []byte) bool {
	p.Add(string(data))
	p.mu.Lock()
	fn := p.onSend
	p.mu.Unlock()
	return fn == nil || fn(string(data))
}

// Close implements wskit.Subscriber.
func (p *Probe) Close() {
	p.Add(Closed)
	p.mu.Lock()
	fn := p.onClose
	p.mu.Unlock()
	if fn != nil {
		fn()
	}
}

// Text is all that was written down, with spaces in between.
func (p *Probe) Text() string { return strings.Join(p.All(), " ") }
