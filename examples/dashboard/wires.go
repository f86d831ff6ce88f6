package main

import (
	"context"
	"net"
	"sync"
	"time"
)

// wires are the connections to Redis, which can be cut.
type wires struct {
	mu  sync.Mutex
	all map[*wire]struct{}
}

type wire struct {
	net.Conn
	in *wires
}

func (w *wires) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &wire{conn, w}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.all == nil {
		w.all = map[*wire]struct{}{}
	}
	w.all[c] = struct{}{}
	return c, nil
}

func (c *wire) Close() error {
	c.in.mu.Lock()
	delete(c.in.all, c)
	c.in.mu.Unlock()
	return c.Conn.Close()
}

// cut closes them all and returns how many they were.
func (w *wires) cut() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.all)
	for c := range w.all {
		_ = c.Conn.Close()
	}
	clear(w.all)
	return n
}
