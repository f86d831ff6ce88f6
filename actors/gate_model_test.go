package actors_test

import (
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
	op       *operation
	deadline time.Time
}

// gateModel is what a Gate should be, as slices. It says what was posted, and what each operation came to.
type gateModel struct {
	open, stopped bool
	places, taken [3]int
	line          []gateWaiter
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

func (m *gateModel) submit(op *operation, until time.Time) {
	err := error(nil)
	switch k := op.kind; {
	case m.stopped:
		err = actors.ErrHubStopped
	case m.taken[k] < m.places[k] && len(m.line) == 0:
		m.admit(op)
	case !m.open:
		err = actors.ErrTimeout
	default:
		m.line = append(m.line, gateWaiter{op, until})
		return
	}
	m.outcomes = append(m.outcomes, outcome{op.n, err})
}

// advance admits from the head of the line.
func (m *gateModel) advance() {
	for len(m.line) > 0 && m.taken[m.line[0].op.kind] < m.places[m.line[0].op.kind] {
		op := m.line[0].op
		m.line = m.line[1:]
		m.admit(op)
		m.outcomes = append(m.outcomes, outcome{op.n, nil})
	}
}

// expire has those time out whose deadline has passed, one after the other: each may have held up the line.
func (m *gateModel) expire(now time.Time) {
	for {
		first := -1
		for i, w := range m.line {
			if !now.Before(w.deadline) && (first < 0 || w.deadline.Before(m.line[first].deadline)) {
				first = i
			}
		}
		if first < 0 {
			return
		}
		m.outcomes = append(m.outcomes, outcome{m.line[first].op.n, actors.ErrTimeout})
		m.line = slices.Delete(slices.Clone(m.line), first, first+1)
		m.advance()
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
	defer g.Stop() // no waiter may outlive the bubble
	for n := range rapid.IntRange(1, 60).Draw(t, "steps") {
		kind := rapid.IntRange(0, 2).Draw(t, "kind")
		op := &operation{actors.Op(kind), n}
		switch rapid.SampledFrom([]string{"submit", "submit", "submit", "leave", "leave", "force", "open", "wait", "stop"}).Draw(t, "action") {
		case "submit":
			patience := time.Duration(rapid.IntRange(1, 5).Draw(t, "patience"))*time.Second + time.Duration(n) // no two expire together
			m.submit(op, time.Now().Add(patience))
			g.Submit(op, patience, func(err error) {
				mu.Lock()
				outcomes = append(outcomes, outcome{n, err})
				mu.Unlock()
			})
		case "leave":
			if m.taken[kind] > 0 {
				m.taken[kind]--
				m.advance()
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
				}
			}
			g.Open()
		case "wait":
			d := time.Duration(rapid.IntRange(1, 3).Draw(t, "seconds")) * time.Second
			time.Sleep(d)
			synctest.Wait()
			m.expire(time.Now())
		case "stop":
			if rapid.IntRange(0, 4).Draw(t, "really") == 0 {
				for _, w := range m.line {
					m.outcomes = append(m.outcomes, outcome{w.op.n, actors.ErrHubStopped})
				}
				m.line = nil
				if first := g.Stop(); first == m.stopped {
					t.Fatalf("Stop said %v", first)
				}
				m.stopped = true
			}
		}
		mu.Lock()
		got := byNumber(outcomes)
		mu.Unlock()
		if want := byNumber(m.outcomes); got != want {
			t.Fatalf("outcomes %v, want %v", got, want)
		}
		g.mu.Lock()
		posted := slices.Clone(g.posted)
		g.mu.Unlock()
		if !slices.Equal(posted, m.posted) {
			t.Fatalf("posted %v, want %v", posted, m.posted)
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
