package wskit

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// History bounds what a hub keeps of a topic for those who come back: so many messages, so many bytes of payload, and nothing that is
// older; whichever bound is reached first. 0, in Bytes and Age: 1 MiB, 5 minutes.
type History = actors.History

// The defaults of a History.
const (
	DefaultHistoryMessages = actors.DefaultHistoryMessages
	DefaultHistoryBytes    = actors.DefaultHistoryBytes
	DefaultHistoryAge      = actors.DefaultHistoryAge
)

// WithHistory has the hub keep the last messages of each topic, the hub itself being one, so that who was away gets what it missed.
// Messages <= 0: 100. Default: off.
//
// Every message then has a position, "epoch.n", whatever its topic, and on one connection positions only grow. A client is told them: a
// stream by the id of each event, and now and then by an id without an event, so that a quiet client does not fall behind; a WebSocket that
// speaks Subprotocol by the envelope. It comes back with the last one that it has: an EventSource does so by itself (Last-Event-ID), any other
// client by the query parameter last_event_id, which counts where there is no such header. Then it gets what was sent meanwhile to the
// topics that it is in from its first moment, once each and in order, 300 messages or 1 MiB at most, then what is sent from now on, with nothing
// between and nothing twice. Where that cannot be proved it gets one reset instead, and is to fetch afresh what it shows: an event named
// "wskit.reset", or "reset" in the envelope, which says "expired" (it is not kept any more), "epoch" (the position is of another log), "unknown"
// (it is none, or Redis could not be asked within 2 s) or "too_many". Except counts for a connection, not for who comes back on another.
//
// A client that does not keep up is better cut off, and comes back, than fed with holes: the default of WithOverflow is Disconnect here.
//
// Without Redis each Broadcast gets a position. With Redis the log is there, in streams beside the channels, and what is for every instance has
// a position: BroadcastEvent, BroadcastJSON, BroadcastBinary. Broadcast stays on this instance, and has none. A lost subscription is
// repaired from the streams, and no client notices; ErrRedisGap is reported where they do not reach. What Redis does not take reaches this hub's own
// subscribers without a position. A Redis that was restarted, emptied or replaced by its replica begins a new epoch with the next message, and
// everybody gets a reset: it may have lost what it had taken. All hubs on a channel need the option, with the same Age, and a Redis of 5.0 or newer.
func WithHistory(history History) HubOption {
	return func(h *Hub) {
		if history.Messages <= 0 {
			history.Messages = DefaultHistoryMessages
		}
		h.cfg.History = &history
	}
}

// WithTopicHistory sets what is asked how much to keep of a topic, where that is not what WithHistory says, which stays for the hub itself and
// for users; without a WithHistory these have its defaults. Messages <= 0: nothing is kept, and who has missed anything of the topic gets a reset. It is asked for each broadcast
// to a topic, on the goroutine that broadcasts, several calls at a time; a panic in it is reported, and WithHistory's counts.
func WithTopicHistory(fn func(topic string) History) HubOption {
	return func(h *Hub) {
		if h.topicHistory = fn; fn != nil && h.cfg.History == nil {
			WithHistory(History{})(h)
		}
	}
}

// WithReplay gives a client that comes without a position the last n messages first that were sent to its topics, 300 or 1 MiB at most: nothing
// between them and what is sent from its first moment on, and nothing twice. After a reset it gets them too. Default, and <= 0: none. It
// takes a hub WithHistory.
func WithReplay(n int) ClientOption {
	return setting(func(s *settings) { s.replay = max(n, 0) })
}

// WithCursor says where a client goes on: after the position that it had last, as the text that it was told it in. It is for NewClient and
// NewSSEClient, which do not see a request, and for positions that come by another way: it counts before that of the request. "": the default.
func WithCursor(position string) ClientOption {
	return setting(func(s *settings) { s.cursor = position })
}

