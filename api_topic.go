package wskit

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/wskit/wskit/actors"
)

// Audience is whom a broadcast is for: everybody in a hub, those in a topic, or all connections of a user. It is a handle without a
// life of its own: to make one costs nothing and changes nothing, two of the same are equal by ==, and nothing has to be closed. It
// may be used from any goroutine.
//
// Of an Audience of no hub every call returns an error that wraps ErrInvalidArgument, and of one whose name is none, ErrInvalidTopic;
// calls that return no error are logged and do nothing.
type Audience struct {
	hub     *Hub
	topic   string // as in messages; "": everybody
	invalid bool   // it cannot be the name of one
}

// Everyone is all subscribers of the hub. What its methods do is what the hub's own of the same name do; they take options.
func (h *Hub) Everyone() Audience { return Audience{hub: h} }

// Topic is a part of a hub's subscribers that has a name: those who have joined. It exists while somebody is in it. Broadcasts to
// topics, users and the hub share one order for each subscriber.
type Topic struct{ Audience }

// Topic is the topic of that name: 1 to 255 bytes of UTF-8 without control characters. Of any other every call returns ErrInvalidTopic.
func (h *Hub) Topic(name string) Topic {
	return Topic{Audience{hub: h, topic: name, invalid: actors.CheckTopic(name) != nil}}
}

// Topics are the names of the topics that somebody on this instance is in now, in order.
func (h *Hub) Topics() []string {
	if h.unused() {
		return nil
	}
	names := h.current().up().Roll.Topics()
	slices.Sort(names)
	return names
}

// Name is the topic's name, as it was given.
func (t Topic) Name() string { return t.topic }

// Join makes a subscriber of the hub one of the topic too, until it leaves or is none any more: it gets every broadcast to the topic
// that is made after Join returned. To join twice is to join once. Like Register it waits for a place in the hub's queue, and
// OnTimeout is told "join"; a topic that is joined before Run counts at once. The error is nil or wraps
//   - ErrInvalidTopic, or ErrInvalidArgument: no hub, or a subscriber that is nil or not comparable;
//   - ErrNotRegistered: sub is not registered with this hub, or not any more;
//   - ErrTooManyTopics: it is in as many as WithMaxTopics allows;
//   - ErrTimeout, ErrHubStopped.
//
// With an error it has not joined. What other instances publish comes once Redis has confirmed the subscription that the first member on
// an instance brings about: within some round trips, which Join does not wait for.
func (t Topic) Join(sub Subscriber) error {
	if err := t.checkMember(sub); err != nil {
		return err
	}
	return t.hub.enter(&actors.Join{Subscriber: sub, Topic: t.topic})
}

// JoinContext is Join that waits for as long as ctx lets it; if ctx ended while it waited the error wraps its error and ErrTimeout.
func (t Topic) JoinContext(ctx context.Context, sub Subscriber) error {
	if err := cmp.Or(checkContext(ctx), t.checkMember(sub)); err != nil {
		return err
	}
	return t.hub.enterContext(ctx, &actors.Join{Subscriber: sub, Topic: t.topic})
}

// Leave undoes Join: nothing that is broadcast to the topic after Leave returned reaches sub. Of a subscriber that is not in the topic
// it does nothing. OnTimeout is told "leave"; the errors are Join's.
func (t Topic) Leave(sub Subscriber) error {
	if err := t.checkMember(sub); err != nil {
		return err
	}
	return t.hub.enter(&actors.Leave{Subscriber: sub, Topic: t.topic})
}

// LeaveContext is Leave that waits for as long as ctx lets it.
func (t Topic) LeaveContext(ctx context.Context, sub Subscriber) error {
	if err := cmp.Or(checkContext(ctx), t.checkMember(sub)); err != nil {
		return err
	}
	return t.hub.enterContext(ctx, &actors.Leave{Subscriber: sub, Topic: t.topic})
}

func (t Topic) checkMember(sub Subscriber) error {
	if err := t.check(); err != nil {
		return err
	}
	if !usable(sub) {
		return fmt.Errorf("%w: subscriber nil or not comparable", ErrInvalidArgument)
	}
	return nil
}

// Broadcast sends data to everybody in the audience on this instance. The caller may reuse data when Broadcast has returned. It waits for
// a place in the hub's queue, as Hub.Broadcast does.
func (a Audience) Broadcast(data []byte, opts ...BroadcastOption) {
	a.broadcast("Broadcast", data, actors.NewFrame, opts)
}

