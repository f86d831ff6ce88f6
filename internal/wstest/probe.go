package wstest

import "strings"

// Closed is what a Probe writes down when it is closed.
const Closed = "<closed>"

// Probe is a foreign subscriber that writes down each message, and Closed. The zero Probe takes everything. Its fields are set
// before it is registered.
type Probe struct {
	Journal
	OnSend  func(data string) bool // what Send does after that; its result is Send's
	OnClose func()                 // what Close does after that
}

// Send implements wskit.Subscriber.
func (p *Probe) Send(data []byte) bool {
	p.Add(string(data))
	return p.OnSend == nil || p.OnSend(string(data))
}

// Close implements wskit.Subscriber.
func (p *Probe) Close() {
	p.Add(Closed)
	if p.OnClose != nil {
		p.OnClose()
	}
}

// Text is all that was written down, with spaces in between.
func (p *Probe) Text() string { return strings.Join(p.All(), " ") }
