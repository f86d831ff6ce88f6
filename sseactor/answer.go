package sseactor

import (
	"fmt"
	"math/rand/v2"
	"mime"
	"net/http"
	"time"
)

// comment is no event. One goes out with the headers: without a byte of the body some clients do not see that the stream is
// open, and proxies keep the headers back. Then one is sent whenever the stream has been silent for KeepAlive.
var comment = []byte(":\n\n")

// Bounds of the time after which a client is to come again: beyond the time that a restart takes, and apart from the others.
const (
	minRetry = 2 * time.Second
	maxRetry = 5 * time.Second
)

// first is what goes out with the headers: the comment, and how long an EventSource waits before it comes back. withComment is
// for all but those who compare what was written with what was sent.
func (c *Config) first(withComment bool) []byte {
	var first []byte
	if withComment {
		first = comment
	}
	if c.Retry > 0 {
		first = fmt.Appendf(first[:len(first):len(first)], "retry: %d\n\n", max(c.Retry.Milliseconds(), 1))
	}
	return first
}

// setHeader says what the response is; none of it may be cached or held back. What the caller has set stands, but for another
// type of content, which an EventSource would refuse.
func setHeader(h http.Header) {
	if kind, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || kind != "text/event-stream" {
		h.Set("Content-Type", "text/event-stream")
	}
	setDefault(h, "Cache-Control", "no-cache")
	setDefault(h, "X-Accel-Buffering", "no")
}

// setDefault sets a header that the caller has not; nil is how net/http is told to leave one out.
func setDefault(h http.Header, name, value string) {
	if _, set := h[name]; !set {
		h.Set(name, value)
	}
}

// Head answers a HEAD request with what a GET would be told of the stream.
func Head(w http.ResponseWriter) {
	setHeader(w.Header())
	w.WriteHeader(http.StatusOK)
}

// ComeBack answers with a stream that is over, and has an EventSource open another in 2 to 5 s. From any other status than 200 it
// would gather that there is none to be had, and give up for good.
func ComeBack(w http.ResponseWriter) {
	setHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(comeBack())
}

// comeBack has an EventSource whose stream ends open another in 2 to 5 s.
func comeBack() []byte {
	retry := minRetry + rand.N(maxRetry-minRetry+1)
	return fmt.Appendf(nil, "retry: %d\n\n", retry.Milliseconds())
}
