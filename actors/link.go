package actors

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// PublishTimeout is how long a Publish waits for Redis before the message is delivered locally.
const PublishTimeout = 2 * time.Second

// Link is what the outside needs of a hub in this process. Its fields are set once, before anybody sees it.
type Link struct {
	Hub, Listener, Connections, Registry *actor.PID
	Redis                                *actor.PID // nil without Redis
	System                               *actor.ActorSystem
	Roll                                 *Roll
	Greets                               bool // there is an OnConnect, which comes before all else
	Gate                                 *Gate
	Adoptions                            *Adoptions
	Goroutines                           *Runner         // for what may block; closed when the hub has ended
	Life                                 context.Context // ends when the hub has ended
	Done                                 <-chan struct{} // closed then
	Log                                  *slog.Logger
	Patience                             time.Duration // the channel timeout
	OnTimeout                            func(op string)
	OnDrop                               func(Subscriber, *Frame) // for Outbox.OnDrop
	MaxTopics                            int                      // of one subscriber; 0: DefaultMaxTopics
	MaxPerUser                           UserLimit
	Lockout                              time.Duration // after DisconnectUser
	Received                             *actor.PID    // gets what clients send; may be nil
	History                              *History      // how much is kept of a topic, defaults included; nil: of none
	Book                                 LogBook
}

// LogBook says where the log of a hub stands, by what its registry has sent out. It may be used from any goroutine.
type LogBook struct {
	mu       sync.Mutex
	at       Position
	known    uint64
	resuming int
}

// Known is a position that all has that this hub's program was told Redis has taken, and all that came from there: what is published from
// now on has a higher one. SetKnown is for the child that links the hub to Redis, before it tells.
func (l *LogBook) Known() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known
}

func (l *LogBook) SetKnown(n uint64) {
	l.mu.Lock()
	l.known = n
	l.mu.Unlock()
}

// At is where the log stands: what comes before has been handed to the Outboxes of those it is for.
func (l *LogBook) At() Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// SetAt is the registry's.
func (l *LogBook) SetAt(p Position) {
	l.mu.Lock()
	l.at = p
	l.mu.Unlock()
}

// MaxResuming is how many subscribers may wait for Redis to go on from their cursor before others are told to come back later.
const MaxResuming = 1 << 14

// Resuming is how many do. SetResuming is the registry's.
func (l *LogBook) Resuming() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.resuming
}

func (l *LogBook) SetResuming(n int) {
	l.mu.Lock()
	l.resuming = n
	l.mu.Unlock()
}

// TopicLimit is how many topics one subscriber may be in.
func (l *Link) TopicLimit() int {
	if l.MaxTopics <= 0 {
		return DefaultMaxTopics
	}
	return l.MaxTopics
}

// CheckTopics reports what is wrong with names as the topics that one subscriber is to be in from its first moment: ErrInvalidTopic or
// ErrTooManyTopics. A name that comes twice counts twice.
func (l *Link) CheckTopics(names []string) error {
	if len(names) > l.TopicLimit() {
		return ErrTooManyTopics
	}
	for _, name := range names {
		if err := CheckTopic(name); err != nil {
			return err
		}
	}
	return nil
}

// ResolveLink asks the hub actor at pid for its Link. A hub that is not there, or does not answer for the channel timeout, is
// as good as stopped, and so is the Link of it.
func ResolveLink(system *actor.ActorSystem, pid *actor.PID) *Link {
	if _, ok := system.ProcessRegistry.Get(pid); ok {
		reply := make(chan *Link, 1)
		system.Root.Send(pid, &Describe{Reply: reply})
		limit := time.NewTimer(DefaultChannelTimeout)
		defer limit.Stop()
		select {
		case l := <-reply:
			return l
		case <-limit.C:
		}
	}
	life, end := context.WithCancel(context.Background())
	end()
	gate := NewGate(0, 0, 0, func(Operation) {})
	gate.Stop()
	l := &Link{
		Hub: pid, Listener: pid, Connections: pid, Registry: pid, System: system, Gate: gate, Goroutines: NewRunner(0, false),
		Life: life, Done: life.Done(), Log: slog.New(slog.DiscardHandler), Patience: DefaultChannelTimeout, Adoptions: new(Adoptions),
	}
	l.Adoptions.End()
	l.Roll = NewRoll(l, 0, 1)
	return l
}
