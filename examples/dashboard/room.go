package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strings"
	"sync"
	"time"

	"github.com/wskit/wskit"
)

// room is what this program keeps of a tenant beside its hub: what happened to it, what was asked of it lately, and its slow client.
type room struct {
	tenant string

	mu       sync.Mutex
	busy     map[string]time.Time // by action: when it has paid for what was asked of it; see allow
	last     time.Time            // that anything was asked of it, or happened to it
	happened []happening
	number   int
	slow     *slowClient // nil: there is none
	joined   bool        // Redis was there, or was missed
}

// happening is a line for people.
type happening struct {
	N    int       `json:"n"`
	At   time.Time `json:"at"`
	What string    `json:"what"`
	Who  string    `json:"who,omitempty"` // has failed, in a word
}

// remembered is how many of them a room keeps.
const remembered = 12

func (r *room) note(who, format string, args ...any) {
	h := happening{At: time.Now(), What: fmt.Sprintf(format, args...), Who: who}
	log.Printf("%s: %s", r.tenant, h.What)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.number++
	h.N, r.last = r.number, h.At
	r.happened = append(r.happened, h)
	r.happened = r.happened[max(0, len(r.happened)-remembered):]
}

// failed is the hub's OnError. Of Redis' troubles redisChanged tells.
func (r *room) failed(op string, err error) {
	crash := (*wskit.PanicError)(nil)
	switch {
	case errors.As(err, &crash) && crash.Value != onPurpose:
		log.Printf("%s: %v\n%s", r.tenant, err, crash.Stack)
	case crash == nil && op != "redis":
		log.Printf("%s: %s: %v", r.tenant, op, err)
	}
	if crash == nil {
		return
	}
	switch name := shortName(op); {
	case isConnection(name):
		r.note(name, "%s crashed: its client is told, and comes back", name)
	case strings.Count(op, "/") < 2: // below the tenants
		r.note("hub", "the hub crashed: it is given up, and made anew")
	default:
		r.note(name, "%s crashed, and was started again", name)
	}
}

func (r *room) redisChanged(up bool) {
	r.mu.Lock()
	r.joined = true
	r.mu.Unlock()
	if up {
		r.note("", "Redis is there, instances are one")
	} else {
		r.note("Redis", "Redis is lost, working locally until it is back")
	}
}

// withoutRedis is what a hub is that Redis does not join with others at the moment.
func (r *room) withoutRedis() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.joined {
		return "joining"
	}
	return "unreachable"
}

// disconnected tells of those who did not leave by themselves.
func (r *room) disconnected(sub wskit.Subscriber, reason wskit.DisconnectReason, code int) {
	who := "a client"
	if m, ok := sub.(wskit.Member); ok && m.Value(slowly{}) != nil {
		who = "the slow client"
	}
	switch reason {
	case wskit.DisconnectSlow:
		r.note("", "%s was cut off, since it did not keep up (%d)", who, code)
	case wskit.DisconnectWrite, wskit.DisconnectPing:
		r.note("", "%s was given up (%v)", who, reason)
	}
}

// allow reports whether an action may be taken again: so many at once, and then one every so often.
func (r *room) allow(action string, every time.Duration, atOnce int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.last = now
	paid := r.busy[action]
	if paid.Before(now) {
		paid = now
	}
	if paid.Sub(now) > every*time.Duration(atOnce-1) {
		return false
	}
	if r.busy == nil {
		r.busy = map[string]time.Time{}
	}
	r.busy[action] = paid.Add(every)
	return true
}

// unused reports whether nobody has cared about it for a while.
func (r *room) unused() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.last) > 2*idleTimeout
}

// now is the policy of the slow client, "" if there is none, and what happened, oldest first.
func (r *room) now() (slow string, happened []happening) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
	if r.slow != nil {
		slow = r.slow.policy.String()
	}
	return slow, append([]happening{}, r.happened...)
}

// startSlow connects a slow client in place of the one that there is.
func (r *room) startSlow(ctx context.Context, hub *wskit.Hub, page string, policy wskit.Overflow) error {
	c, err := dialSlowly(ctx, hub, page, policy)
	if err != nil {
		return err
	}
	r.stopSlow()
	r.mu.Lock()
	r.slow = c
	r.mu.Unlock()
	r.note("", "the slow client came, with policy %v", policy)
	go func() {
		<-c.done
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.slow == c {
			r.slow = nil
		}
	}()
	return nil
}

func (r *room) stopSlow() {
	r.mu.Lock()
	c := r.slow
	r.mu.Unlock()
	if c != nil {
		c.stop()
		<-c.done
	}
}

// shortName is an actor's own name.
func shortName(id string) string { return id[strings.LastIndex(id, "/")+1:] }

func isConnection(name string) bool {
	kind, _, _ := strings.Cut(name, "-")
	return kind == "ws" || kind == "sse" || kind == "sub"
}
