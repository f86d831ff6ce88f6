package hubactor

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// orders is what connections were told to do about users, by this hub's program or another's: kept for a while, for instances that were
// not linked to Redis when it was announced. docs/control.md has the protocol. It belongs to connections.
type orders struct {
	link     *actors.Link
	instance string   // which of all hubs this is
	serial   uint64   // of the last order of its own
	kept     []*order // oldest first
	greeting *order   // the last hello of its own; nil: there was none

	retry   *time.Timer // of what is unsent; nil: there is none
	backoff time.Duration
	reply   *time.Timer // of the answer to who asked; nil: nobody has
	asked   time.Time   // and since when
	warned  bool        // of what cannot be read
}

// order is one user's disconnection, or with no user a hello.
type order struct {
	own     bool // given by this hub's program
	id      string
	user    string
	code    uint16
	text    string
	at      time.Time // when it was given
	lockout time.Duration
	heard   time.Time // when it was last announced, as far as is known
	unsent  bool      // Redis has not said that it has it
}

const (
	// keepOrders is how long orders are kept at least, and maxOrders how many: then the oldest goes.
	keepOrders = 10 * time.Minute
	maxOrders  = 1024
	// announceWait is how long Redis' word is waited for before who gave the order gets an answer, who waits for actors.PublishTimeout.
	announceWait = actors.PublishTimeout * 3 / 4
	// Announcing is tried again after minRetry, and then after twice as long each time, up to maxRetry.
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
	// answerWithin is how soon one who asks for orders has them: each hub answers at a moment of its own, and leaves out what others
	// have announced since.
	answerWithin = 300 * time.Millisecond
)

// control is the JSON of the control channel.
type control struct {
	V       int    `json:"v"`
	Op      string `json:"op"` // "disconnect" or "hello"
	From    string `json:"from"`
	ID      string `json:"id,omitempty"`
	User    string `json:"user,omitempty"`
	Code    int    `json:"code,omitempty"`
	Text    string `json:"text,omitempty"`
	Age     int64  `json:"age_ms,omitempty"` // since the order was given: clocks of instances differ
	Lockout int64  `json:"lockout_ms,omitempty"`
}

type (
	// announced, from a goroutine that has waited for Redis: what it has, and what it may not have.
	announced struct{ sent, failed []*order }
	// retryOrders and answerHello are from timers of the orders.
	retryOrders struct{}
	answerHello struct{}
)

// IgnoreDeadLetterLogging is for what comes after the hub has ended.
func (*announced) IgnoreDeadLetterLogging()  {}
func (retryOrders) IgnoreDeadLetterLogging() {}
func (answerHello) IgnoreDeadLetterLogging() {}

// instances numbers the hubs of this process.
var instances atomic.Uint64

func newOrders(link *actors.Link) *orders {
	return &orders{link: link, instance: actors.Instance() + "." + strconv.FormatUint(instances.Add(1), 36)}
}

// receive handles what is about orders.
func (o *orders) receive(ctx actor.Context, m any) {
	switch m := m.(type) {
	case *actors.DisconnectUser:
		o.disconnect(ctx, m)
	case *actors.Announced:
		o.hear(ctx, m.Payload)
	case *actors.Announcing:
		o.hello(ctx)
	case *announced:
		o.announced(ctx, m)
	case retryOrders:
		o.retry = nil
		o.announce(ctx, o.own(func(each *order) bool { return each.unsent }), nil)
	case answerHello:
		o.answer(ctx)
	}
}

// stop ends the timers.
func (o *orders) stop() {
	actors.StopTimers(o.retry, o.reply)
}

// disconnect is for an order of this hub's own program.
func (o *orders) disconnect(ctx actor.Context, m *actors.DisconnectUser) {
	code, text, err := actors.CheckClose(cmp.Or(int(m.Code), int(actors.ReasonDisconnected.Code())), m.Text)
	if err = cmp.Or(actors.CheckTopic(m.User), err); err != nil {
		o.link.Log.Warn("wskit: disconnect ignored", "error", err)
		answer(m.Reply, actors.UserDisconnected{Err: err})
		return
	}
	o.serial++
	each := &order{
		own: true, id: o.instance + "-" + strconv.FormatUint(o.serial, 36), user: m.User, code: code, text: text,
		at: time.Now(), lockout: max(cmp.Or(m.Lockout, o.link.Lockout), 0),
	}
	count := o.execute(each)
	if o.link.Redis == nil {
		answer(m.Reply, actors.UserDisconnected{Count: count})
		return
	}
	o.keep(each)
	o.announce(ctx, []*order{each}, func(err error) { answer(m.Reply, actors.UserDisconnected{Count: count, Err: err}) })
}

// execute ends the user's connections that were there when the order was given, or came while the user was to be kept out, and says
// how many it were. Another hub's order looks younger than it is by the time that it travelled: who came meanwhile is ended too, and not
// one too few.
func (o *orders) execute(each *order) int {
	age := time.Since(each.at)
	return o.link.Roll.Disconnect(each.user, max(age-each.lockout, 0), each.lockout-age,
		&actors.Close{Reason: actors.ReasonDisconnected, Code: each.code, Text: each.text})
}

// keep keeps one more, and lets go of those whose time is over.
func (o *orders) keep(each *order) {
	o.tidy()
	if len(o.kept) >= maxOrders {
		o.kept = slices.Delete(o.kept, 0, len(o.kept)-maxOrders+1)
	}
	o.kept = append(o.kept, each)
}

func (o *orders) tidy() {
	now := time.Now()
	o.kept = slices.DeleteFunc(o.kept, func(each *order) bool { return now.Sub(each.at) > max(keepOrders, each.lockout) })
}

