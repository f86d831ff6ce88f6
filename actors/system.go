package actors

import (
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// System is the actor system that every hub of the process shares unless it was given another: a system is 3 MB of
// heap, and protoactor has no way to take one down again.
var System = sync.OnceValue(func() *actor.ActorSystem {
	return actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		// The throttle of what nobody reads is a goroutine that sleeps for this long after a dead letter.
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
})

// Connections is the pool that actors run on which write without waiting for the peer, one for the process.
var Connections = sync.OnceValue(func() *Pool { return NewPool(0) })

// Streams is the pool of those that write through net/http, which may wait for the peer.
var Streams = sync.OnceValue(func() *Elastic { return NewElastic(0) })
