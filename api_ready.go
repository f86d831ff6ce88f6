package wskit

import (
	"io"
	"net/http"

	"github.com/wskit/wskit/actors"
)

// Ready is what a balancer or an orchestrator asks whether this instance is to get connections: 200 and "ok" while the hub runs; 503 and
// "not ready" before, from the moment it begins to end (Shutdown, the end of Run's context or of Serve's, a failure beyond its budget), and
// after. GET and HEAD; others get 405. It may be asked from any goroutine, as often as one likes, and does not start a hub that nobody has used.
//
// It says nothing of Redis, unless WithRedisRequired has it: without Redis every instance goes on with those whom it has, and if all of them
// were not ready for want of it nobody would be served. Nor is it for a liveness probe: a hub that drains is not to be killed for that.
func (h *Hub) Ready(opts ...ReadyOption) http.Handler {
	var asked readiness
	for _, opt := range opts {
		if opt != nil {
			opt(&asked)
		}
	}
	return readyHandler(func() bool { return !h.unused() && asked.met(h.up()) })
}

func readyHandler(ready func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			answer(w, http.StatusMethodNotAllowed)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if !ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "not ready\n")
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
}

// ReadyOption changes what Ready asks. A nil option is skipped.
type ReadyOption func(*readiness)

type readiness struct{ redis bool }

// WithRedisRequired has a hub with Redis not be ready before its link to Redis is up, and while it is lost, as WithOnRedis tells.
func WithRedisRequired() ReadyOption { return func(r *readiness) { r.redis = true } }

func (r readiness) met(l *actors.Link) bool {
	return l.Ready() && (!r.redis || l.Redis == nil || l.Counters.RedisUp.Load())
}
