// Command dashboard serves a page that shows the two transports of wskit, WebSocket and Server-Sent Events, side by side.
//
//	go run ./examples/dashboard
//	go run ./examples/dashboard -addr 127.0.0.1:8081 -redis 127.0.0.1:6379
//
// Instances that share a Redis behave as one: what is sent to any of them reaches the pages of all.
package main

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/wskit/wskit"
)

const (
	channel      = "wskit-dashboard" // on Redis; instances with the same channel are one
	maxText      = 4 << 10           // bytes of one message
	drainTimeout = 5 * time.Second
)

//go:embed page
var page embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on")
	redisAddr := flag.String("redis", "", "`host:port` of the Redis that joins instances (empty: off)")
	flag.Parse()
	log.SetFlags(log.Ltime)
	slog.SetLogLoggerLevel(slog.LevelError) // of the hub only crashes, with their stacks; what else goes wrong onError tells
	logging.Disable()                       // go-redis would report each attempt of an outage

	// The first signal drains; once it has come, stop gives the second one back its usual effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, *addr, *redisAddr); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then drains.
func run(ctx context.Context, addr, redisAddr string) error {
	serving, stop := context.WithCancel(context.Background())
	defer stop()
	d := newDashboard("", redisAddr)
	if d.redis != nil {
		defer d.redis.Close() // when the hub needs it no more
	}
	srv := &http.Server{Addr: addr, Handler: d.handler(), ReadHeaderTimeout: 5 * time.Second}
	srv.BaseContext = func(l net.Listener) context.Context { // called once, when the port is open
		host, _ := os.Hostname()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		d.name = net.JoinHostPort(host, port)
		d.attend(serving)
		log.Printf("dashboard on http://%s/", l.Addr())
		if d.redis == nil {
			log.Print("redis is off: this instance is on its own")
		} else {
			log.Printf("redis is on: one with every instance at %s", redisAddr)
		}
		return context.Background()
	}

	var start time.Time
	defer context.AfterFunc(ctx, func() {
		start = time.Now()
		log.Printf("draining %d connections…", d.hub.SubscriberCount())
		stop()
	})()
	if err := wskit.Serve(serving, srv, d.hub); errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program; pick a free port with -addr", addr)
	} else if err != nil {
		return err
	}
	log.Printf("drained in %v, bye", time.Since(start).Round(time.Millisecond))
	return nil
}

// dashboard is one instance: a hub, and what its pages are told about it.
type dashboard struct {
	name      string
	hub       *wskit.Hub
	redis     *redis.Client // nil: off
	redisDown atomic.Bool
}

func newDashboard(name, redisAddr string) *dashboard {
	d := &dashboard{name: name}
	if redisAddr != "" {
		d.redis = redis.NewClient(&redis.Options{Addr: redisAddr})
	}
	d.hub = wskit.NewHub(
		wskit.WithRedis(d.redis, channel), // nil turns Redis off
		wskit.WithDrainTimeout(drainTimeout),
		wskit.WithLogger(slog.Default()),
		wskit.WithOnError(d.onError),
		// What OnConnect sends arrives before any broadcast, so a page never waits for its first numbers.
		wskit.WithOnConnect(func(s wskit.Subscriber) { s.Send(d.stats()) }),
	)
	return d
}

// attend tells the hub's pages once a second how things stand, and listens to Redis, until ctx ends.
func (d *dashboard) attend(ctx context.Context) {
	if d.redis != nil {
		go d.hub.SubscribeToRedis(ctx)
	}
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				d.askRedis(ctx)
				d.hub.Broadcast(d.stats()) // not BroadcastJSON: these numbers are this instance's own
			}
		}
	}()
}

// onError is told by the hub what went wrong. Without Redis the hub goes on locally and keeps trying, so one line per
// outage is enough.
func (d *dashboard) onError(op string, err error) {
	if op != "redis" {
		log.Printf("%s: %v", op, err)
	} else if d.redisDown.CompareAndSwap(false, true) {
		log.Printf("redis is unreachable, working locally until it is back: %v", err)
	}
}

// askRedis ends an outage that onError began.
func (d *dashboard) askRedis(ctx context.Context) {
	if !d.redisDown.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if d.redis.Ping(ctx).Err() == nil && d.redisDown.CompareAndSwap(true, false) {
		log.Print("redis is back, instances are one again")
	}
}

// stats is the message that tells a page about this instance.
func (d *dashboard) stats() []byte {
	state := "off"
	switch {
	case d.redisDown.Load():
		state = "unreachable"
	case d.redis != nil:
		state = "on"
	}
	data, _ := json.Marshal(wskit.NewEvent("stats", map[string]any{ // strings and an int always marshal
		"connected": d.hub.SubscriberCount(),
		"instance":  d.name,
		"redis":     state,
	}))
	return data
}

func (d *dashboard) handler() http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // "page" is a valid path
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("GET /ws", d.webSocket)
	mux.HandleFunc("GET /events", d.events)
	mux.HandleFunc("POST /send", d.send)

	// Other sites may neither post to /send through a visitor's browser, nor frame the page, nor get anything to run in it.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // a rebuilt binary brings a new page
		guarded.ServeHTTP(w, r)
	})
}

func (d *dashboard) webSocket(w http.ResponseWriter, r *http.Request) {
	client, err := wskit.Accept(r.Context(), w, r, d.hub, nil) // nil: this page's own origin only
	if err != nil {
		return // Accept has answered
	}
	go client.ReadPump()
	go client.WritePump()
}

func (d *dashboard) events(w http.ResponseWriter, r *http.Request) {
	// The error says that the visitor left, or could not be written to: nothing is left to be done about either.
	_ = wskit.AcceptSSE(w, r, d.hub)
}

// send passes the request's body on to everyone, at every instance.
func (d *dashboard) send(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxText))
	text := strings.TrimSpace(string(body))
	switch tooLong := (*http.MaxBytesError)(nil); {
	case errors.As(err, &tooLong):
		http.Error(w, fmt.Sprintf("A message is at most %d bytes long.", maxText), http.StatusRequestEntityTooLarge)
	case err != nil:
		http.Error(w, "The message did not arrive whole.", http.StatusBadRequest)
	case text == "" || !utf8.ValidString(text):
		http.Error(w, "A message is text, and not empty.", http.StatusBadRequest)
	default:
		_ = d.hub.BroadcastJSON(r.Context(), "message", map[string]any{ // fails only on what is not JSON
			"text": text, "from": d.name, "at": time.Now().UTC(),
		})
		w.WriteHeader(http.StatusNoContent)
	}
}
