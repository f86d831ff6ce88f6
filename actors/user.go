package actors

import (
	"container/list"
	"maps"
	"slices"
	"time"
)

// userRoll is who is subscribed by whose user they are, and who is locked out. It is guarded by the Roll's lock.
type userRoll struct {
	users  map[string]*user
	locked map[string]time.Time // until when
	swept  int                  // how many were locked out when those were last forgotten of whom that is over
}

// ofUser is what an Outbox knows of its user.
type ofUser struct {
	id    string
	since time.Time     // when that was said
	at    *list.Element // among the connections of that user, while it is on the roll; the Roll's lock
}

type user struct {
	boxes    list.List // of *Outbox, those that came first in front
	reserved int
}

// UserLimit is how many connections a user may have in one hub.
type UserLimit struct {
	Max         int  // <= 0: any number
	CloseOldest bool // to make room, in place of refusing the newest
}

func (u *userRoll) of(id string) *user {
	if u.users == nil {
		u.users = map[string]*user{}
	}
	each := u.users[id]
	if each == nil {
		each = new(user)
		u.users[id] = each
	}
	return each
}

func (u *userRoll) reserve(id string, limit UserLimit) error {
	if id == "" {
		return nil
	}
	if u.lockedOut(id) {
		return ErrLockedOut
	}
	each := u.of(id)
	if limit.Max > 0 && !limit.CloseOldest && each.boxes.Len()+each.reserved >= limit.Max {
		u.tidy(id)
		return ErrTooManyConnections
	}
	each.reserved++
	return nil
}

func (u *userRoll) unreserve(id string) {
	if id != "" {
		u.of(id).reserved--
		u.tidy(id)
	}
}

func (u *userRoll) add(id string, box *Outbox) *list.Element { return u.of(id).boxes.PushBack(box) }

func (u *userRoll) remove(id string, e *list.Element) {
	u.of(id).boxes.Remove(e)
	u.tidy(id)
}

// tidy forgets a user of whom nothing is left.
func (u *userRoll) tidy(id string) {
	if each := u.users[id]; each.boxes.Len() == 0 && each.reserved == 0 {
		if delete(u.users, id); len(u.users) == 0 {
			u.users = nil // maps keep the room of their busiest hour
		}
	}
}

func (u *userRoll) lockedOut(id string) bool {
	until, locked := u.locked[id]
	return locked && time.Now().Before(until)
}

// lock locks a user out, and forgets of whom that is over.
func (u *userRoll) lock(id string, until time.Time) {
	now := time.Now()
	if len(u.locked) >= 2*u.swept { // not for each of many
		maps.DeleteFunc(u.locked, func(_ string, end time.Time) bool { return !now.Before(end) })
		u.swept = len(u.locked)
	}
	if u.locked == nil {
		u.locked = map[string]time.Time{}
	}
	if until.After(u.locked[id]) && until.After(now) {
		u.locked[id] = until
	}
}

// makeRoom closes the oldest connections of a user who has more than may be. It may be called with the gate locked.
func (r *Roll) makeRoom(user string) {
	limit := r.link.MaxPerUser
	if user == "" || limit.Max <= 0 || !limit.CloseOldest {
		return
	}
	r.mu.Lock()
	boxes := r.users.boxes(user)
	r.mu.Unlock()
	for len(boxes) > limit.Max {
		boxes[0].Close(&Close{Reason: ReasonReplaced})
		boxes = boxes[1:]
	}
}

func (u *userRoll) boxes(id string) (boxes []*Outbox) {
	if each := u.users[id]; each != nil {
		for e := each.boxes.Front(); e != nil; e = e.Next() {
			boxes = append(boxes, e.Value.(*Outbox))
		}
	}
	return boxes
}

// Disconnect closes the connections of a user that are older than age, with m, and locks the user out for as long. It returns how
// many that were. It may be called from any goroutine.
func (r *Roll) Disconnect(user string, age, lockout time.Duration, m *Close) (closed int) {
	before := time.Now().Add(-age)
	r.mu.Lock()
	if lockout > 0 {
		r.users.lock(user, time.Now().Add(lockout))
	}
	boxes := r.users.boxes(user)
	r.mu.Unlock()
	for _, box := range boxes {
		if !box.user.since.After(before) && box.Close(&Close{Reason: m.Reason, Code: m.Code, Text: m.Text}) {
			closed++
		}
	}
	return closed
}

// ConnectionsOf are the subscribers that are a user's, those that came first in front.
func (r *Roll) ConnectionsOf(id string) (list []Subscriber) {
	r.mu.Lock()
	boxes := r.users.boxes(id)
	r.mu.Unlock()
	for _, box := range boxes {
		box.mu.Lock()
		list = append(list, box.owner)
		box.mu.Unlock()
	}
	return list
}

// Users are the ids of those who are subscribed, in order.
func (r *Roll) Users() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	ids := make([]string, 0, len(r.users.users))
	for id, each := range r.users.users {
		if each.boxes.Len() > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// SetUser says whose connection this is. It is called before the outbox is shared.
func (o *Outbox) SetUser(id string) {
	if id != "" {
		o.user = &ofUser{id: id, since: time.Now()}
	}
}

// User is whose connection this is; "": nobody's in particular.
func (o *Outbox) User() string {
	if o.user == nil {
		return ""
	}
	return o.user.id
}
