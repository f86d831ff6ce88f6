package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// publishers is how many goroutines publish at a time.
const publishers = 64

// publisher is a server that publishes to a Redis. Its method may be called from any goroutine.
type publisher interface {
	// publish returns when the event was published, or with the reason why not.
	publish(ctx context.Context, event any) error
}

// event is what is published, 128 bytes of JSON or so.
type event struct {
	Type string    `json:"type"`
	Room string    `json:"room"`
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

// newEvent makes an event with a mark, as in messages.
func newEvent(number uint32) event {
	return event{"message", "lobby", string(appendTail([]byte{mark}, number, 0)), time.Now()}
}

// published is what a server process tells about a time of publishing.
type published struct {
	Count   int64   `json:"count"` // calls that returned without error
	Failed  int64   `json:"failed"`
	Why     string  `json:"why,omitempty"` // of one that failed
	Seconds float64 `json:"seconds"`
	P50     float64 `json:"p50_ms"` // of a call
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p999_ms"`
}

// publishHandler publishes events numbered from the parameter first on, for the parameter time, from as many goroutines as
// callers says, each with the next event when the call before has returned.
func publishHandler(p publisher) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, err1 := strconv.ParseUint(r.FormValue("first"), 10, 32)
		callers, err2 := strconv.Atoi(r.FormValue("callers"))
		d, err3 := time.ParseDuration(r.FormValue("time"))
		if err1 != nil || err2 != nil || err3 != nil {
			http.Error(w, "first, callers or time missing", http.StatusBadRequest)
			return
		}
		_ = json.NewEncoder(w).Encode(publishFor(p, uint32(first), callers, d))
	})
}

func publishFor(p publisher, first uint32, callers int, d time.Duration) published {
	var (
		next, failed atomic.Int64
		why          atomic.Pointer[error]
		latency      histogram
		wg           sync.WaitGroup
	)
	start := time.Now()
	for range callers {
		wg.Go(func() {
			for before := time.Now(); before.Sub(start) < d; {
				err := p.publish(context.Background(), newEvent(first+uint32(next.Add(1)-1)))
				if err != nil {
					failed.Add(1)
					why.Store(&err)
				}
				now := time.Now()
				latency.add(now.Sub(before))
				before = now
			}
		})
	}
	wg.Wait()
	ms := func(q float64) float64 { return latency.quantile(q).Seconds() * 1000 }
	out := published{
		Count: next.Load() - failed.Load(), Failed: failed.Load(), Seconds: time.Since(start).Seconds(),
		P50: ms(0.5), P99: ms(0.99), P999: ms(0.999),
	}
	if err := why.Load(); err != nil {
		out.Why = (*err).Error()
	}
	return out
}

// publish has the server process publish for a time.
func (c *child) publish(first uint32, d time.Duration) (out published, err error) {
	query := url.Values{"first": {fmt.Sprint(first)}, "callers": {fmt.Sprint(publishers)}, "time": {d.String()}}
	body, err := c.get("/publish?" + query.Encode())
	if err == nil {
		err = json.NewDecoder(strings.NewReader(string(body))).Decode(&out)
	}
	return out, err
}

// runPublish counts what a witness of its own finds in Redis: what was published without error has to be there, once.
func runPublish(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	w, err := newWitness(s.redis.addr)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := s.redis.awaitSubscribers(ctx, 2); err != nil { // the witness, and the system itself
		return nil, err
	}
	publish := func(d time.Duration) (out published, err error) {
		w.begin(s.number)
		if out, err = s.child.publish(s.number, d); err != nil {
			return out, err
		}
		s.number += uint32(out.Count + out.Failed)
		if out.Failed > 0 {
			return out, fmt.Errorf("%d of %d publishes failed: %s", out.Failed, out.Count+out.Failed, out.Why)
		}
		return out, w.check(ctx, out.Count)
	}
	if _, err := publish(warmUp); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	var out published
	m, err := s.measure(ctx, func() (int64, error) {
		out, err = publish(sc.time)
		return out.Count, err
	})
	if err != nil {
		return nil, err
	}
	m.Values[cpuPerPublish.key] = m.Values[cpuPerDelivery.key]
	delete(m.Values, cpuPerDelivery.key)
	m.Values[publishesPerSec.key] = float64(out.Count) / out.Seconds
	m.Values[p50.key], m.Values[p99.key], m.Values[p999.key] = out.P50, out.P99, out.P999
	return m, nil
}
