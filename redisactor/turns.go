package redisactor

import (
	"sync/atomic"

	"github.com/wskit/wskit/actors"
)

// turns is the dispatcher of a hub's redis actor. From when that has its link on it runs on goroutines that all hubs of the Redis client
// share: each that kept one of its own would be a stack for every hub that has just had a message.
type turns struct{ shared atomic.Pointer[actors.Runner] }

func (t *turns) Schedule(fn func()) {
	if r := t.shared.Load(); r != nil {
		r.Schedule(fn)
		return
	}
	go fn()
}

// Throughput is how many messages a mailbox handles before it lets others run.
func (*turns) Throughput() int { return (*actors.Runner)(nil).Throughput() }
