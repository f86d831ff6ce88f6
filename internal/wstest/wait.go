// Package wstest is what the tests of this module share: waiting without sleeping, hubs that leave nothing behind, servers
// for every kind of connection, and both a browser's and a misbehaving peer's end of one.
//
//	hub := wstest.Run(t)
//	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: wstest.TLS})
//	browser, _ := srv.Browser(t)
//	hub.Broadcast([]byte("hello"))
//	browser.Expect(t, "hello")
//	hub.Stop()
//	browser.Ends(t, websocket.StatusGoingAway)
//
// What takes a testing.TB fails the test and does not return an error; it is for the test's own goroutine.
package wstest

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must happen, slow machines and the race detector included.
const Patience = 30 * time.Second

// Hush is how long a test watches that something does not happen.
const Hush = 60 * time.Millisecond

// Poll asks every millisecond, for up to limit, and reports whether ok was true in the end.
func Poll(limit time.Duration, ok func() bool) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end.C:
			return ok()
		}
	}
	return true
}

// Eventually polls until ok.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	if !Poll(Patience, ok) {
		t.Fatalf("not within %v: %s", Patience, what)
	}
}

// Receive waits for the next value of ch, or for its end.
func Receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	end := time.NewTimer(Patience)
	defer end.Stop()
	select {
	case v := <-ch:
		return v
	case <-end.C:
		t.Fatalf("not within %v: %s", Patience, what)
		panic("unreachable")
	}
}

// Silent fails if ch delivers, or is closed, within Hush.
func Silent[T any](t testing.TB, what string, ch <-chan T) {
	t.Helper()
	end := time.NewTimer(Hush)
	defer end.Stop()
	select {
	case v := <-ch:
		t.Fatalf("%s: %v", what, v)
	case <-end.C:
	}
}

// Begin runs fn in a goroutine; the channel is closed when it has returned.
func Begin(fn func()) <-chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); fn() }()
	return done
}

// Took is how long fn takes.
func Took(t testing.TB, what string, fn func()) time.Duration {
	t.Helper()
	start := time.Now()
	Receive(t, what, Begin(fn))
	return time.Since(start)
}

// Quickly fails unless fn returns within limit.
func Quickly(t testing.TB, what string, limit time.Duration, fn func()) {
	t.Helper()
	if took := Took(t, what, fn); took > limit {
		t.Errorf("%s took %v, more than %v", what, took, limit)
	}
}
