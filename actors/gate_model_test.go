package actors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/wskit/wskit/actors"
)

type outcome struct {
	n   int
	err error
}

type gateWaiter struct {
	op        *operation
	submitted bool
	deadline  time.Time // zero: none
}

// gateModel is what a Gate should be, as slices. It says what was posted, and what each operation came to.
type gateModel struct {
	open, stopped bool
	places, taken [3]int
	waiting       []gateWaiter // in the order they came
	inside        []int
	posted        []int
	outcomes      []outcome
}

func (m *gateModel) admit(op *operation) {
	m.taken[op.kind]++
	if m.open || m.stopped {
		m.posted = append(m.posted, op.n)
	} else {
		m.inside = append(m.inside, op.n)
	}
}

// come is an operation that arrives; it waits until then at most.
func (m *gateModel) come(op *operation, submitted bool, until time.Time) {
	m.waiting = append(m.waiting, gateWaiter{op, submitted, until})
	switch last := len(m.waiting) - 1; {
	case m.stopped:
		m.settle(last, actors.ErrHubStopped)
	case m.may(last):
		m.let(last)
	case submitted && !m.open && !until.IsZero():
		m.settle(last, actors.ErrTimeout)
	}
}

// may reports whether a waiter can be admitted: there is a place, and nobody is before it.
func (m *gateModel) may(i int) bool {
	w := m.waiting[i]
	return m.taken[w.op.kind] < m.places[w.op.kind] && !slices.ContainsFunc(m.waiting[:i], func(before gateWaiter) bool {
		return before.op.kind == w.op.kind || before.submitted && w.submitted
	})
}

func (m *gateModel) let(i int) {
	m.admit(m.waiting[i].op)
	m.settle(i, nil)
}

func (m *gateModel) settle(i int, err error) {
	m.outcomes = append(m.outcomes, outcome{m.waiting[i].op.n, err})
	m.waiting = slices.Delete(m.waiting, i, i+1)
}

// advance admits who may be, of this kind first and then of whatever the first that was submitted is.
func (m *gateModel) advance(kind actors.Op) {
	for {
		i := slices.IndexFunc(m.waiting, func(w gateWaiter) bool { return w.op.kind == kind })
		if i < 0 || !m.may(i) {
			submitted := slices.IndexFunc(m.waiting, func(w gateWaiter) bool { return w.submitted })
			if submitted < 0 || !m.may(submitted) {
				return
			}
			i = submitted
		}
		kind = m.waiting[i].op.kind
		m.let(i)
	}
}

// expire has those time out whose deadline has passed, one after the other: each may have held up others.
func (m *gateModel) expire(now time.Time) {
	for {
		first := -1
		for i, w := range m.waiting {
			if !w.deadline.IsZero() && !now.Before(w.deadline) && (first < 0 || w.deadline.Before(m.waiting[first].deadline)) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		kind := m.waiting[first].op.kind
		m.settle(first, actors.ErrTimeout)
		m.advance(kind)
	}
}

// byNumber sorts outcomes by operation.
func byNumber(o []outcome) string {
	o = slices.Clone(o)
	slices.SortStableFunc(o, func(a, b outcome) int { return a.n - b.n })
	return fmt.Sprint(o)
}

func TestAGateBehavesLikeItsModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		var failure any // rapid's way to end a run; it must see it on its own goroutine
		synctest.Test(t, func(*testing.T) {
			defer func() { failure = recover() }()
			runGateModel(r)
		})
		if failure != nil {
			panic(failure)
		}
	})
}