// BroadcastBinary is Broadcast of a message that goes out as a binary one. To SSE streams, which are text, there is no difference. On a
// hub WithHistory and WithRedis it is for every instance, as BroadcastEvent is: the log knows what is binary, plain channels do not.
func (a Audience) BroadcastBinary(data []byte, opts ...BroadcastOption) {
	if a.logged() {
		if err := a.publishLoosely(context.Background(), actors.NewBinaryFrame(data), opts); err != nil {
			a.hub.warn("BroadcastBinary ignored", "error", err)
		}
		return
	}
	a.broadcast("BroadcastBinary", data, actors.NewBinaryFrame, opts)
}

// BroadcastContext is Broadcast that waits for as long as ctx lets it and says what happened: nil, ErrHubStopped, ErrInvalidTopic,
// ErrInvalidArgument, or ctx's error; if ctx ended while it waited that is wrapped together with ErrTimeout.
func (a Audience) BroadcastContext(ctx context.Context, data []byte, opts ...BroadcastOption) error {
	return a.broadcastContext(ctx, data, actors.NewFrame, opts)
}

// BroadcastBinaryContext is BroadcastContext of a message that goes out as a binary one. Where BroadcastBinary is for every instance it
// says what BroadcastEventContext does.
func (a Audience) BroadcastBinaryContext(ctx context.Context, data []byte, opts ...BroadcastOption) error {
	if a.logged() {
		if err := checkContext(ctx); err != nil {
			return err
		}
		return a.publishContext(ctx, actors.NewBinaryFrame(data), opts)
	}
	return a.broadcastContext(ctx, data, actors.NewBinaryFrame, opts)
}

// SubscriberCount is how many are in the audience on this instance now, by the measure of Hub.SubscriberCount.
func (a Audience) SubscriberCount() int {
	switch {
	case a.check() != nil || a.hub.unused():
		return 0
	case a.topic == "":
		return a.hub.current().up().Roll.Count()
	}
	return a.hub.current().up().Roll.CountIn(a.topic)
}

// BroadcastOption changes one broadcast. A nil option is skipped.
type BroadcastOption func(*broadcastOptions)

type broadcastOptions struct {
	except Subscriber
	key    string
	err    error // an option is not as it must be
}

// Except leaves sub out, on whichever transport it is connected, also when the broadcast comes back through Redis. It is one subscriber
// of this hub; the last Except of a call counts. One that is nil, or not registered, is nobody.
func Except(sub Subscriber) BroadcastOption {
	if !usable(sub) {
		sub = nil
	}
	return func(o *broadcastOptions) { o.except = sub }
}

// broadcastOf is what options come to.
func broadcastOf(opts []BroadcastOption) (o broadcastOptions) {
	if len(opts) == 0 {
		return o
	}
	collected := new(broadcastOptions)
	for _, opt := range opts {
		if opt != nil {
			opt(collected)
		}
	}
	return *collected
}

func (a Audience) message(frame *actors.Frame, opts []BroadcastOption) (*actors.Broadcast, error) {
	o := broadcastOf(opts)
	return &actors.Broadcast{Frame: frame, Topic: a.topic, Except: o.except, Keep: a.keeping(o.key)}, o.err
}

// everywhere is message for every instance.
func (a Audience) everywhere(frame *actors.Frame, opts []BroadcastOption) (*actors.Publish, error) {
	o := broadcastOf(opts)
	return &actors.Publish{Frame: frame, Topic: a.topic, Except: o.except, Keep: a.keeping(o.key)}, o.err
}

func (a Audience) broadcast(name string, data []byte, frame func([]byte) *actors.Frame, opts []BroadcastOption) {
	err := a.check()
	if err == nil {
		var m *actors.Broadcast
		if m, err = a.message(frame(data), opts); err == nil {
			_ = a.hub.enter(m)
			return
		}
	}
	a.hub.warn(name+" ignored", "error", err)
}

func (a Audience) broadcastContext(ctx context.Context, data []byte, frame func([]byte) *actors.Frame, opts []BroadcastOption) error {
	if err := cmp.Or(checkContext(ctx), a.check()); err != nil {
		return err
	}
	m, err := a.message(frame(data), opts)
	if err != nil {
		return err
	}
	return a.publishing(ctx, m.Frame, func() error { return a.hub.enterContext(ctx, m) })
}

// check reports why nothing can be done with a.
func (a Audience) check() error {
	switch {
	case a.hub == nil:
		return errNilHub
	case a.invalid:
		return ErrInvalidTopic
	}
	return nil
}

var (
	errNilHub     = fmt.Errorf("%w: nil hub", ErrInvalidArgument)
	errNilContext = fmt.Errorf("%w: nil context", ErrInvalidArgument)
)

func checkContext(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	return nil
}
