package redisactor

import "iter"

// queue is a list of entries in publish order, linked through the entries themselves: one can leave from anywhere, and
// none costs an allocation. The zero queue is empty.
type queue struct{ first, last *entry }

// kind says which of its places in queues an entry has in this one.
type kind int

const (
	inAll kind = iota
	inAccount
	inCallers
	inBucket
	kinds
)

// place is an entry's place in a queue.
type place struct{ before, after *entry }

// add puts e behind those that were published before it.
func (q *queue) add(k kind, e *entry) {
	before := q.last
	for before != nil && before.id > e.id {
		before = before.places[k].before
	}
	after := q.first
	if before != nil {
		after = before.places[k].after
	}
	e.places[k] = place{before, after}
	q.join(k, before, e)
	q.join(k, e, after)
}

func (q *queue) remove(k kind, e *entry) {
	p := e.places[k]
	e.places[k] = place{}
	q.join(k, p.before, p.after)
}

// join makes a and b neighbours; nil is beyond the end.
func (q *queue) join(k kind, a, b *entry) {
	if a == nil {
		q.first = b
	} else {
		a.places[k].after = b
	}
	if b == nil {
		q.last = a
	} else {
		b.places[k].before = a
	}
}

// entries yields those of a queue of that kind. The one at hand may leave meanwhile, and so may any before it.
func (q *queue) entries(k kind) iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := q.first; e != nil; {
			next := e.places[k].after
			if !yield(e) {
				return
			}
			e = next
		}
	}
}

// find returns the first entry of an inBucket queue with this topic and content.
func (q *queue) find(a *account, payload string) *entry {
	for e := q.first; e != nil; e = e.places[inBucket].after { // more than one step only when two contents share a hash
		if e.account == a && string(e.frame.Payload()) == payload {
			return e
		}
	}
	return nil
}
