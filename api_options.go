package wskit

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/redisactor"
)

// HubOption configures a Hub. Options are for NewHub alone; applied later they race with the hub.
type HubOption func(*Hub)

// WithRedis shares broadcasts with every hub on the same channel of the same Redis. nil or "": no Redis. All hubs on one
// client share one subscriber connection. The client stays the caller's, to be closed after the hub has stopped.
func WithRedis(client *redis.Client, channel string) HubOption {
	return func(h *Hub) {
		h.cfg.Redis = nil
		if client != nil && channel != "" {
			h.cfg.Redis = redisactor.Spec(client, channel)
		}
	}
}

// WithBroadcastBuf sets how many broadcasts queue at the hub. Default 256; 0: none; negative: the default.
func WithBroadcastBuf(n int) HubOption { return func(h *Hub) { h.cfg.BroadcastBuf = bufSize(n) } }

// WithRegisterBuf sets how many registrations, and how many unregistrations, queue at the hub. Default 64; 0: none;
// negative: the default.
func WithRegisterBuf(n int) HubOption { return func(h *Hub) { h.cfg.RegisterBuf = bufSize(n) } }

// WithChannelTimeout sets how long Register, Unregister and Broadcast wait for a place in those queues. Default 5 s; <= 0:
// the default.
func WithChannelTimeout(d time.Duration) HubOption { return func(h *Hub) { h.cfg.ChannelTimeout = d } }

// WithDrainTimeout bounds how long Run takes to return after its context has ended. Default 5 s, and WithDrainSpread's window; <= 0: the
// default.
func WithDrainTimeout(d time.Duration) HubOption { return func(h *Hub) { h.cfg.DrainTimeout = d } }

// WithMaxSubscribers bounds how many subscribers Accept and AcceptSSE let in: past it Accept answers 503 with Retry-After, and
// AcceptSSE has the client come back (see WithSSERefusalStatus). Default, and <= 0: no bound. What is registered with Register counts, and is not refused.
func WithMaxSubscribers(n int) HubOption { return func(h *Hub) { h.cfg.MaxSubscribers = n } }

// WithSSEHijack has AcceptSSE take HTTP/1.x connections over from net/http, as a WebSocket upgrade does. Such a stream takes
// less than half of the memory of one through net/http, and some 15% less CPU, or 60% less in bursts. Default: off.
//
// net/http counts such a connection as hijacked: Server.Shutdown does not wait for it, Server.Close does not close it (the
// hub's end does, as it ends every stream), and ConnState reports StateHijacked. It serves no other request: the stream ends
// with the connection. r.Context() does not end when the client leaves, but when the handler returns; if it ends for another
// reason, so does the stream. A client that sends more than 64 KB is cut off, with an error. When the hub has ended a stream,
// AcceptSSE waits up to 1 s for the client to close its end.
//
// It is done for GET and the like, without a body, on the server's own ResponseWriter or one that implements http.Hijacker
// itself. What such a writer adds in WriteHeader or does to what is written is passed over; the headers that are set when
// AcceptSSE is called are sent, and nothing may have been written before. All else goes through net/http as ever: HTTP/2,
// TLS, HEAD, other wrappers, and responses with a Content-Encoding, Content-Length, Trailer or Transfer-Encoding.
func WithSSEHijack() HubOption { return func(h *Hub) { h.cfg.SSEHijack = true } }

// WithSSERefusalStatus has AcceptSSE answer 503 when the hub is full, drains or did not get round to the registration. Default:
// off; the answer is 200 then, with a stream that ends at once and tells the client to come back in 2 to 5 s, by "retry:". From
// 503, as from any status but 200, an EventSource gathers that it is to give up for good (WHATWG HTML, section 9.2.3), so with this
// option pages have to open another. A balancer or a monitor sees from it that this instance is full.
func WithSSERefusalStatus() HubOption { return func(h *Hub) { h.cfg.SSERefusalStatus = true } }

// WithOnTimeout sets what is called when an operation ("register", "unregister", "broadcast", "join", "leave") gave up waiting. It runs on
// the goroutine whose call timed out, before that call returns; calls can overlap. A panic in it is reported and goes no further.
func WithOnTimeout(fn func(op string)) HubOption { return func(h *Hub) { h.cfg.OnTimeout = fn } }

