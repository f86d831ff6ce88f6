package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// witness is a subscriber that counts how often Redis got each message. It looks for the marks in what arrives and
// parses nothing else, so as to take little from the rest.
type witness struct {
	conn net.Conn
	done chan struct{}

	mu    sync.Mutex
	first uint32 // the first number that counts
	seen  []bool // by number, from first
	got   int64
	twice int64
}

func newWitness(addr string) (*witness, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(conn, "SUBSCRIBE %s\r\n", redisChannel); err != nil {
		conn.Close()
		return nil, err
	}
	w := &witness{conn: conn, done: make(chan struct{})}
	go w.read()
	return w, nil
}

func (w *witness) close() {
	w.conn.Close()
	<-w.done
}

func (w *witness) read() {
	defer close(w.done)
	buf := make([]byte, 256<<10)
	var scan scanner
	for {
		n, err := w.conn.Read(buf)
		if err != nil {
			return
		}
		w.take(&scan, buf[:n])
		time.Sleep(time.Millisecond) // few reads of much
	}
}

func (w *witness) take(scan *scanner, p []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		rest, number, _, ok := scan.next(p)
		if !ok {
			return
		}
		p = rest
		if number < w.first {
			continue // of an earlier measurement
		}
		at := int(number - w.first)
		for len(w.seen) <= at {
			w.seen = append(w.seen, false)
		}
		if w.seen[at] {
			w.twice++
			continue
		}
		w.seen[at] = true
		w.got++
	}
}

// begin starts a measurement: messages count from number first.
func (w *witness) begin(first uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.first, w.seen, w.got, w.twice = first, w.seen[:0], 0, 0
}

// check waits for n messages, and is nil if each of them came once.
func (w *witness) check(ctx context.Context, n int64) error {
	var got, twice int64
	for range 50 {
		w.mu.Lock()
		got, twice = w.got, w.twice
		w.mu.Unlock()
		if got >= n || ctx.Err() != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got != n || twice > 0 {
		return errors.Join(fmt.Errorf("the witness got %d of %d messages, and %d again", got, n, twice), ctx.Err())
	}
	return nil
}
