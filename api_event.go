package wskit

import (
	"context"
	"encoding/json"
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
func (h *Hub) BroadcastEvent(ctx context.Context, event any) error {
	if h == nil || ctx == nil {
		return fmt.Errorf("%w: nil hub or context", ErrInvalidArgument)
	}
	var data []byte
	var err error
	if fenced := actors.Fence("MarshalJSON", func() { data, err = json.Marshal(event) }); fenced != nil {
		err = fenced
	}
	if err != nil {
		return fmt.Errorf("wskit: marshalling event: %w", err)
	}
	l := h.up()
	if l.Redis == nil {
		_ = h.enter(&actors.Broadcast{Frame: actors.NewFrame(data)})
		return nil
	}
	if l.Gate.Stopped() {
		return nil
	}
	w, _ := h.waits.Get().(*wait)
	if w == nil {
		w = &wait{make(chan error, 1), time.NewTimer(actors.PublishTimeout)}
	} else {
		w.limit.Reset(actors.PublishTimeout)
	}
	l.System.Root.Send(l.Redis, &actors.Publish{Frame: actors.NewFrame(data), Reply: w.reply})
	select {
	case <-w.reply: // the only one, so w can serve another call; else it may be still to come
		w.limit.Stop()
		h.waits.Put(w)
	case <-w.limit.C: // it is in good hands: the redis actor delivers it locally, now or as soon as it is back
	case <-ctx.Done():
		w.limit.Stop()
	case <-l.Done:
		w.limit.Stop()
	}
	return nil
}

// BroadcastJSON is BroadcastEvent of NewEvent(typ, payload).
func (h *Hub) BroadcastJSON(ctx context.Context, typ string, payload any) error {
	return h.BroadcastEvent(ctx, NewEvent(typ, payload))
}

// wait is what a call that waits for Redis needs.
type wait struct {
	reply chan error
	limit *time.Timer
}
