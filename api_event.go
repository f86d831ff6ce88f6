package wskit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wskit/wskit/actors"
)

// Event is the envelope of BroadcastJSON.
type Event struct {
	Type      string    `json:"type"`
	Payload   any       `json:"payload"`
	Timestamp time.Time `json:"timestamp"`
}

// NewEvent makes an Event of now.
func NewEvent(typ string, payload any) Event {
	return Event{Type: typ, Payload: payload, Timestamp: time.Now()}
}

// BroadcastEvent sends event as JSON to every subscriber of every hub on the Redis channel; without Redis, to those of
// this hub. If Redis does not answer within 2 s, or ctx ends first, this hub's own subscribers get it all the same. The
// error is non-nil only when event cannot be marshalled or ctx is nil.
//
// It returns when the message has its place in this hub's order: before the Broadcast, and before the Unregister, that its
// caller makes next. That is not so if ctx ends first, or if the hub has no place for it within those 2 s; the message keeps
// waiting for one then.
func (h *Hub) BroadcastEvent(ctx context.Context, event any) error {
	return h.Everyone().BroadcastEvent(ctx, event)
}

// BroadcastEventContext is BroadcastEvent that says what happened. With Redis the error is
//   - nil: Redis has taken the message, for whoever is subscribed there;
//   - ErrLocalOnly, wrapped together with the cause: this hub's own subscribers alone get it (if it is that Redis did not answer
//     in time, others may get it all the same);
//   - ctx's: nothing was done if ctx had ended before; if it ended meanwhile the message goes its way, and nobody says how;
//   - ErrUnknownOutcome, on a hub WithHistory in the place of ErrLocalOnly with that cause: Redis has taken the message, or it has not, and
//     nobody knows; this hub's own subscribers get it when that is known, or after 10 s. With WithKey it can be sent again, and is not sent twice;
//   - ErrNotTaken, on such a hub and of a message WithKey in the place of ErrLocalOnly: nobody gets it, unless it is sent again;
//   - ErrTimeout: more waits for the hub already than it takes, and nobody gets it;
//   - ErrHubStopped.
//
// Without Redis it is that of BroadcastContext. It waits for 2 s at most, without Redis for as long as ctx lets it.
func (h *Hub) BroadcastEventContext(ctx context.Context, event any) error {
	return h.Everyone().BroadcastEventContext(ctx, event)
}

// BroadcastJSON is BroadcastEvent of NewEvent(typ, payload).
func (h *Hub) BroadcastJSON(ctx context.Context, typ string, payload any) error {
	return h.Everyone().BroadcastJSON(ctx, typ, payload)
}

// BroadcastJSONContext is BroadcastEventContext of NewEvent(typ, payload).
func (h *Hub) BroadcastJSONContext(ctx context.Context, typ string, payload any) error {
	return h.Everyone().BroadcastJSONContext(ctx, typ, payload)
}

// BroadcastEvent sends event as JSON to everybody in the audience, on every instance. It is Hub.BroadcastEvent in all else; the error
// is non-nil only when event cannot be marshalled, ctx is nil, or there is no such audience.
func (a Audience) BroadcastEvent(ctx context.Context, event any, opts ...BroadcastOption) error {
	frame, err := a.marshal(ctx, event)
	if err != nil {
		return err
	}
	return a.publishLoosely(ctx, frame, opts)
}

// BroadcastEventContext is BroadcastEvent that says what happened, as Hub.BroadcastEventContext does.
func (a Audience) BroadcastEventContext(ctx context.Context, event any, opts ...BroadcastOption) error {
	frame, err := a.marshal(ctx, event)
	if err != nil {
		return err
	}
	return a.publishContext(ctx, frame, opts)
}

// BroadcastJSON is BroadcastEvent of NewEvent(typ, payload).
func (a Audience) BroadcastJSON(ctx context.Context, typ string, payload any, opts ...BroadcastOption) error {
	return a.BroadcastEvent(ctx, NewEvent(typ, payload), opts...)
}

// BroadcastJSONContext is BroadcastEventContext of NewEvent(typ, payload).
func (a Audience) BroadcastJSONContext(ctx context.Context, typ string, payload any, opts ...BroadcastOption) error {
	return a.BroadcastEventContext(ctx, NewEvent(typ, payload), opts...)
}

