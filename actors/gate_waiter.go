package actors

// waiter is an operation that waits at a Gate.
type waiter struct {
	op    Operation
	done  func(error)
	stop  func() bool // what would end the wait; nil: nothing would
	over  bool
	lined bool // it is of Submit
	links [2]link
}

// The lists that a waiter can be in: of those who wait for a place of its kind, and of those of Submit.
const (
	byKind = iota
	inLine
)

// link is a waiter's neighbours in one list.
type link struct{ before, after *waiter }

// waiters is a list, first come first, linked through the waiters themselves: one can leave from anywhere, however many there
// are. The zero list is empty.
type waiters struct{ first, last *waiter }

func (l *waiters) add(list int, w *waiter) {
	l.join(list, l.last, w)
	l.join(list, w, nil)
}

func (l *waiters) remove(list int, w *waiter) {
	l.join(list, w.links[list].before, w.links[list].after)
	w.links[list] = link{}
}

// join makes a and b neighbours; nil is beyond the end.
func (l *waiters) join(list int, a, b *waiter) {
	if a == nil {
		l.first = b
	} else {
		a.links[list].after = b
	}
	if b == nil {
		l.last = a
	} else {
		b.links[list].before = a
	}
}
