package actors

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// TenantsLink is what the outside needs of tenants in this process. Its fields are set once, before anybody sees it.
type TenantsLink struct {
	PID        *actor.PID
	System     *actor.ActorSystem
	Log        *slog.Logger
	ReadyDelay time.Duration
	Leaving    atomic.Bool     // they are to be shut down, and say so
	Ending     <-chan struct{} // closed when they begin to end: no hub is made any more
	Done       <-chan struct{} // closed when all hubs have ended, though user code may keep some of their actors
}

// ResolveTenants asks the tenants' actor at pid for its link. Tenants that are not there, or do not answer for the channel timeout, are as
// good as ended, and so is the link of them.
func ResolveTenants(system *actor.ActorSystem, pid *actor.PID) *TenantsLink {
	reply := make(chan *TenantsLink, 1)
	if l := resolve(system, pid, &DescribeTenants{Reply: reply}, reply); l != nil {
		return l
	}
	over := make(chan struct{})
	close(over)
	l := &TenantsLink{PID: pid, System: system, Log: slog.New(slog.DiscardHandler), Ending: over, Done: over}
	l.Leaving.Store(true)
	return l
}

// resolve has the actor at pid asked, and returns its reply; nil: there is none.
func resolve[T any](system *actor.ActorSystem, pid *actor.PID, ask any, reply <-chan *T) *T {
	if _, ok := system.ProcessRegistry.Get(pid); !ok {
		return nil
	}
	system.Root.Send(pid, ask)
	limit := time.NewTimer(DefaultChannelTimeout)
	defer limit.Stop()
	select {
	case got := <-reply:
		return got
	case <-limit.C:
		return nil
	}
}
