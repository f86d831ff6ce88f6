package actors

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"go.opentelemetry.io/otel/trace"
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
	Pools                                *Pools          // for connections
	Life                                 context.Context // ends when the hub has ended; its cause is an ErrHubFailed if it was given up
	Done                                 <-chan struct{} // closed then
	Log                                  *slog.Logger
	Patience                             time.Duration // the channel timeout
	DrainSpread, ReadyDelay              time.Duration
	Leaving                              atomic.Bool // it is to be shut down, and says so
	OnTimeout                            func(op string)
	OnRefuse                             func(r *http.Request, status int, err error)
	OnDrop                               func(Subscriber, *Frame) // for Outbox.OnDrop
	Tracer                               trace.Tracer             // nil: no spans
	MaxTopics                            int                      // of one subscriber; 0: DefaultMaxTopics
	MaxPerUser                           UserLimit
	Lockout                              time.Duration // after DisconnectUser
	Received                             *actor.PID    // gets what clients send; may be nil
	History                              *History      // how much is kept of a topic, defaults included; nil: of none
	Book                                 LogBook
	Counters                             Counters
	Hooks                                Hooks
	SSEHijack, SSERefusalStatus          bool
}

// Ready reports whether the hub runs, and is not to be shut down.
func (l *Link) Ready() bool { return l.Gate.Receives() && !l.Leaving.Load() }

// Err is nil while the hub runs and after an orderly end, else what it was given up for, an ErrHubFailed.
func (l *Link) Err() error {
	if err := context.Cause(l.Life); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
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
	reply := make(chan *Link, 1)
	if l := resolve(system, pid, &Describe{Reply: reply}, reply); l != nil {
		return l
	}
	life, end := context.WithCancel(context.Background())
	end()
	gate := NewGate(0, 0, 0, func(Operation) {})
	gate.Stop()
	l := &Link{
		Hub: pid, Listener: pid, Connections: pid, Registry: pid, System: system, Gate: gate, Goroutines: NewRunner(0, false),
		Life: life, Done: life.Done(), Log: slog.New(slog.DiscardHandler), Patience: DefaultChannelTimeout, Adoptions: new(Adoptions), Pools: SharedPools(),
	}
	l.Adoptions.End()
	l.Roll = NewRoll(l, 0, 1)
	return l
}
