package actors

// queue is the jobs of a pool that nobody has taken, first in, first out.
type queue struct {
	jobs []func()
	head int
}

func (q *queue) len() int { return len(q.jobs) - q.head }

func (q *queue) add(job func()) { q.jobs = append(q.jobs, job) }

// take moves as many jobs to dst as it has room for.
func (q *queue) take(dst []func()) int {
	n := copy(dst, q.jobs[q.head:])
	clear(q.jobs[q.head : q.head+n])
	q.head += n
	switch {
	case q.head == len(q.jobs):
		q.jobs, q.head = q.jobs[:0], 0
		if cap(q.jobs) > 1<<14 {
			q.jobs = nil
		}
	case q.head > len(q.jobs)/2: // of a pool that is never idle, the queue would grow forever
		left := copy(q.jobs, q.jobs[q.head:])
		clear(q.jobs[left:])
		q.jobs, q.head = q.jobs[:left], 0
	}
	return n
}
