package actors

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// System is the actor system that every hub of the process shares unless it was given another: protoactor has no way to take
// one down again.
var System = sync.OnceValue(func() *actor.ActorSystem {
	return NewSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }),
		// The throttle of what nobody reads is a goroutine that sleeps for this long after a dead letter.
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
})

// NewSystem is actor.NewActorSystem for any machine: on one of 32 bits protoactor's own panics when it is to find half of all
// names. It takes the remainder of a name's hash as an int, which may be negative, to pick one of its 1024 maps. With one map,
// itself 32 maps with a lock each, there is nothing to pick; and a system takes 2.8 MB less.
func NewSystem(options ...actor.ConfigOption) *actor.ActorSystem {
	system := actor.NewActorSystem(options...)
	names := system.ProcessRegistry.LocalPIDs
	one := slices.Clone(names.LocalPIDs[:1])
	for _, m := range names.LocalPIDs[1:] {
		m.IterCb(one[0].Set) // what the system is made of: "deadletter", "eventstream"
	}
	names.LocalPIDs = one
	return system
}
