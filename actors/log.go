package actors

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"
)

// maxRecords is how many log records wait for the user's handler; of more than that only the number is kept.
const maxRecords = 1024

// NewLog is a logger that hands what it is given to log's handler, which is user code, on a goroutine of its own: it may block,
// panic and call the hub, and whoever logs may hold a lock. nil: slog.Default(), as it is then, at Warn and above.
func NewLog(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(&logHandler{logQueue: &logQueue{}, least: slog.LevelWarn})
	}
	switch h := log.Handler(); {
	case h == slog.DiscardHandler:
		return log
	default:
		if _, done := h.(*logHandler); done {
			return log
		}
		return slog.New(&logHandler{logQueue: &logQueue{to: log}, least: slog.LevelDebug})
	}
}

// Plain is a logger of NewLog's without the attributes that it was given since.
func Plain(log *slog.Logger) *slog.Logger {
	if h, ok := log.Handler().(*logHandler); ok {
		return slog.New(&logHandler{h.logQueue, h.least, nil})
	}
	return log
}

// FlushLog waits until what was logged so far has been handled, for at most that long.
func FlushLog(log *slog.Logger, limit time.Duration) {
	h, ok := log.Handler().(*logHandler)
	if !ok {
		return
	}
	end := time.NewTimer(limit)
	defer end.Stop()
	if idle := h.idle(); idle != nil {
		select {
		case <-idle:
		case <-end.C:
		}
	}
}

// logHandler is the slog.Handler of NewLog.
type logHandler struct {
	*logQueue
	least slog.Level
	with  []slog.Attr
}

// logQueue is what waits for the user's handler. While there is anything a goroutine works on it.
type logQueue struct {
	to *slog.Logger // nil: slog.Default()

	mu      sync.Mutex
	records []slog.Record
	missed  int // that found no room
	working bool
	waiting chan struct{} // closed when nothing waits; nil while nobody asks
}

func (h *logHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.least }

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.logQueue, h.least, append(slices.Clip(h.with), attrs...)}
}

// WithGroup is not used by wskit, whose keys stand at the top.
func (h *logHandler) WithGroup(string) slog.Handler { return h }

func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	if len(h.with) > 0 {
		r = r.Clone()
		r.AddAttrs(h.with...)
	}
	h.add(r)
	return nil
}

func (q *logQueue) add(r slog.Record) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) >= maxRecords {
		q.missed++
		return
	}
	q.records = append(q.records, r)
	if !q.working {
		q.working = true
		go q.work()
	}
}

// idle is closed when nothing waits any more; nil if that is so now.
func (q *logQueue) idle() <-chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.working && q.waiting == nil {
		q.waiting = make(chan struct{})
	}
	return q.waiting
}

func (q *logQueue) work() {
	over := false
	defer func() {
		if !over { // the handler has ended this goroutine
			go q.work()
		}
	}()
	for {
		r, ok := q.next()
		if !ok {
			over = true
			return
		}
		_ = Fence("slog.Handler", func() { // whom would it be reported to?
			to := q.to
			if to == nil {
				to = slog.Default()
			}
			if ctx := context.Background(); to.Enabled(ctx, r.Level) {
				_ = to.Handler().Handle(ctx, r)
			}
		})
	}
}

func (q *logQueue) next() (r slog.Record, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.records) > 0 {
		r = q.records[0]
		q.records = slices.Delete(q.records, 0, 1)
		return r, true
	}
	if n := q.missed; n > 0 {
		q.missed = 0
		var pc [1]uintptr
		runtime.Callers(1, pc[:])
		r = slog.NewRecord(time.Now(), slog.LevelWarn, "wskit: log records were left out, since the handler did not keep up", pc[0])
		r.AddAttrs(slog.Int("count", n))
		return r, true
	}
	q.records, q.working = nil, false
	if q.waiting != nil {
		close(q.waiting)
		q.waiting = nil
	}
	return r, false
}
