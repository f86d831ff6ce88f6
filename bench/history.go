package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Of the scenario resume: how many topics there are, how many messages each of them keeps, and how many of these were missed.
const (
	resumeTopics = 100
	resumeKept   = 100
	resumeMissed = 5
)

// Of the scenario kept: topics, and the messages that each of them keeps and their bytes.
const (
	keptTopics   = 10_000
	keptMessages = 100
	keptSize     = 100
)

// respond answers a request with text, or why there is none.
func respond(w http.ResponseWriter) func(string, error) {
	return func(text string, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte(text))
	}
}

// fillHandler has the server send a message to each of as many topics as the parameter says.
func fillHandler(l logger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("topics"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		respond(w)(l.fill(r.Context(), n))
	}
}

// fill has the server send messages to each of n topics.
func (c *child) fill(n, messages int) error {
	for range messages {
		if _, err := c.get(fmt.Sprintf("/fill?topics=%d", n)); err != nil {
			return err
		}
	}
	return nil
}

// logged orders n messages to each of the topics, in turn, and returns where the log stands then.
func (s *session) logged(ctx context.Context, n int, b body) (position string, err error) {
	var was, is uint64
	if _, was, err = s.position(); err != nil {
		return "", err
	}
	n *= resumeTopics
	if err := s.cast(n, b); err != nil {
		return "", err
	}
	for asked := uint64(0); is < was+uint64(n)+asked; asked++ { // asking for it has the log grow
		if position, is, err = s.position(); err != nil || ctx.Err() != nil {
			return "", errors.Join(err, ctx.Err())
		}
	}
	return position, nil
}

// position is where the server's log stands.
func (s *session) position() (text string, n uint64, err error) {
	raw, err := s.child.get("/position")
	if err != nil {
		return "", 0, err
	}
	_, number, _ := strings.Cut(string(raw), ".")
	n, err = strconv.ParseUint(number, 10, 64)
	return string(raw), n, err
}

// runResume has all connections come at once, with a position before what they are to get, and nothing else.
func runResume(ctx context.Context, s *session, sc *scenario) (*measurement, error) {
	first := s.number
	position, err := s.logged(ctx, resumeKept-resumeMissed, sc.body)
	if err != nil {
		return nil, err
	}
	if _, err = s.logged(ctx, resumeMissed, sc.body); err != nil {
		return nil, err
	}
	s.load.begin(first) // lest more than was missed goes unnoticed
	s.load.some.Store(true)
	s.load.want.Store(int64(s.conns * resumeMissed))
	s.load.target = func(i int) string {
		return "/?" + url.Values{"topic": {topicNames[i%resumeTopics]}, "last_event_id": {position}}.Encode()
	}
	if err := s.redis.forget(ctx); err != nil {
		return nil, err
	}
	var all, lag time.Duration
	m, err := s.measure(ctx, func() (int64, error) {
		start := time.Now()
		if err := s.load.connect(ctx, s.conns, 0); err != nil {
			return 0, err
		}
		connected := time.Now()
		err := s.load.await(ctx)
		all, lag = time.Since(start), time.Since(connected)
		return int64(s.conns), err
	})
	if err != nil {
		return nil, err
	}
	m.Values[cpuPerResume.key] = m.Values[cpuPerDelivery.key]
	delete(m.Values, cpuPerDelivery.key)
	m.Values[resumeTime.key], m.Values[resumeLag.key] = all.Seconds(), lag.Seconds()*1000
	calls, took, err := s.redis.reads(ctx)
	if err != nil {
		return nil, err
	}
	m.Values[readsPerTopic.key], m.Values[readTime.key] = float64(calls)/(resumeTopics+1), took.Seconds()*1000 // the hub is a topic too
	plain, err := s.connectAnew(ctx)
	m.Values[connectTime.key] = plain.Seconds()
	return m, err
}

// connectAnew has everybody leave and come again with no position, and returns how long the coming took.
func (s *session) connectAnew(ctx context.Context) (time.Duration, error) {
	s.load.disconnect()
	if err := s.awaitCount(ctx, 0, false); err != nil {
		return 0, err
	}
	s.load.begin(s.number)
	s.load.target = func(i int) string { return "/?" + url.Values{"topic": {topicNames[i%resumeTopics]}}.Encode() }
	start := time.Now()
	err := s.load.connect(ctx, s.conns, 0)
	return time.Since(start), err
}

// runKept measures what the log takes: with one message in each topic, and with all of them.
func runKept(ctx context.Context, s *session, _ *scenario) (*measurement, error) {
	used := func() (int64, error) {
		if s.redis != nil {
			return s.redis.memory(ctx)
		}
		st, err := s.child.stats(true)
		return st.Heap, err
	}
	if err := s.child.fill(1, 1); err != nil { // what is made once is not of a topic
		return nil, err
	}
	var sizes [3]int64
	var err error
	if sizes[0], err = used(); err != nil {
		return nil, err
	}
	for i, messages := range []int{1, keptMessages - 1} {
		if err := s.child.fill(keptTopics, messages); err != nil {
			return nil, err
		}
		if sizes[i+1], err = used(); err != nil {
			return nil, err
		}
	}
	each := float64(sizes[2]-sizes[1]) / (keptTopics * (keptMessages - 1))
	return &measurement{Count: keptTopics * keptMessages, Values: map[string]float64{
		bytesPerMessage.key: each, bytesPerTopic.key: float64(sizes[1]-sizes[0])/keptTopics - each,
	}}, nil
}