func (a Audience) marshal(ctx context.Context, event any) (*actors.Frame, error) {
	if err := cmp.Or(checkContext(ctx), a.check()); err != nil {
		return nil, err
	}
	var data []byte
	var err error
	if fenced := actors.Fence("MarshalJSON", func() { data, err = json.Marshal(event) }); fenced != nil {
		err = fenced
	}
	if err != nil {
		return nil, fmt.Errorf("wskit: marshalling event: %w", err)
	}
	return actors.NewFrame(data), nil
}

// logged reports whether what is published through Redis has a position.
func (a Audience) logged() bool {
	if a.check() != nil {
		return false
	}
	l := a.hub.up()
	return l.History != nil && l.Redis != nil
}

// publishLoosely sends frame to every instance; the error is non-nil only when it cannot be sent at all.
func (a Audience) publishLoosely(ctx context.Context, frame *actors.Frame, opts []BroadcastOption) error {
	return a.publishing(ctx, frame, func() error { return a.sendLoosely(ctx, frame, opts) })
}

func (a Audience) sendLoosely(ctx context.Context, frame *actors.Frame, opts []BroadcastOption) error {
	hub, err := a.hub.holdContext(ctx)
	if err != nil {
		return nil
	}
	defer hub.release()
	a.hub = hub
	if l := a.hub.up(); l.Redis != nil {
		m, err := a.everywhere(frame, opts)
		if err == nil {
			_ = a.hub.publish(ctx, l, m)
		}
		return err
	}
	m, err := a.message(frame, opts)
	if err == nil {
		_ = a.hub.enter(m)
	}
	return err
}

// publishContext sends frame to every instance, and says what happened.
func (a Audience) publishContext(ctx context.Context, frame *actors.Frame, opts []BroadcastOption) error {
	return a.publishing(ctx, frame, func() error { return a.sendContext(ctx, frame, opts) })
}

func (a Audience) sendContext(ctx context.Context, frame *actors.Frame, opts []BroadcastOption) error {
	hub, err := a.hub.holdContext(ctx)
	if err != nil {
		return err
	}
	defer hub.release()
	a.hub = hub
	l := a.hub.up()
	if l.Redis == nil {
		m, err := a.message(frame, opts)
		if err != nil {
			return err
		}
		return a.hub.enterContext(ctx, m)
	}
	m, err := a.everywhere(frame, opts)
	if err = cmp.Or(err, ctx.Err()); err != nil {
		return err
	}
	switch err := a.hub.publish(ctx, l, m); {
	case err == nil, errors.Is(err, ErrHubStopped), errors.Is(err, ErrTimeout), errors.Is(err, ErrUnknownOutcome),
		ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return err
	case err == errNoAnswer && l.History != nil:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	case m.Keep.OnceAs() != "" && l.History != nil:
		return fmt.Errorf("%w: %w", ErrNotTaken, err)
	default:
		return fmt.Errorf("%w: %w", ErrLocalOnly, err)
	}
}

var errNoAnswer = fmt.Errorf("wskit: no answer within %v", actors.PublishTimeout)

// publish hands m, which has no Reply yet, to the redis actor and waits for its answer.
func (h *Hub) publish(ctx context.Context, l *actors.Link, m *actors.Publish) error {
	if l.Gate.Stopped() {
		return ErrHubStopped
	}
	w, _ := h.waits.Get().(*wait)
	if w == nil {
		w = &wait{make(chan error, 1), time.NewTimer(actors.PublishTimeout)}
	} else {
		w.limit.Reset(actors.PublishTimeout)
	}
	m.Reply = w.reply
	l.System.Root.Send(l.Redis, m)
	select {
	case err := <-w.reply: // the only one, so w can serve another call; else it may be still to come
		w.limit.Stop()
		h.waits.Put(w)
		return err
	case <-w.limit.C: // it is in good hands: the redis actor delivers it locally, now or as soon as it is back
		return errNoAnswer
	case <-ctx.Done():
		w.limit.Stop()
		return ctx.Err()
	case <-l.Done:
		w.limit.Stop()
		return ErrHubStopped
	}
}

// wait is what a call that waits for Redis needs.
type wait struct {
	reply chan error
	limit *time.Timer
}
