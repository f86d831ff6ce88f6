package soak_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

const (
	channel = "soak"
	drain   = 5 * time.Second
)

// arena is everything of one soak.
type arena struct {
	t       *testing.T
	plan    plan
	redis   *redistest.Server
	rooms   [2]*room
	streams []*stream
	http    *http.Server
	wide    string // where the server listens
	narrow  string // and where its sockets have small buffers
	serial  atomic.Int64
	visits  sync.Map // by id: what /ws does with a request
	client  *http.Client
	work    sync.WaitGroup // every goroutine of the soak
	pumps   sync.WaitGroup // every ReadPump, WritePump and AcceptSSE
	closing atomic.Bool

	publishing  context.Context
	silence     context.CancelFunc // ends the publishers
	tormenting  context.Context
	mercy       context.CancelFunc // ends the faults
	faultsDone  sync.WaitGroup
	publishDone sync.WaitGroup

	mu         sync.Mutex
	witnesses  []*witness
	strangers  []*stranger
	faults     []*fault
	injections []*injection
	outages    []outage
	failures   []string
	hiccups    hiccups
	watching   chan struct{}
	peers      atomic.Int64 // connections that were made to fail
}

// room is one instance.
type room struct {
	a      *arena
	index  int
	hub    *wskit.Hub
	proxy  *redistest.ProxyServer
	redis  *redis.Client
	link   string // id of the link's root actor
	greets bool   // OnConnect greets
	stable int    // subscribers that stay

	steady      [2]*stream // of Broadcast
	probe       *stream    // of Broadcast, by whoever likes
	json, aside *stream    // of BroadcastJSON: one publisher, and whoever likes

	stop   context.CancelFunc
	ran    chan struct{} // closed when Run has returned
	listen chan struct{} // closed when SubscribeToRedis has

	connects, disconnects, drops atomic.Int64
	ungreeted                    sync.Map    // subscribers that OnConnect could send nothing
	onMessage, onDrop            sync.Map    // by *wskit.Client: what the callback does, once
	onError                      chan func() // what OnError does, once

	mu      sync.Mutex
	reports []report
	gaps    int
}

// report is one call of OnError about Redis.
type report struct {
	at  time.Duration
	gap bool
}

func newArena(t *testing.T, p plan) *arena {
	a := &arena{t: t, plan: p, redis: redistest.Start(t), client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	a.publishing, a.silence = context.WithCancel(context.Background())
	a.tormenting, a.mercy = context.WithCancel(context.Background())
	watched := make(chan struct{})
	a.watching = watched
	a.work.Go(func() { a.hiccups.watch(a.publishing.Done()); close(watched) })
	a.serve()
	for i := range a.rooms {
		a.rooms[i] = a.open(i)
	}
	return a
}

func (a *arena) open(index int) *room {
	r := &room{a: a, index: index, greets: index == 0, stable: 4 * a.plan.each, onError: make(chan func(), 64), ran: make(chan struct{}), listen: make(chan struct{})}
	made := func(json bool) *stream {
		s := &stream{id: len(a.streams), home: index, json: json}
		a.streams = append(a.streams, s)
		return s
	}
	r.steady = [2]*stream{made(false), made(false)}
	r.probe, r.json, r.aside = made(false), made(true), made(true)
	r.proxy = redistest.Proxy(a.t, a.redis.Addr())
	r.redis = redistest.Client(a.t, r.proxy.Addr())
	r.hub = wskit.NewHub(
		wskit.WithName("soak-"+strconv.Itoa(index)), wskit.WithRedis(r.redis, channel), wskit.WithDrainTimeout(drain),
		wskit.WithLogger(slog.New(&logs{a: a})),
		wskit.WithOnConnect(r.connected), wskit.WithOnDisconnect(r.disconnected), wskit.WithOnError(r.failed),
		wskit.WithOnDrop(r.dropped), wskit.WithOnMessage(r.said),
		wskit.WithOnTimeout(func(op string) { a.fail("instance %d: %s timed out", index, op) }),
	)
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	links := map[string]bool{}
	for _, id := range linkIDs() {
		links[id] = true
	}
	a.work.Go(func() { defer close(r.ran); r.hub.Run(ctx) })
	a.work.Go(func() { defer close(r.listen); r.hub.SubscribeToRedis(ctx) })
	a.must(wstest.Poll(patience, func() bool { return a.redis.Subscribers(a.t, channel) == index+1 }), "the hub subscribes")
	a.must(wstest.Poll(patience, func() bool {
		for _, id := range linkIDs() {
			if !links[id] {
				r.link = id
			}
		}
		return r.link != ""
	}), "the link's actor is there")
	return r
}

// linkIDs is the ids of the root actors of all Redis links.
func linkIDs() (ids []string) {
	for _, id := range wstest.Processes(system()) {
		if strings.HasPrefix(id, "redis-link") && !strings.Contains(id, "/") {
			ids = append(ids, id)
		}
	}
	return ids
}

func (r *room) connected(s wskit.Subscriber) {
	r.connects.Add(1)
	if x, ok := s.(*stranger); ok {
		x.connects.Add(1)
		x.do("OnConnect")
		return
	}
	if r.greets && !s.Send([]byte(hello)) {
		r.ungreeted.Store(s, true)
	}
}

func (r *room) disconnected(s wskit.Subscriber) {
	r.disconnects.Add(1)
	if x, ok := s.(*stranger); ok {
		x.disconnects.Add(1)
		x.do("OnDisconnect")
	}
}

func (r *room) failed(op string, err error) {
	var p *actors.PanicError
	switch {
	case errors.As(err, &p):
		if _, ours := p.Value.(onPurpose); !ours && p.Value != "runtime.Goexit was called" {
			r.a.fail("instance %d: a panic nobody asked for in %s: %v\n%s", r.index, op, p.Value, p.Stack)
		}
	case op == "redis":
		r.mu.Lock()
		gap := errors.Is(err, wskit.ErrRedisGap)
		if gap {
			r.gaps++
		}
		r.reports = append(r.reports, report{now(), gap})
		r.mu.Unlock()
	default:
		r.a.fail("instance %d: %s: %v", r.index, op, err)
	}
	select {
	case fn := <-r.onError:
		fn()
	default:
	}
}

func (r *room) dropped(s wskit.Subscriber, _ []byte) {
	r.drops.Add(1)
	if fn, ok := r.onDrop.LoadAndDelete(s); ok {
		fn.(func())()
	}
}

func (r *room) said(c *wskit.Client, _ []byte) {
	if fn, ok := r.onMessage.LoadAndDelete(c); ok {
		fn.(func())()
	}
}

// onPurpose is what the soak panics with.
type onPurpose struct{ where string }

// logs looks through what a hub logs for what must not happen.
type logs struct{ a *arena }

func (l *logs) Enabled(context.Context, slog.Level) bool { return true }
func (l *logs) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logs) WithGroup(string) slog.Handler            { return l }
func (l *logs) Handle(_ context.Context, r slog.Record) error {
	for _, bad := range []string{"hub ends", "left behind", "drain timeout", "starts anew"} {
		if strings.Contains(r.Message, bad) {
			text := r.Message
			r.Attrs(func(at slog.Attr) bool { text += " " + at.String(); return true })
			l.a.fail("the log says: %s", text)
		}
	}
	return nil
}

