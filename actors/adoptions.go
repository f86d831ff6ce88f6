package actors

import (
	"container/list"
	"sync"
)

// Adoptions is who is on the way to a hub's connections and has not been taken yet. They may have been registered already: a client is,
// before it learns that it is connected. And connections may end before they come to it, when they are given up after too many
// failures, and what waits in an actor's mailbox is lost then. Its methods may be called from any goroutine.
type Adoptions struct {
	mu      sync.Mutex
	waiting list.List // of *Adopt
	over    bool
}

// Add notes m, which is to be sent. After the end nobody is noted: whoever sends finds the hub's gate stopped.
func (a *Adoptions) Add(m *Adopt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over {
		m.waiting = a.waiting.PushBack(m)
	}
}

// Taken notes that connections have m, or that they will not get it.
func (a *Adoptions) Taken(m *Adopt) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.waiting != nil {
		a.waiting.Remove(m.waiting)
		m.waiting = nil
	}
}

// AppendJoined appends those who have joined the hub already to list.
func (a *Adoptions) AppendJoined(list []Member) []Member {
	a.mu.Lock()
	defer a.mu.Unlock()
	for e := a.waiting.Front(); e != nil; e = e.Next() {
		if m := e.Value.(*Adopt); m.Outbox.Joined() {
			list = append(list, Member{Subscriber: m.Subscriber, Outbox: m.Outbox})
		}
	}
	return list
}

// End refuses who still waits: the hub is over.
func (a *Adoptions) End() {
	a.mu.Lock()
	a.over = true
	var left []*Adopt
	for a.waiting.Len() > 0 {
		m := a.waiting.Remove(a.waiting.Front()).(*Adopt)
		m.waiting = nil
		left = append(left, m)
	}
	a.mu.Unlock()
	for _, m := range left {
		m.Refuse(ReasonShutdown)
	}
}
