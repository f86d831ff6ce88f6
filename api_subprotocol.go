package wskit

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// Subprotocol is the WebSocket subprotocol whose clients get each message in an envelope, with its position and topic, and send commands: to
// join and leave topics, to publish, and what is for the program's handlers. Accept, ServeWS and WebSocketHandler of a hub that keeps
// history offer it beside the program's own, which go first; a client that does not ask for it gets plain messages as ever. A program that
// accepts a connection itself for NewClient, or whose hub keeps no history, offers it by naming it in AcceptOptions.Subprotocols; without
// history no message has a position. docs/wskit.v1.md is its specification.
const Subprotocol = actors.Subprotocol

// WithAuthorizePublish sets what is asked whether a client that speaks Subprotocol may publish to a topic, "" being everybody in the hub: for
// each message that it wants published, before anybody sees that. With an error the client is told "forbidden". Without a hook no client may.
//
// The hook runs as WithAuthorize's does, with its timeout, and its op is "AuthorizePublish"; ctx is the one that WithHandler's callback gets,
// with that end. What the client sends next waits for it.
func WithAuthorizePublish(fn func(ctx context.Context, sub Subscriber, topic string) error) HubOption {
	return func(h *Hub) { h.cfg.AuthorizePublish = aboutTopic(fn) }
}

// offer is opts with the subprotocol, if the hub offers it.
func (h *Hub) offer(opts *websocket.AcceptOptions) *websocket.AcceptOptions {
	if h.up().History == nil {
		return opts
	}
	var o websocket.AcceptOptions
	if opts != nil {
		o = *opts
	}
	if !slices.ContainsFunc(o.Subprotocols, func(s string) bool { return strings.EqualFold(s, Subprotocol) }) {
		o.Subprotocols = append(slices.Clone(o.Subprotocols), Subprotocol)
	}
	return &o
}

// listen has the client's commands carried out, if it speaks the subprotocol. ctx is what the client was accepted with.
func (c *Client) listen(ctx context.Context) {
	if c.conn.Speaks() {
		s := &speaker{receiver: receiver{c: c, link: c.hub.up(), values: context.WithoutCancel(ctx)}}
		c.conn.Handle(s.traced(s.receive))
	}
}

// speaker carries out what one client commands, one command at a time.
type speaker struct {
	receiver
	malformed int // commands in a row
}

// maxMalformed is how many malformed commands in a row end the connection.
const maxMalformed = 3

// receive is given each message of the client. What is binary is no command.
func (s *speaker) receive(binary bool, data []byte) error {
	if binary {
		return s.receiver.receive(true, data)
	}
	command, err := parseCommand(data)
	switch err {
	case errNoObject:
		return &actors.CloseError{Code: uint16(websocket.StatusPolicyViolation), Text: "not a JSON object"}
	case errMalformed:
		s.answer(command.ref, codeMalformed)
		if s.malformed++; s.malformed == maxMalformed {
			return &actors.CloseError{Code: uint16(websocket.StatusPolicyViolation), Text: "malformed commands"}
		}
		return nil
	}
	s.malformed = 0
	code, err := s.execute(&command)
	if err == nil {
		s.answer(command.ref, code)
	}
	return err
}

// execute returns the code of the answer. An error is the handlers', and ends the connection.
func (s *speaker) execute(m *command) (code, error) {
	switch m.op {
	case "join":
		return s.join(m.topic), nil
	case "leave":
		return codeOf(s.c.hub.Topic(m.topic).Leave(s.c)), nil
	case "publish":
		return s.publish(m)
	case "send":
		return codeOK, s.receiver.receive(false, m.payload)
	}
	return codeOK, nil // ping
}

func (s *speaker) join(topic string) code {
	hub := s.c.hub
	if actors.CheckTopic(topic) != nil {
		return codeInvalidTopic
	}
	if in := s.c.Outbox().TopicsOf(); len(in) >= s.link.TopicLimit() && !slices.Contains(in, topic) {
		return codeTooManyTopics // the hook is not asked for nothing
	}
	if refused := s.ask("Authorize", s.link.Hooks.Authorize, topic); refused != codeOK {
		return refused
	}
	return codeOf(hub.Topic(topic).Join(s.c))
}

