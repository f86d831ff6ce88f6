package wskit

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/wskit/wskit/actors"
)

// User is all connections of one user, by WithUser or an Identity: all tabs, over both transports, and on every instance for what says so.
// Each connection is in it by itself, until it ends.
type User struct{ Audience }

// User is the user of that id: 1 to 255 bytes of UTF-8 without control characters. Of any other every call returns ErrInvalidTopic.
func (h *Hub) User(id string) User {
	return User{Audience{hub: h, topic: actors.UserTopic(id), invalid: actors.CheckTopic(id) != nil}}
}

// ID is the user's id, as it was given.
func (u User) ID() string {
	id, _ := actors.TopicUser(u.topic)
	return id
}

// Disconnect ends all connections of the user, on every instance, and keeps the user out for a while (WithUserLockout): who comes is
// answered 403, and a client that is registered otherwise is closed; both with ErrLockedOut. It returns how many connections it ended on
// this instance. WebSockets are told code and reason, after what was queued for them; streams end. The code is 1000 or 3000 to
// 4999, and the reason is valid UTF-8, of which 123 bytes at most are sent, cut between two characters; else the error wraps
// ErrInvalidArgument, and nothing happens.
//
// Other instances hear of it through Redis: those that run SubscribeToRedis and are linked to it now, at once; others within a second of
// their link coming back, if that is within 10 minutes (or the lockout, if that is longer). It waits for Redis to have it, for up to 2 s
// and as long as ctx lets it. The error is nil, or wraps ErrLocalOnly together with the cause if it is not sure yet that they will hear
// of it, which goes on being tried; ErrHubStopped; ctx's, when it ended first, or context.DeadlineExceeded, when the hub did not get round
// to it within those 2 s: then it may happen all the same, and nobody says how many it was.
func (u User) Disconnect(ctx context.Context, code int, reason string) (int, error) {
	if err := cmp.Or(checkContext(ctx), u.check()); err != nil {
		return 0, err
	}
	number, text, err := actors.CheckClose(code, reason)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	hub, err := u.hub.holdContext(ctx)
	if err != nil {
		return 0, err
	}
	defer hub.release()
	l := hub.up()
	if l.Gate.Stopped() {
		return 0, ErrHubStopped
	}
	reply := make(chan actors.UserDisconnected, 1)
	l.System.Root.Send(l.Hub, &actors.DisconnectUser{User: u.ID(), Code: number, Text: text, Reply: reply})
	limit := time.NewTimer(actors.PublishTimeout)
	defer limit.Stop()
	select {
	case done := <-reply:
		if done.Err != nil {
			return done.Count, fmt.Errorf("%w: %w", ErrLocalOnly, done.Err)
		}
		return done.Count, nil
	case <-limit.C:
		return 0, fmt.Errorf("wskit: disconnect: no answer of the hub: %w", context.DeadlineExceeded)
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-l.Done:
		return 0, ErrHubStopped
	}
}

// UserPolicy is what becomes of a connection for which its user has no room.
type UserPolicy uint8

// The policies of WithMaxPerUser.
const (
	RefuseNewest UserPolicy = iota // it is refused; the default
	CloseOldest                    // it is let in, and the user's oldest is closed with 4002, "replaced"
)

// WithMaxPerUser bounds how many connections one user may have in this hub, on this instance; connections of nobody in particular do not
// count. Default, and n <= 0: no bound. With RefuseNewest, Accept answers 429 with Retry-After before the upgrade, AcceptSSE as when
// the hub is full, and both return an error that wraps ErrTooManyConnections; what is registered with Register counts, and is not
// refused. With CloseOldest there is one more for a moment.
func WithMaxPerUser(n int, policy UserPolicy) HubOption {
	return func(h *Hub) { h.cfg.MaxPerUser = actors.UserLimit{Max: n, CloseOldest: policy == CloseOldest} }
}

// WithUserLockout sets for how long a user is kept out whom User.Disconnect has disconnected. Default 10 s; 0: the default; negative: not
// at all.
func WithUserLockout(d time.Duration) HubOption { return func(h *Hub) { h.cfg.UserLockout = d } }
