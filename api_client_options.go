package wskit

import (
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"github.com/wskit/wskit/sseactor"
)

// DefaultKeepAlive is how long a stream is silent before a comment is sent, see WithKeepAlive: 15 s.
const DefaultKeepAlive = sseactor.KeepAlive

// ClientConfig is what the ClientOptions of v0.3 set. Further ones set what it has no fields for.
type ClientConfig struct {
	WriteWait, PingInterval time.Duration
	MaxMessageSize          int64
	SendBufSize             int
}

// ClientOption configures a Client, or an SSEClient: one that says nothing of either works on both, and one that does not matter
// to the other is ignored there. A nil option is skipped.
type ClientOption func(*ClientConfig)

// WithWriteWait sets how long writing a message or ping may take, and how long a pong is waited for; on a stream, how long writing
// an event may take, or each 64 KB of a larger one. Default 10 s; <= 0: the default.
func WithWriteWait(d time.Duration) ClientOption { return func(c *ClientConfig) { c.WriteWait = d } }

// WithPingInterval sets the time between two pings of a WebSocket. Default 30 s; <= 0: the default.
func WithPingInterval(d time.Duration) ClientOption {
	return func(c *ClientConfig) { c.PingInterval = d }
}

// WithMaxMessageSize sets how many bytes an incoming message of a WebSocket may have; one that has more closes the connection with
// 1009. Default 512; 0: the default; negative: no limit.
func WithMaxMessageSize(n int64) ClientOption { return func(c *ClientConfig) { c.MaxMessageSize = n } }

// WithSendBufSize sets how many messages wait for the peer before the newest is dropped. Default 256; <= 0: the default.
func WithSendBufSize(n int) ClientOption { return func(c *ClientConfig) { c.SendBufSize = n } }

// Overflow is what becomes of a message for which a client's queue has no room.
type Overflow = actors.Overflow

// The policies of WithOverflow. Whatever is dropped is counted and reported, see WithOnDrop.
const (
	DropNewest = actors.DropNewest // the message is dropped; the default
	DropOldest = actors.DropOldest // those that have waited longest are dropped until it fits
	Disconnect = actors.Disconnect // the client is closed with 1013, "slow consumer", a stream ends; its queue is dropped
)

// WithOverflow sets what becomes of messages for which the queue has no room. Default DropNewest; on a hub WithHistory, Disconnect.
func WithOverflow(policy Overflow) ClientOption {
	return setting(func(s *settings) { s.queue.Overflow, s.chosen = policy, true })
}

// WithSendBufBytes bounds the queue in bytes too, beside WithSendBufSize. Default, and <= 0: no such bound. A single
// message that is longer never fits.
func WithSendBufBytes(n int) ClientOption {
	return setting(func(s *settings) { s.queue.Bytes = max(n, 0) })
}

// WithAcceptOptions sets how a request is upgraded to a WebSocket where no such options are given: by WebSocketHandler, and by
// Accept and ServeWS with nil for them. Default, and nil: as there. They must not be changed afterwards.
func WithAcceptOptions(opts *websocket.AcceptOptions) ClientOption {
	return setting(func(s *settings) { s.accept = opts })
}

// WithRetry has a stream tell its EventSource, with its first bytes, how long to wait after a lost connection before it comes back;
// in whole milliseconds, of which it is 1 at least. Default, and <= 0: it is not told, and waits for what its browser has decided on, 3 s mostly.
// A WebSocket has no such thing.
func WithRetry(d time.Duration) ClientOption { return setting(func(s *settings) { s.retry = d }) }

// WithKeepAlive sets how long a stream is silent before a comment is sent, so that proxies do not take it for dead, and a client
// that has gone is found out. Default 15 s; 0: the default; negative: never. A WebSocket is pinged instead, see WithPingInterval.
func WithKeepAlive(d time.Duration) ClientOption {
	return setting(func(s *settings) { s.keepAlive = d })
}

// WithEventNames has a stream send the type of an event as its name, so that a page hears of it by addEventListener(type, ...) in
// place of onmessage. The type is the "type" of a message that is a JSON object, as Event is, if that is a string, not empty and
// without CR, LF or NUL; any other message goes out without a name. The data is the whole message in any case. An EventSource has
// events of its own named "open" and "error". A WebSocket's messages have no names.
func WithEventNames() ClientOption { return setting(func(s *settings) { s.eventNames = true }) }

// settings is what options come to.
type settings struct {
	ws         *clientactor.Config
	sse        *sseactor.Config
	queue      actors.Bound
	accept     *websocket.AcceptOptions
	retry      time.Duration
	keepAlive  time.Duration
	eventNames bool
	rate       float64 // of incoming messages, in a second; 0: no limit
	burst      int
	replay     int    // messages from before its first moment
	cursor     string // where it goes on; "": as its request says
	chosen     bool   // the queue's Overflow
	as         guest
}

// at is s for a client of that hub.
func (s *settings) at(h *Hub) *settings {
	switch {
	case s.chosen || h.up().History == nil:
		return s
	case s == standard:
		return standardAhead
	}
	return s.ahead()
}

// ahead is s for clients that come back for what they missed: who does not keep up is cut off.
func (s *settings) ahead() *settings {
	own, ws, sse := *s, *s.ws, *s.sse
	ws.Queue.Overflow, sse.Queue.Overflow = Disconnect, Disconnect
	own.ws, own.sse, own.chosen = &ws, &sse, true
	return &own
}

// extras holds the settings while configure applies options: ClientConfig's fields are fixed.
var extras sync.Map // of *ClientConfig to *settings

// setting is an option that sets what ClientConfig has no field for.
func setting(set func(*settings)) ClientOption {
	return func(c *ClientConfig) {
		if s, ok := extras.Load(c); ok {
			set(s.(*settings))
		}
	}
}

// standard is what all connections without options share.
var standard = newSettings(nil)

// standardAhead is standard of hubs with history.
var standardAhead = standard.ahead()

func configure(opts []ClientOption) *settings {
	if len(opts) == 0 {
		return standard
	}
	return newSettings(opts)
}

// newSettings applies options, and puts the defaults in.
func newSettings(opts []ClientOption) *settings {
	c, s := &ClientConfig{DefaultWriteWait, DefaultPingInterval, DefaultMaxMessageSize, DefaultSendBufSize}, &settings{}
	extras.Store(c, s)
	defer extras.Delete(c)
	for _, opt := range opts {
		if opt != nil {
			opt(c)
		}
	}
	c.WriteWait = orDefault(c.WriteWait, DefaultWriteWait)
	c.PingInterval = orDefault(c.PingInterval, DefaultPingInterval)
	if c.MaxMessageSize == 0 {
		c.MaxMessageSize = DefaultMaxMessageSize
	}
	s.queue.Messages = orDefault(c.SendBufSize, DefaultSendBufSize)
	s.ws = &clientactor.Config{WriteWait: c.WriteWait, PingInterval: c.PingInterval, MaxMessageSize: c.MaxMessageSize, Queue: s.queue,
		Rate: s.rate, Burst: s.burst}
	s.sse = &sseactor.Config{Queue: s.queue, WriteWait: c.WriteWait, KeepAlive: s.keepAlive, Retry: s.retry, EventNames: s.eventNames}
	return s
}
