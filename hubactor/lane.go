package hubactor

import (
	"container/list"
	"slices"
	"time"

	"github.com/wskit/wskit/actors"
)

// lane is the callbacks of one kind, in the order they are due: one at a time, or several side by side of which no two are of
// one subscriber. It belongs to the listener; the callbacks run on goroutines of their own.
type lane struct {
	width   int
	waiting list.List // of *task
	running []*task
}

// task is a callback that is due.
type task struct {
	of   actors.Subscriber // whose it is; nil: nobody's in particular
	op   string
	fn   func()         // nil: there is no callback, but what comes then waits for its turn
	then func()         // runs in the listener when fn has returned; may be nil
	box  *actors.Outbox // of OnConnect and OnDisconnect
	due  time.Time
}

func newLane(width int) *lane {
	return &lane{width: max(width, 1)}
}

func (l *lane) add(t *task) {
	t.due = time.Now()
	l.waiting.PushBack(t)
}

// next has t run before all that wait.
func (l *lane) next(t *task) {
	t.due = time.Now()
	l.waiting.PushFront(t)
}

// lag is how long the first has waited.
func (l *lane) lag() time.Duration {
	if l.waiting.Len() == 0 {
		return 0
	}
	return time.Since(l.waiting.Front().Value.(*task).due)
}

func (l *lane) remove(e *list.Element) { l.waiting.Remove(e) }

// take is the first task that may run now, which counts as running from now on; nil: there is none.
func (l *lane) take() *task {
	if len(l.running) >= l.width {
		return nil
	}
	for e := l.waiting.Front(); e != nil; e = e.Next() {
		if t := e.Value.(*task); !l.busy(t.of) {
			l.remove(e)
			l.running = append(l.running, t)
			return t
		}
	}
	return nil
}

func (l *lane) busy(sub actors.Subscriber) bool {
	if sub == nil || l.width == 1 {
		return false
	}
	return slices.ContainsFunc(l.running, func(t *task) bool { return t.of == sub })
}

func (l *lane) done(t *task) {
	if l.running = slices.DeleteFunc(l.running, func(other *task) bool { return other == t }); len(l.running) == 0 {
		l.running = nil
	}
}

// idle reports whether nothing waits or runs.
func (l *lane) idle() bool { return len(l.running) == 0 && l.waiting.Len() == 0 }
