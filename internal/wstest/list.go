package wstest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// List is a list that many goroutines write. The zero List is empty.
type List[T any] struct {
	mu  sync.Mutex
	all []T
}

// Add appends v.
func (l *List[T]) Add(v T) {
	l.mu.Lock()
	l.all = append(l.all, v)
	l.mu.Unlock()
}

// All is a copy of what is in the list now.
func (l *List[T]) All() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// Len is how much is in the list now.
func (l *List[T]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// Journal is a list of lines.
type Journal struct{ List[string] }

// Note adds a line.
func (j *Journal) Note(format string, args ...any) { j.Add(fmt.Sprintf(format, args...)) }

// Expect waits until there are that many lines, and checks that they are these.
func (j *Journal) Expect(t testing.TB, want ...string) {
	t.Helper()
	Poll(Patience, func() bool { return j.Len() >= len(want) })
	if got := j.All(); !slices.Equal(got, want) {
		t.Fatalf("written down was %.300q, want %.300q", got, want)
	}
}