func runGateModel(t *rapid.T) {
	var places [3]int
	for i := range places {
		places[i] = rapid.IntRange(0, 3).Draw(t, "places")
	}
	m := gateModel{places: places}
	g := newGate(places[0], places[1], places[2])
	var mu sync.Mutex
	var outcomes []outcome
	defer synctest.Wait()
	defer g.Stop() // no waiter may outlive the bubble
	for n := range rapid.IntRange(1, 80).Draw(t, "steps") {
		kind := actors.Op(rapid.IntRange(0, 2).Draw(t, "kind"))
		op := &operation{kind, n}
		patience := time.Duration(rapid.IntRange(1, 5).Draw(t, "patience"))*time.Second + time.Duration(n) // no two expire together
		until := time.Now().Add(patience)
		told := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, actors.ErrTimeout) {
				err = actors.ErrTimeout
			}
			outcomes = append(outcomes, outcome{n, err})
		}
		action := rapid.SampledFrom([]string{"enter", "enter context", "submit", "submit", "submit for good", "leave", "leave", "leave", "force", "open", "wait", "stop"}).Draw(t, "action")
		switch action {
		case "enter":
			m.come(op, false, until)
			go func() { told(g.Enter(op, patience)) }()
		case "enter context":
			m.come(op, false, until)
			go func() {
				ctx, cancel := context.WithDeadline(context.Background(), until)
				defer cancel()
				told(g.EnterContext(ctx, op))
			}()
		case "submit":
			m.come(op, true, until)
			g.Submit(op, patience, told)
		case "submit for good":
			m.come(op, true, time.Time{})
			g.Submit(op, 0, told)
		case "leave":
			if m.taken[kind] > 0 {
				m.taken[kind]--
				m.advance(kind)
				g.Leave(op.kind)
			}
		case "force":
			m.admit(op)
			g.Force(op)
		case "open":
			if !m.open && !m.stopped {
				m.open = true
				m.posted, m.inside = append(m.posted, m.inside...), nil
				for k := range m.places {
					m.places[k] = max(m.places[k], 1)
					m.advance(actors.Op(k))
				}
			}
			g.Open()
		case "wait":
			d := time.Duration(rapid.IntRange(1, 3).Draw(t, "seconds")) * time.Second
			time.Sleep(d)
			m.expire(time.Now())
		case "stop":
			if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
				for len(m.waiting) > 0 {
					m.settle(0, actors.ErrHubStopped)
				}
				if first := g.Stop(); first == m.stopped {
					t.Fatalf("Stop said %v", first)
				}
				m.stopped = true
			}
		}
		synctest.Wait()
		mu.Lock()
		got := byNumber(outcomes)
		mu.Unlock()
		if want := byNumber(m.outcomes); got != want {
			t.Fatalf("%s: outcomes %v, want %v", action, got, want)
		}
		g.mu.Lock()
		posted := slices.Clone(g.posted)
		g.mu.Unlock()
		if !slices.Equal(posted, m.posted) {
			t.Fatalf("%s: posted %v, want %v", action, posted, m.posted)
		}
	}
}

// A registry that takes operations while many callers enter, some of them too impatient, and the gate stops in the middle.
func TestUnderLoadEachOperationIsPostedOnceOrFailedNeverBoth(t *testing.T) {
	for _, places := range []int{0, 1, 16} {
		t.Run(fmt.Sprint(places, " places"), func(t *testing.T) { loadGate(t, places) })
	}
}

func loadGate(t *testing.T, places int) {
	const callers, perCaller, stopAfter = 8, 400, 2000
	registry := make(chan *operation, callers*perCaller)
	g := actors.NewGate(places, places, places, func(op actors.Operation) { registry <- op.(*operation) })
	posted := map[int]int{}
	var order [callers][]int
	done := make(chan struct{})
	go func() {
		defer close(done)
		for op := range registry {
			posted[op.n]++
			order[op.n/perCaller] = append(order[op.n/perCaller], op.n)
			if len(posted) == stopAfter {
				g.Stop()
			}
			g.Leave(op.kind)
		}
	}()
	g.Open()
	var wg sync.WaitGroup
	results := make([]error, callers*perCaller)
	for c := range callers {
		wg.Go(func() {
			for i := range perCaller {
				n := c*perCaller + i
				op := &operation{actors.Op(n % 3), n}
				patience := time.Minute
				if n%5 == 0 {
					patience = 0 // its timer races with Leave and Stop
				}
				if n%2 == 0 {
					results[n] = g.Enter(op, patience)
					continue
				}
				told := make(chan error, 2)
				g.Submit(op, patience, func(err error) { told <- err })
				results[n] = <-told
				if len(told) > 0 {
					t.Errorf("%d was told twice", n)
				}
			}
		})
	}
	wg.Wait()
	close(registry)
	<-done
	for n, err := range results {
		if want := err == nil; posted[n] > 1 || (posted[n] == 1) != want {
			t.Fatalf("operation %d: posted %d times, error %v", n, posted[n], err)
		}
	}
	for _, ns := range order {
		if !slices.IsSorted(ns) {
			t.Fatal("the operations of one caller were reordered")
		}
	}
}