func (s *speaker) publish(m *command) (code, error) {
	hub := s.c.hub
	if m.has&hasTopic != 0 && actors.CheckTopic(m.topic) != nil {
		return codeInvalidTopic, nil
	}
	if refused := s.ask("AuthorizePublish", s.link.Hooks.AuthorizePublish, m.topic); refused != codeOK {
		return refused, nil
	}
	frame := actors.NewFrame(m.payload) // before the handlers have the payload for themselves
	if err := s.receiver.receive(false, m.payload); err != nil {
		return codeOK, err
	}
	var opts []BroadcastOption
	if m.key != "" {
		opts = []BroadcastOption{WithKey(m.key)}
	}
	ctx, cancel := context.WithTimeout(s.context(), s.link.Patience)
	defer cancel()
	return codeOf(Audience{hub: hub, topic: m.topic}.publishContext(ctx, frame, opts)), nil
}

// ask asks a hook about a topic; no hook lets nobody.
func (s *speaker) ask(op string, allow func(context.Context, actors.Subscriber, string) error, topic string) code {
	if allow == nil {
		return codeForbidden
	}
	_, err := hook(s.c.hub, op, s.context(), func(ctx context.Context) (struct{}, error) { return struct{}{}, allow(ctx, s.c, topic) })
	r := (*refusal)(nil)
	switch {
	case err == nil:
		return codeOK
	case !errors.As(err, &r):
		return codeForbidden
	case r.status == http.StatusInternalServerError:
		return codeInternal
	case errors.Is(r, ErrHubStopped):
		return codeStopped
	}
	return codeTimeout
}

// code is the outcome of a command, as the client is told it. The set is closed.
type code string

const (
	codeOK            code = ""
	codeMalformed     code = "malformed"
	codeForbidden     code = "forbidden"
	codeInvalidTopic  code = "invalid_topic"
	codeTooManyTopics code = "too_many_topics"
	codeTimeout       code = "timeout"
	codeStopped       code = "stopped"
	codeLocalOnly     code = "local_only"
	codeNotTaken      code = "not_taken"
	codeUnknown       code = "unknown_outcome"
	codeInternal      code = "internal"
)

// explanation is for whoever reads an answer. What went wrong inside is for the hub's log alone.
var explanation = map[code]string{
	codeMalformed:     "not a command of " + Subprotocol,
	codeForbidden:     "not allowed",
	codeInvalidTopic:  "no name of a topic",
	codeTooManyTopics: "in as many topics as may be",
	codeTimeout:       "not done in time, and will not be",
	codeStopped:       "the server is going away, or the connection is not registered",
	codeLocalOnly:     "sent to those on this server alone",
	codeNotTaken:      "sent to nobody",
	codeUnknown:       "perhaps sent, perhaps not",
	codeInternal:      "internal error",
}

// codeOf is the code for an error of the hub's.
func codeOf(err error) code {
	switch {
	case err == nil:
		return codeOK
	case errors.Is(err, ErrInvalidTopic):
		return codeInvalidTopic
	case errors.Is(err, ErrTooManyTopics):
		return codeTooManyTopics
	case errors.Is(err, ErrTimeout):
		return codeTimeout
	case errors.Is(err, ErrHubStopped), errors.Is(err, ErrNotRegistered):
		return codeStopped
	case errors.Is(err, ErrUnknownOutcome), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return codeUnknown
	case errors.Is(err, ErrLocalOnly):
		return codeLocalOnly
	case errors.Is(err, ErrNotTaken):
		return codeNotTaken
	}
	return codeInternal
}

// answer tells the client what became of a command: always if it was not done, else if it has a ref. An answer for which the client's queue
// has no room is dropped like any message.
func (s *speaker) answer(ref []byte, outcome code) {
	if ref == nil && outcome == codeOK {
		return
	}
	b := []byte{'{'}
	if ref != nil {
		b = append(append(append(b, `"ref":`...), ref...), ',')
	}
	if outcome == codeOK {
		b = append(b, `"ok":true}`...)
	} else {
		b = append(b, `"error":"`+string(outcome)+`","message":"`+explanation[outcome]+`"}`...)
	}
	_ = s.c.Outbox().Send(actors.NewProtocolFrame(b))
}