// WithKey gives a message a key of the program's, 1 to 255 bytes, so that it can be sent again when nobody knows what became of it: of several
// with one key within 5 minutes the first alone is sent, whichever instance of the hub it was sent by. That the others were not is no error. It takes a hub
// WithHistory, which without Redis remembers 65536 of them; with Redis it counts for what has a position, and a message that Redis does not take nobody gets (ErrNotTaken): it is for who sends it again.
func WithKey(key string) BroadcastOption {
	return func(o *broadcastOptions) {
		if o.key = key; key == "" || len(key) > maxKey {
			o.err = fmt.Errorf("%w: the key of a message has %d bytes, not 1 to %d", ErrInvalidArgument, len(key), maxKey)
		}
	}
}

// Recorded is a message that a hub has kept.
type Recorded struct {
	Message           // Data is the callee's own
	ID      string    // its position
	Time    time.Time // when it got it, by the clock of this process, or of Redis
}

// History returns the last n messages to everybody, oldest first; see Audience.History.
func (h *Hub) History(ctx context.Context, n int) ([]Recorded, error) {
	return h.Everyone().History(ctx, n)
}

// History returns the last n messages to the audience, oldest first, as far as they are kept: what this goroutine has
// broadcast before is among them. It waits for 3 s at most, for the hub to run too. The error is ErrNoHistory (the hub is not
// WithHistory), ErrTimeout, ErrHubStopped, ErrInvalidTopic, ErrInvalidArgument, ctx's, or says that Redis could not be asked.
func (a Audience) History(ctx context.Context, n int) ([]Recorded, error) {
	if err := cmp.Or(checkContext(ctx), a.check()); err != nil {
		return nil, err
	}
	if a.hub.up().History == nil {
		return nil, ErrNoHistory
	}
	hub, err := a.hub.holdContext(ctx)
	if err != nil {
		return nil, err
	}
	defer hub.release()
	l := hub.up()
	reply := make(chan actors.Recalled, 1)
	l.System.Root.Send(l.Hub, &actors.Recall{Topic: a.topic, Last: n, Reply: reply})
	limit := time.NewTimer(actors.ResumeTimeout + time.Second)
	defer limit.Stop()
	var got actors.Recalled
	select {
	case got = <-reply:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.Done:
		return nil, ErrHubStopped
	case <-limit.C:
		return nil, ErrTimeout
	}
	if got.Err != nil {
		return nil, got.Err
	}
	list := make([]Recorded, len(got.Messages))
	for i, f := range got.Messages {
		at := f.Placement()
		list[i] = Recorded{Message: Message{Type: websocket.MessageText, Data: append([]byte(nil), f.Payload()...)}, ID: at.String(), Time: at.At}
		if f.Binary() {
			list[i].Type = websocket.MessageBinary
		}
	}
	return list, nil
}

// keeping is how a message with that key is kept.
func (a Audience) keeping(key string) *actors.Keeping {
	history := a.historyOf()
	if key == "" && history == nil {
		return nil
	}
	return &actors.Keeping{Key: key, History: history}
}

// historyOf is how much is kept of the audience's messages; nil: as much as of any, or nothing.
func (a Audience) historyOf() *History {
	if a.hub.topicHistory == nil || a.topic == "" {
		return nil
	}
	if _, user := actors.TopicUser(a.topic); user {
		return nil
	}
	var kept *History
	failed := actors.Fence("TopicHistory", func() {
		h := a.hub.topicHistory(a.topic).WithDefaults()
		kept = &h
	})
	if failed != nil {
		l, f := a.hub.up(), actors.UserFailed("TopicHistory", failed)
		f.Log(l.Log)
		l.System.Root.Send(l.Listener, f)
	}
	return kept
}

// cursor is where whoever sent the request goes on.
func (h *Hub) cursor(r *http.Request, s *settings) actors.Cursor {
	if h.up().History == nil {
		return actors.Cursor{}
	}
	after := cmp.Or(s.cursor, r.Header.Get("Last-Event-ID"))
	if after == "" && r.URL != nil && r.URL.RawQuery != "" {
		after = r.URL.Query().Get("last_event_id")
	}
	return actors.Cursor{After: after, Last: s.replay}
}
