package soak_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wskit/wskit"
)

// stream is one publisher's numbered messages.
type stream struct {
	id   int
	home int  // the instance that publishes
	json bool // through BroadcastJSON: for the other instance too, in no promised order

	order sync.Mutex // held while a message is handed over, where the order counts

	mu  sync.RWMutex
	all []*message

	// latest is, for each instance, when the newest message was published that all its stable subscribers have.
	latest [2]atomic.Int64
}

// message is one of them; its number is its index plus one. Times count from base.
type message struct {
	begun    time.Duration
	returned atomic.Int64 // when the call that published it returned; 0: it has not

	heard    [2]atomic.Int32 // by how many stable subscribers of each instance
	complete [2]atomic.Int64 // when that were all
}

var base = time.Now()

func now() time.Duration { return time.Since(base) }

// padding makes a message about as long as real ones.
const padding = "the quick brown fox jumps over the lazy dog, again and again and again"

// publish hands the next message to hub and returns its number.
func (s *stream) publish(hub *wskit.Hub) int {
	if s.json {
		n, m := s.begin()
		if err := hub.BroadcastJSON(context.Background(), "soak", fmt.Sprintf("~%d.%d~", s.id, n)); err != nil {
			panic(err) // it cannot fail to be marshalled
		}
		m.returned.Store(int64(now()))
		return n
	}
	s.order.Lock()
	defer s.order.Unlock()
	n, m := s.begin()
	hub.Broadcast(fmt.Appendf(nil, "~%d.%d~%s", s.id, n, padding))
	m.returned.Store(int64(now()))
	return n
}

func (s *stream) begin() (int, *message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &message{begun: now()}
	s.all = append(s.all, m)
	return len(s.all), m
}

// begun is the number of the last message.
func (s *stream) begun() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.all)
}

func (s *stream) at(n int) *message {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if n < 1 || n > len(s.all) {
		return nil
	}
	return s.all[n-1]
}

// settled is the last number up to which every call had returned by the given time.
func (s *stream) settled(by time.Duration) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := len(s.all)
	for n > 0 && !s.all[n-1].returnedBy(by) {
		n--
	}
	for i := n - 1; i >= max(0, n-16); i-- { // those before it too: several goroutines publish on some streams
		if !s.all[i].returnedBy(by) {
			n = i
		}
	}
	return n
}

func (m *message) returnedBy(t time.Duration) bool {
	r := time.Duration(m.returned.Load())
	return r > 0 && r <= t
}

// arrived notes that a stable subscriber of an instance has the message.
func (s *stream) arrived(m *message, room, stable int) {
	if int(m.heard[room].Add(1)) != stable {
		return
	}
	m.complete[room].Store(int64(now()))
	for {
		old := s.latest[room].Load()
		if int64(m.begun) <= old || s.latest[room].CompareAndSwap(old, int64(m.begun)) {
			return
		}
	}
}

// parse finds stream and number in what a subscriber got.
func parse(data []byte) (id, n int, ok bool) {
	_, rest, found := bytes.Cut(data, []byte("~"))
	body, _, closed := bytes.Cut(rest, []byte("~"))
	a, b, dotted := bytes.Cut(body, []byte("."))
	if !found || !closed || !dotted {
		return 0, 0, false
	}
	id, err1 := strconv.Atoi(string(a))
	n, err2 := strconv.Atoi(string(b))
	return id, n, err1 == nil && err2 == nil
}

// hiccup is a time in which the process did not run, because the machine had other things to do.
type hiccup struct{ from, length time.Duration }

type hiccups []hiccup

// watch notes hiccups until stop is closed.
func (hs *hiccups) watch(stop <-chan struct{}) {
	const every = 5 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for last := now(); ; {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if d := now() - last - every; d > every {
			*hs = append(*hs, hiccup{last, d})
		}
		last = now()
	}
}

// after is t plus d of undisturbed time.
func (hs hiccups) after(t, d time.Duration) time.Duration {
	end := t + d
	for _, h := range hs {
		if h.from+h.length > t && h.from < end {
			end += h.length
		}
	}
	return end
}
