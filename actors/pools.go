package actors

import "sync"

// Pools is what the connections of a hub run on. Each hub has its own: where one has more to do than there are processors for, the
// others get their share of these all the same. Idle, they have no goroutine.
type Pools struct {
	Connections *Pool // for actors that write without waiting for the peer

	once    sync.Once
	streams *Elastic // many a hub has none
}

// NewPools makes pools of as many goroutines as there are processors.
func NewPools() *Pools { return &Pools{Connections: NewPool(0)} }

// Streams is for what may wait for the peer.
func (p *Pools) Streams() *Elastic {
	p.once.Do(func() { p.streams = NewElastic(0) })
	return p.streams
}

// SharedPools is for connections that are no hub's.
var SharedPools = sync.OnceValue(NewPools)

// Settle lets connections that keep up take and write what was posted to their outboxes: so many messages to each, and bytes of payload. It
// waits for the pool of connections, whose actors do not block; for that of streams, where those write that may; for the first again,
// whose actors have the next batch for the second, and so on until there can be no more. For one that does not keep up it waits
// 20 ms, some five times, and then not again before it does.
func (p *Pools) Settle(messages, bytes int) {
	turns := 1 + messages/LeastTurn + 2*bytes/maxGather // two batches in a row are more than maxGather
	streams := p.Streams()
	began := streams.now()
	p.Connections.Settle()
	for range turns {
		jobs := streams.settleSince(began)
		p.Connections.Settle()
		if streams.scheduled() == jobs { // what they wrote was the last there was to write
			return
		}
	}
}
