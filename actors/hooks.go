package actors

import (
	"context"
	"net/http"
	"time"
)

// DefaultHookTimeout is how long a hook may take for one request.
const DefaultHookTimeout = 5 * time.Second

// Identity is who a request is from, as Hooks.Authenticate finds out. The zero Identity is somebody who may come in, and is nobody in
// particular.
type Identity struct {
	// User is whose connection it is, as WithUser has it, which counts before it.
	User string
	// Topics are those that it is in from the first moment, beside those of WithTopics.
	Topics []string
	// Values are what Value of the client returns, beside those of WithValue, which count before these. The map is copied.
	Values map[any]any
	// Expires is when the connection is ended, within a second after it, so that those who expire together do not come back together: a
	// WebSocket with 4001, "expired", a stream by its end. Zero: it does not expire. A time that has passed: 401.
	Expires time.Time
}

// Hooks are what the facade asks the program on behalf of a hub, and gives it of what clients send. Any of them may be nil, and all may
// block. The option of the facade that has the name says of each when it runs, how many at a time, and what a panic costs; subscribers are
// the facade's *Client and *SSEClient.
type Hooks struct {
	// Authenticate says who a request is from that asks for a connection.
	Authenticate func(*http.Request) (Identity, error)
	// Authorize and AuthorizePublish say whether a client may have a topic that it asks for, and publish to one.
	Authorize, AuthorizePublish func(ctx context.Context, s Subscriber, topic string) error
	// HookTimeout is how long each of these may take for a request. <= 0: DefaultHookTimeout (5 s).
	HookTimeout time.Duration
	// OnMessage and then Handler get what WebSocket clients send; an error of Handler's ends the connection.
	OnMessage func(s Subscriber, data []byte)
	Handler   func(ctx context.Context, m Received) error
	// TopicHistory says how much is kept of a topic that the facade broadcasts to. Whoever broadcasts by messages says so in their Keep.
	TopicHistory func(topic string) History
}