// WithOnConnect sets what is called when a subscriber was registered. What it sends to the subscriber arrives before any
// broadcast; broadcasts made meanwhile wait in the subscriber's queue, within its bound, and what the subscriber sends is not
// read before it has returned.
//
// The callbacks WithOnConnect and WithOnDisconnect run one at a time (see WithCallbackConcurrency), on goroutines of the hub's.
// They may call the hub, and block: that delays other such callbacks, and no message to anyone already connected. A panic costs
// that call and is reported. When more than 1024 of these calls wait, the first of them for 250 ms, those subscribers are passed
// over who have gone before their OnConnect began: neither is called for them.
func WithOnConnect(fn func(Subscriber)) HubOption {
	return func(h *Hub) { h.cfg.OnConnect = subscriberFunc(fn) }
}

// WithOnDisconnect sets what is called once for each subscriber that OnConnect was called for, when it was unregistered,
// its connection ended or the hub stopped; when it is called, no message of that subscriber is being handled any more. It is not called for subscribers still connected when a callback before it
// blocks beyond the drain timeout and the process ends.
func WithOnDisconnect(fn func(Subscriber)) HubOption {
	return func(h *Hub) { h.cfg.OnDisconnect = subscriberFunc(fn) }
}

// WithCallbackConcurrency sets how many calls of OnConnect and OnDisconnect may run at a time. Those of one subscriber stay one after
// the other. Default, and < 1: one at a time, in the order of registrations.
func WithCallbackConcurrency(n int) HubOption {
	return func(h *Hub) { h.cfg.CallbackConcurrency = n }
}

// WithOnError sets what is told of trouble that no caller can be told of: panics (err is a *PanicError and op the place,
// such as "OnConnect"), Redis (op is "redis"; errors.Is(err, ErrRedisGap) after an interruption), and drops that OnDrop was not
// called for (a *MissedDropsError). Its calls come one at a time, beside other callbacks.
func WithOnError(fn func(op string, err error)) HubOption { return func(h *Hub) { h.cfg.OnError = fn } }

// WithOnDrop sets what is called with each message that a subscriber's queue had no room for. Its calls come one at a time, beside
// other callbacks; while more than 1024 wait, it is not called for what is dropped meanwhile, and WithOnError's callback is told
// how much that was. data is the callee's own.
func WithOnDrop(fn func(sub Subscriber, data []byte)) HubOption {
	return func(h *Hub) {
		h.cfg.OnDrop = nil
		if fn != nil {
			h.cfg.OnDrop = func(s actors.Subscriber, data []byte) { fn(s, data) }
		}
	}
}

// WithOnMessage sets what is called with each message that a WebSocket client sends while its ReadPump or Serve runs: one at a
// time for a client, on whatever goroutine, and several at a time for several clients. Blocking delays that client's next
// message, and a panic closes its connection with 1011. data is the callee's own.
func WithOnMessage(fn func(c *Client, data []byte)) HubOption {
	return func(h *Hub) {
		h.cfg.OnMessage = nil
		if fn != nil {
			h.cfg.OnMessage = func(s actors.Subscriber, data []byte) { fn(s.(*Client), data) }
		}
	}
}

// WithLogger sets where the hub logs: crashes at Error with their stack; ignored calls, lost links and what needs a look at Warn.
// nil: nowhere. Default: slog.Default(), at Warn and above. The handler is called on a goroutine of its own, one record at a time;
// it may block, panic, and call the hub. While more than 1024 records wait, further ones are counted and left out. docs/logs.md lists lines and keys.
func WithLogger(log *slog.Logger) HubOption {
	return func(h *Hub) {
		if h.cfg.Logger = log; log == nil {
			h.cfg.Logger = slog.New(slog.DiscardHandler)
		}
	}
}

// WithActorSystem spawns the hub in an actor system of the caller's. nil: the one that all hubs share, the default.
// It is best made with actors.NewSystem: protoactor's own panics on machines of 32 bits, and takes 2.8 MB more.
func WithActorSystem(system *actor.ActorSystem) HubOption { return func(h *Hub) { h.system = system } }

// WithName names the hub's actor. Names are unique in an actor system: to one that is taken a number is appended. "": the
// default, "wskit-" and a number.
func WithName(name string) HubOption { return func(h *Hub) { h.name = name } }

func subscriberFunc(fn func(Subscriber)) func(actors.Subscriber) {
	if fn == nil {
		return nil
	}
	return func(s actors.Subscriber) { fn(s) }
}

// bufSize maps a buffer option to hubactor's terms, in which 0 is the default.
func bufSize(n int) int {
	switch {
	case n < 0:
		return 0
	case n == 0:
		return hubactor.NoQueue
	}
	return n
}