// own is which of this hub's own orders are so, and its hello.
func (o *orders) own(are func(*order) bool) (list []*order) {
	o.tidy()
	for _, each := range o.kept {
		if each.own && are(each) {
			list = append(list, each)
		}
	}
	if o.greeting != nil && are(o.greeting) {
		list = append(list, o.greeting)
	}
	return list
}

// announce tells the other hubs. Those of its own are tried again until Redis has them. told, which may be nil, is called with the first
// error, or nil, from another goroutine.
func (o *orders) announce(ctx actor.Context, list []*order, told func(error)) {
	if o.link.Redis == nil || len(list) == 0 {
		return
	}
	now := time.Now()
	replies := make([]chan error, len(list))
	for i, each := range list {
		each.heard, each.unsent = now, each.own
		payload, err := json.Marshal(each.control(o.instance, now))
		if err != nil {
			panic(err) // there is nothing in it that could fail
		}
		reply := make(chan error, 1)
		ctx.Send(o.link.Redis, &actors.Announce{Payload: payload, Reply: reply})
		replies[i] = reply
	}
	root, self := ctx.ActorSystem().Root, ctx.Self()
	o.link.Goroutines.Schedule(func() {
		limit, cancel := context.WithTimeout(o.link.Life, announceWait)
		defer cancel()
		m := &announced{}
		var first error
		for i, reply := range replies {
			err := errNotAnnounced
			select {
			case err = <-reply:
			case <-limit.Done():
				select {
				case err = <-reply:
				default:
				}
			}
			if err != nil {
				m.failed, first = append(m.failed, list[i]), cmp.Or(first, err)
			} else {
				m.sent = append(m.sent, list[i])
			}
		}
		if told != nil {
			told(first)
		}
		root.Send(self, m)
	})
}

var errNotAnnounced = errors.New("wskit: redis has not taken the order yet")

// control is what the other hubs are told.
func (each *order) control(from string, now time.Time) *control {
	if each.user == "" {
		return &control{V: 1, Op: "hello", From: from}
	}
	return &control{
		V: 1, Op: "disconnect", From: from, ID: each.id, User: each.user, Code: int(each.code), Text: each.text,
		Age: now.Sub(each.at).Milliseconds(), Lockout: each.lockout.Milliseconds(),
	}
}

// announced is for when it is known what has become of announcements.
func (o *orders) announced(ctx actor.Context, m *announced) {
	for _, each := range m.sent {
		each.unsent = false
	}
	if !slices.ContainsFunc(m.failed, func(each *order) bool { return each.unsent }) {
		o.backoff = 0
		return
	}
	if o.retry == nil {
		o.backoff = min(max(2*o.backoff, minRetry), maxRetry)
		o.retry = remind(ctx, o.backoff+rand.N(o.backoff/4), retryOrders{})
	}
}

// hello is for when the control channel is heard, for the first time or again: others may have missed what was announced, and so may
// this hub.
func (o *orders) hello(ctx actor.Context) {
	o.greeting = &order{own: true}
	o.announce(ctx, o.own(func(*order) bool { return true }), nil)
}

// answer announces what is kept, but for what was announced since somebody asked.
func (o *orders) answer(ctx actor.Context) {
	o.reply = nil
	o.tidy()
	var list []*order
	for _, each := range o.kept {
		if each.heard.Before(o.asked) {
			list = append(list, each)
		}
	}
	o.announce(ctx, list, nil)
}

// hear is for what a hub has announced, this one perhaps.
func (o *orders) hear(ctx actor.Context, payload []byte) {
	var c control
	if err := json.Unmarshal(payload, &c); err != nil || c.V != 1 || c.From == "" {
		o.warn("it is no message of version 1", payload)
		return
	}
	if c.From == o.instance {
		return
	}
	switch c.Op {
	case "hello":
		if o.asked = time.Now(); o.reply == nil && len(o.kept) > 0 {
			o.reply = remind(ctx, answerWithin/6+rand.N(answerWithin*5/6), answerHello{})
		}
	case "disconnect":
		o.obey(&c, payload)
	default:
		o.warn("its op is unknown", payload)
	}
}

// obey executes another hub's order, once.
func (o *orders) obey(c *control, payload []byte) {
	code, text, err := actors.CheckClose(c.Code, c.Text)
	switch {
	case err != nil, text != c.Text, c.ID == "", len(c.ID) > maxOrderID, actors.CheckTopic(c.User) != nil, c.Age < 0, c.Lockout < 0:
		o.warn("it is no order", payload)
		return
	}
	for _, each := range o.kept {
		if each.id == c.ID {
			each.heard = time.Now()
			return
		}
	}
	now := time.Now()
	each := &order{id: c.ID, user: c.User, code: code, text: text, at: now.Add(-milliseconds(c.Age)), lockout: milliseconds(c.Lockout), heard: now}
	o.execute(each)
	o.keep(each)
}

// maxOrderID is how many bytes the id of another hub's order may have.
const maxOrderID = 255

// milliseconds is n of them, or the longest time there is.
func milliseconds(n int64) time.Duration {
	return time.Duration(min(n, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// warn logs, once, that something on the control channel is ignored.
func (o *orders) warn(why string, payload []byte) {
	if !o.warned {
		o.warned = true
		o.link.Log.Warn("wskit: a message on the control channel was ignored, and so will be others", "reason", why, "payload", string(payload[:min(len(payload), 300)]))
	}
}

// remind sends m to the actor itself after a while.
func remind(ctx actor.Context, after time.Duration, m any) *time.Timer {
	root, self := ctx.ActorSystem().Root, ctx.Self()
	return time.AfterFunc(after, func() { root.Send(self, m) })
}
