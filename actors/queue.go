package actors

// queue is first in, first out: the jobs of a pool that nobody has taken, the messages of a mailbox.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) add(item T) { q.items = append(q.items, item) }

// take moves as many items to dst as it has room for.
func (q *queue[T]) take(dst []T) int {
	n := copy(dst, q.items[q.head:])
	clear(q.items[q.head : q.head+n])
	q.head += n
	switch {
	case q.head == len(q.items):
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > 1<<14 {
			q.items = nil
		}
	case q.head > len(q.items)/2: // of one that is never empty, the queue would grow forever
		left := copy(q.items, q.items[q.head:])
		clear(q.items[left:])
		q.items, q.head = q.items[:left], 0
	}
	return n
}
