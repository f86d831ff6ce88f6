// Package hubactor is one hub as a tree of actors: a supervisor over a listener that runs the user's callbacks, the
// connections, the registry that fans broadcasts out, and the link to Redis.
//
// An actor that wants a hub of its own spawns Props as a child and drives it with the messages of package actors; the
// facade, package wskit, does the same on behalf of function calls. One that wants a hub for each of many names spawns Tenants.
package hubactor

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// NoQueue, as a buffer size, means no queue at all; 0 means the default.
const NoQueue = -1

// Config is how a hub is made. Its zero value is a hub with every default, no callbacks and no Redis.
type Config struct {
	// BroadcastBuf and RegisterBuf bound what is queued at the hub: broadcasts, and registrations and (apart)
	// unregistrations. 0: actors.DefaultBroadcastBuf (256), actors.DefaultRegisterBuf (64). Negative: NoQueue.
	BroadcastBuf, RegisterBuf int
	// ChannelTimeout is how long an operation waits for a place in those queues. <= 0: actors.DefaultChannelTimeout (5 s).
	ChannelTimeout time.Duration
	// MaxSubscribers bounds how many subscribers Accept and AcceptSSE let in. <= 0: no bound. What is registered by other
	// ways counts, and is not refused.
	MaxSubscribers int
	// MaxTopics bounds how many topics one subscriber may be in, but for its user's own. <= 0: actors.DefaultMaxTopics (128).
	MaxTopics int
	// MaxPerUser bounds how many connections one user may have in this hub.
	MaxPerUser actors.UserLimit
	// UserLockout is how long a user is kept out whom actors.DisconnectUser has disconnected. 0: actors.DefaultUserLockout (10 s);
	// negative: not at all.
	UserLockout time.Duration
	// History is how much is kept of a topic, the hub itself being one, for who comes back. nil: nothing.
	History *actors.History
	// DrainTimeout bounds how long a stop takes. <= 0: actors.DefaultDrainTimeout (5 s), and DrainSpread.
	DrainTimeout time.Duration
	// DrainSpread is how long a hub that gets actors.Shutdown takes to tell its subscribers, one after the other in random order. It ends 1 s
	// before the drain timeout, or a quarter of that if it is less. Meanwhile nobody is registered, and all else goes on. <= 0: all are told at once.
	DrainSpread time.Duration
	// ReadyDelay is how long wskit.Serve waits between actors.Unready and what follows. <= 0: not at all.
	ReadyDelay time.Duration
	// MaxAge is how long a connection may last, and a random part of MaxAgeJitter longer; then it is told to come back. <= 0: for ever.
	MaxAge, MaxAgeJitter time.Duration

	// The callbacks run on goroutines of the hub's. They may block, and call the hub: that delays other callbacks and no
	// message to anybody who is connected. A panic ends that call and is reported. Any of them may be nil.
	//
	// OnConnect and OnDisconnect run in the order of what they are about, CallbackConcurrency at a time, those of one
	// subscriber one after the other. When more than 1024 wait, and have for 250 ms, those who are gone before their OnConnect began are passed over.
	OnConnect    func(actors.Subscriber)
	OnDisconnect func(actors.Subscriber)
	// OnDisconnectReason is OnDisconnect that is told why, and the close code (see actors.Disconnected). Of both it comes second, right after.
	OnDisconnectReason func(s actors.Subscriber, reason actors.Reason, code int)
	// CallbackConcurrency is how many calls of OnConnect and OnDisconnect run at a time. < 1: one, the default.
	CallbackConcurrency int
	// OnError runs one call at a time, beside the others.
	OnError func(op string, err error)
	// OnDrop is told of each message that was dropped because a subscriber's queue was full, one call at a time, beside the
	// others. While more than 1024 of these calls wait it is not called; how often is told to OnError, as an
	// *actors.MissedDropsError.
	OnDrop func(s actors.Subscriber, data []byte)
	// OnRedis is told that the link to Redis is up, for the first time or again, or lost. It runs one call at a time, in that order, beside
	// the others but OnError.
	OnRedis func(up bool)
	// OnTimeout is told that an operation ("register", "unregister", "broadcast", "join", "leave") gave up waiting. For operations sent
	// as messages it runs in the listener, for function calls on the caller's goroutine before the call returns.
	OnTimeout func(op string)
	// OnRefuse is told of each request that Accept and the like do not let in, on a goroutine of the hub's for which that request waits.
	OnRefuse func(r *http.Request, status int, err error)

	// Events gets the lifecycle events (actors.Connected, Disconnected, Dropped, Failed, RedisChanged, Subscribed), beside the callbacks. Their
	// sender is the hub's PID.
	Events *actor.PID
	// Received gets what clients send, as *actors.Received, beside their handlers.
	Received *actor.PID
	// TracerProvider has the facade make spans, see WithTracerProvider there. nil: none.
	TracerProvider trace.TracerProvider
	// Logger gets warnings and errors, on a goroutine of its own. nil: slog.Default().
	Logger *slog.Logger
	// Redis makes the spec of the child that links the hub to Redis, as redisactor.Spec does; nil: no Redis.
	Redis func(*actors.Link) actors.Spec
	// MeterProvider exports the hub's Stats as OpenTelemetry metrics, summed over all hubs with this provider and TenantClass, which is the
	// attribute wskit.tenant.class ("": there is none). It is called on goroutines of the hub's, soon after its start and soon after its
	// end. nil: it is not exported.
	MeterProvider metric.MeterProvider
	TenantClass   string
	// Shut makes the hub wait for actors.Open before it applies any operation.
	Shut bool

	// Hooks, SSEHijack and SSERefusalStatus are for the facade, which serves connections: see its options of these names. With a
	// TopicHistory and without a History there is the default one.
	actors.Hooks
	SSEHijack, SSERefusalStatus bool

	tenancy *tenancy // nil: it is no tenant
}

func (c Config) withDefaults() Config {
	c.BroadcastBuf = places(c.BroadcastBuf, actors.DefaultBroadcastBuf)
	c.RegisterBuf = places(c.RegisterBuf, actors.DefaultRegisterBuf)
	if c.ChannelTimeout <= 0 {
		c.ChannelTimeout = actors.DefaultChannelTimeout
	}
	const longest = 365 * 24 * time.Hour // adding to it must not overflow
	for _, d := range []*time.Duration{&c.DrainTimeout, &c.DrainSpread, &c.ReadyDelay, &c.MaxAge, &c.MaxAgeJitter} {
		*d = min(max(*d, 0), longest)
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = actors.DefaultDrainTimeout + c.DrainSpread
	}
	if c.TopicHistory != nil && c.History == nil {
		c.History = &actors.History{Messages: actors.DefaultHistoryMessages}
	}
	if c.History != nil {
		h := c.History.WithDefaults()
		c.History = &h
	}
	if c.UserLockout == 0 {
		c.UserLockout = actors.DefaultUserLockout
	}
	c.Logger = actors.NewLog(c.Logger)
	return c
}

func places(n, standard int) int {
	switch {
	case n == 0:
		return standard
	case n < 0:
		return 0
	}
	return n
}
