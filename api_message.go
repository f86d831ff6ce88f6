package wskit

import (
	"bytes"
	"context"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// Message is what a client has sent.
type Message struct {
	Type websocket.MessageType // MessageText or MessageBinary
	Data []byte                // the callee's own; a text is valid UTF-8
}

// WithHandler sets what is called with each message that a WebSocket client sends while its ReadPump or Serve runs: one at a time for a
// client, on whatever goroutine, and several at a time for several clients. Blocking delays that client's next message, and a panic closes
// its connection with 1011 and is reported.
//
// ctx ends when the end of the connection begins. Its Value gives the client's values (WithValue, Identity), then those of the context
// that Accept or NewClient was given. An error made by CloseError closes the connection as that says; any other closes it with 1011 and
// is told to WithOnError. If there is a WithOnMessage too, that is called first.
func WithHandler(fn func(ctx context.Context, c *Client, m Message) error) HubOption {
	return func(h *Hub) {
		h.cfg.Handler = nil
		if fn != nil {
			h.cfg.Handler = func(ctx context.Context, m actors.Received) error {
				typ := websocket.MessageText
				if m.Binary {
					typ = websocket.MessageBinary
				}
				return fn(ctx, m.Subscriber.(*Client), Message{typ, m.Data})
			}
		}
	}
}

// WithReceiver sets an actor that gets what WebSocket clients send, each message as *actors.Received, beside WithOnMessage and WithHandler
// and before them. Its mailbox is its own affair: nothing slows the clients down for it. nil: none, the default.
func WithReceiver(pid *actor.PID) HubOption { return func(h *Hub) { h.cfg.Received = pid } }

// WithMessageRate bounds how many messages a second a WebSocket client may send, in bursts of up to burst (at least one). Past it nothing is
// read from that client for as long as it takes, so that TCP slows it down; after a second of that it is closed with 1008. Default, and
// perSecond <= 0: no bound. Pings and the like do not count.
func WithMessageRate(perSecond float64, burst int) ClientOption {
	return setting(func(s *settings) { s.rate, s.burst = max(perSecond, 0), max(burst, 1) })
}

// CloseError is an error that closes the connection for whose message WithHandler's callback returns it, wrapped or not, with code and
// reason as CloseWith does. With a code or reason that CloseWith would refuse it is ErrInvalidArgument, which closes with 1011.
func CloseError(code int, reason string) error {
	number, text, err := actors.CheckClose(code, reason)
	if err != nil {
		return err
	}
	return &actors.CloseError{Code: number, Text: text}
}

// CloseWith is Close with a close code and a reason of the program's: 1000 or 3000 to 4999 (RFC 6455, section 7.4), and valid UTF-8, of
// which 123 bytes at most are sent, cut between two characters. Else the error wraps ErrInvalidArgument, and nothing happens. If the
// client is closed already, it is ErrHubStopped.
func (c *Client) CloseWith(code int, reason string) error {
	number, text, err := actors.CheckClose(code, reason)
	if err != nil {
		return err
	}
	box := c.Outbox()
	if box == nil || !box.Close(&actors.Close{Reason: actors.ReasonDisconnected, Code: number, Text: text}) {
		return ErrHubStopped
	}
	return nil
}

// SendBinary is Send of a message that goes out as a binary one.
func (c *Client) SendBinary(data []byte) bool { return c.SendBinaryErr(data) == nil }

// SendBinaryErr is SendErr of a message that goes out as a binary one.
func (c *Client) SendBinaryErr(data []byte) error {
	box := c.Outbox()
	if box == nil {
		return ErrHubStopped
	}
	return box.Send(actors.NewBinaryFrame(data))
}

// handle is what each message of the client is given to; nil: it is to nobody. ctx is what the client was accepted with.
func (c *Client) handle(ctx context.Context) func(binary bool, data []byte) error {
	l := c.hub.up()
	if l.Hooks.OnMessage == nil && l.Hooks.Handler == nil && l.Received == nil {
		return nil
	}
	r := &receiver{c: c, link: l}
	if l.Hooks.Handler != nil || l.Tracer != nil {
		r.values = context.WithoutCancel(ctx)
	}
	return r.traced(r.receive)
}

// receiver hands on what one client sends, one message at a time.
type receiver struct {
	c      *Client
	link   *actors.Link
	values context.Context // nil if there is nobody to have them
	ctx    context.Context // see context
}

func (r *receiver) receive(binary bool, data []byte) error {
	hooks := &r.link.Hooks
	if r.link.Received != nil {
		own := data
		if hooks.OnMessage != nil || hooks.Handler != nil {
			own = bytes.Clone(data)
		}
		r.link.System.Root.Send(r.link.Received, &actors.Received{Subscriber: r.c, Binary: binary, Data: own})
	}
	if hooks.OnMessage != nil {
		own := data
		if hooks.Handler != nil {
			own = bytes.Clone(data)
		}
		hooks.OnMessage(r.c, own)
	}
	if hooks.Handler == nil {
		return nil
	}
	return hooks.Handler(r.context(), actors.Received{Subscriber: r.c, Binary: binary, Data: data})
}

// context is that of handler and hooks, made when it is first asked for. It ends when the end of the connection begins.
func (r *receiver) context() context.Context {
	if r.ctx == nil {
		var end context.CancelFunc
		r.ctx, end = context.WithCancel(clientContext{r.values, r.c})
		r.c.Outbox().OnEnd(end)
	}
	return r.ctx
}

// clientContext has the values of a client, and then those of a context.
type clientContext struct {
	context.Context
	c *Client
}

func (c clientContext) Value(key any) any {
	if v := c.c.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}
