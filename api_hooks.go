package wskit

import (
	"net/http"

	"github.com/wskit/wskit/actors"
)

// DisconnectReason says why a subscriber is none any more. Its String is what logs call it. The set is closed; a later version may add to it.
type DisconnectReason = actors.Reason

// The reasons, and the close codes that go with them unless the program gives others.
const (
	DisconnectClosed       = actors.ReasonClosed       // 1000: Close was called on the client
	DisconnectUnregistered = actors.ReasonUnregistered // 1000: Unregister was called
	DisconnectShutdown     = actors.ReasonShutdown     // 1001: the hub has stopped
	DisconnectContext      = actors.ReasonContext      // 1001: the context that it was made with has ended
	DisconnectPeer         = actors.ReasonPeer         // the peer's code, 1005 if it gave none; 1006: it went away; 1002, 1007, 1009: it broke the protocol or a limit
	DisconnectWrite        = actors.ReasonWrite        // 1006: writing failed, or took longer than the write wait
	DisconnectPing         = actors.ReasonPing         // 1011: a ping was not answered within the write wait
	DisconnectCrashed      = actors.ReasonCrashed      // 1011: user code of this connection's panicked or returned an error, or a bug
	DisconnectRefused      = actors.ReasonRefused      // 1013: the hub had no place for it in time, or its upgrade failed
	DisconnectSlow         = actors.ReasonSlow         // 1013: it did not keep up, and its Overflow is Disconnect
	DisconnectUnserved     = actors.ReasonUnserved     // 1011: it was accepted, and nobody ran its pumps
	DisconnectByProgram    = actors.ReasonDisconnected // the program's code: CloseWith, CloseError or User.Disconnect
	DisconnectReplaced     = actors.ReasonReplaced     // 4002: its user has opened more connections than may be (WithMaxPerUser)
	DisconnectExpired      = actors.ReasonExpired      // 4001: its Identity has expired
	DisconnectRate         = actors.ReasonRate         // 1008: it sent more than WithMessageRate allows
	DisconnectRestart      = actors.ReasonRestart      // 1012: the hub is stopping, and its drain is spread (WithDrainSpread)
	DisconnectMaxAge       = actors.ReasonMaxAge       // 1012: it has lasted as long as it may (WithMaxAge)
)

// WithOnDisconnectReason is WithOnDisconnect that is told why, and with what close code (RFC 6455, section 7.4): the one that came first,
// as the peer sent it or is told it, 1006 if the connection broke without; of an SSE stream, and a Subscriber of the program's own, 0.
// It runs when and as OnDisconnect does; if there are both it comes second, right after that has returned, whether or not that panicked.
func WithOnDisconnectReason(fn func(sub Subscriber, reason DisconnectReason, code int)) HubOption {
	return func(h *Hub) {
		h.cfg.OnDisconnectReason = nil
		if fn != nil {
			h.cfg.OnDisconnectReason = func(s actors.Subscriber, reason actors.Reason, code int) { fn(s, reason, code) }
		}
	}
}

// WithOnRedis sets what is told whether the hub's link to Redis is up: true when it is for the first time, false when it is lost, that is,
// nothing comes from other instances or what is published here does not reach them, true when it is back; each change once, in order. The
// log has a line for each loss and each return. A hub that calls SubscribeToRedis is up when Redis has confirmed the subscription, one that
// does not when Redis has taken a message. The hub's end is no change. The calls run one at a time, with those of WithOnError; blocking
// delays these, and a panic costs that call and is reported.
func WithOnRedis(fn func(up bool)) HubOption { return func(h *Hub) { h.cfg.OnRedis = fn } }

// WithOnRefuse sets what is told of each request that Accept, ServeWS, AcceptSSE, ServeSSE and the handlers do not let in, once its answer
// has been written: status is the one sent, and err what Accept and the like return. A stream that is put off was answered 200 (see
// WithSSERefusalStatus), a WebSocket that found no place in the hub's queue 101, and was closed with 1013. It is not told of who is
// locked out or cut off later.
//
// It runs on a goroutine of the hub's, several calls at a time, while the request's handler waits for it: blocking holds back that answer
// and nothing else. r is the handler's, and not to be used any more when the call has returned. A panic costs the call and is reported.
func WithOnRefuse(fn func(r *http.Request, status int, err error)) HubOption {
	return func(h *Hub) { h.cfg.OnRefuse = fn }
}