const patience = 20 * time.Second

func (a *arena) fail(format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.failures) < 40 {
		a.failures = append(a.failures, fmt.Sprintf("at %.3fs: ", now().Seconds())+fmt.Sprintf(format, args...))
	}
}

// patience is how long to wait for what must happen: not long once the soak has failed.
func (a *arena) patience() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.failures) > 0 {
		return patience / 8
	}
	return patience
}

// must ends the soak at once; it is for the test's goroutine.
func (a *arena) must(ok bool, what string) {
	if !ok {
		a.t.Fatalf("not within %v: %s", patience, what)
	}
}

// populate lets the healthy subscribers in that stay.
func (a *arena) populate() {
	var starting sync.WaitGroup
	for _, r := range a.rooms {
		for _, kind := range kinds {
			starting.Go(func() {
				for range a.plan.each {
					if _, err := a.join(kind, r, true); err != nil {
						a.fail("a healthy subscriber (%s) gets in: %v", kind, err)
					}
				}
			})
		}
	}
	starting.Wait()
	for _, r := range a.rooms {
		a.must(wstest.Poll(patience, func() bool { return r.hub.SubscriberCount() == r.stable }), "all are in")
	}
}

// publish begins what the healthy subscribers listen to, and lets some come and go.
func (a *arena) publish() {
	steadily := func(r *room, s *stream, every time.Duration) {
		a.publishDone.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					s.publish(r.hub)
				case <-a.publishing.Done():
					return
				}
			}
		})
	}
	for _, r := range a.rooms {
		for _, s := range r.steady {
			steadily(r, s, 100*time.Millisecond)
		}
		steadily(r, r.json, 100*time.Millisecond)
		a.publishDone.Go(func() { a.comeAndGo(r) })
	}
}

// comeAndGo has healthy subscribers of all kinds arrive and leave.
func (a *arena) comeAndGo(r *room) {
	places := make(chan struct{}, max(a.plan.guests/2, 1))
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	var all sync.WaitGroup
	defer all.Wait()
	for i := 0; ; i++ {
		select {
		case <-a.publishing.Done():
			return
		case <-tick.C:
		}
		select {
		case places <- struct{}{}:
		default:
			continue
		}
		all.Go(func() {
			defer func() { <-places }()
			w, err := a.join(kinds[i%len(kinds)], r, false)
			if err != nil {
				a.fail("a healthy subscriber comes: %v", err)
				return
			}
			stay := time.NewTimer(time.Second + rand.N(max(a.plan.length/8, time.Second)))
			defer stay.Stop()
			select {
			case <-stay.C:
			case <-a.publishing.Done():
			}
			a.part(w)
		})
	}
}

func system() *actor.ActorSystem { return actors.System() }
