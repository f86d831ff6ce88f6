// Command embedded shows wskit inside a program that is made of actors already: each customer is an actor, a tenant, that
// owns a hub as its child, drives it by messages and is told what happens in it.
//
//	go run ./examples/embedded          two tenants on http://127.0.0.1:8081: /acme/ws, /acme/events, /globex/ws, /globex/events
//	go run ./examples/embedded -demo    a short play that ends by itself
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// tenant is the actor of one customer. Its state is its own: nothing here needs a lock.
type tenant struct {
	name   string
	report func(line string) // what happened, for people to read; it must not block
	gone   chan<- struct{}   // closed when the tenant and its hub have stopped

	hub      *wskit.Hub // the child, ready to accept connections
	stopping bool
}

// What a tenant is told and asked.
type (
	announce struct{ text string }             // to every client of this customer
	getHub   struct{ reply chan<- *wskit.Hub } // the hub, to accept a connection for; reply has room for the answer
)

func (t *tenant) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		t.spawnHub(ctx)

	case *announce:
		// Frames are made once and shared by all clients, whatever their number.
		ctx.Send(t.hub.PID(), &actors.Broadcast{Frame: actors.NewFrame([]byte(m.text))})
	case *getHub:
		m.reply <- t.hub

	// The hub's lifecycle events come here because Config.Events says so.
	case *actors.Connected:
		t.say("client connected")
	case *actors.Disconnected:
		t.say("client left (%v)", m.Reason)
	case *actors.Dropped:
		t.say("client too slow, %d messages dropped", m.Count)
	case *actors.Failed:
		t.say("failure in %s: %v", m.Op, m.Err)

	// A parent is told when a child has ended. Unless that is what it wanted, the customer gets another hub.
	case *actor.Terminated:
		if !t.stopping {
			t.say("hub ended, starting another")
			t.spawnHub(ctx)
		}

	// An actor's children are stopped before it is, and before it restarts after a panic of its own. A hub drains first: it
	// writes what is queued and says goodbye.
	case *actor.Stopping, *actor.Restarting:
		t.stopping = true
	case *actor.Stopped:
		t.say("stopped, hub drained")
		close(t.gone)
	}
}

func (t *tenant) spawnHub(ctx actor.Context) {
	pid := ctx.Spawn(hubactor.Props(hubactor.Config{Events: ctx.Self(), DrainTimeout: 3 * time.Second}))
	t.hub = wskit.Attach(ctx.ActorSystem(), pid)
}

func (t *tenant) say(format string, args ...any) {
	t.report(t.name + ": " + fmt.Sprintf(format, args...))
}

// tenants is all customers by name. It does not change while the program runs; only the actors behind it do.
type tenants struct {
	system *actor.ActorSystem
	pids   map[string]*actor.PID
	gone   map[string]chan struct{}
}

func startTenants(report func(line string), names ...string) *tenants {
	// protoactor logs to stderr at Info unless told otherwise.
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	ts := &tenants{
		system: actors.NewSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return quiet })),
		pids:   make(map[string]*actor.PID),
		gone:   make(map[string]chan struct{}),
	}
	for _, name := range names {
		gone := make(chan struct{})
		pid, err := ts.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor {
			return &tenant{name: name, report: report, gone: gone}
		}), name)
		if err != nil {
			panic(err) // two tenants of one name
		}
		ts.pids[name], ts.gone[name] = pid, gone
	}
	return ts
}

// announce has a tenant broadcast text.
func (ts *tenants) announce(name, text string) {
	ts.system.Root.Send(ts.pids[name], &announce{text})
}

// hub asks a tenant for its hub; nil if there is no such tenant, or not any more. Ask anew for each connection: after a
// crash it is another hub.
func (ts *tenants) hub(name string) *wskit.Hub {
	pid, ok := ts.pids[name]
	if !ok {
		return nil
	}
	reply := make(chan *wskit.Hub, 1)
	ts.system.Root.Send(pid, &getHub{reply})
	select {
	case hub := <-reply:
		return hub
	case <-ts.gone[name]: // nobody is left to answer
		return nil
	}
}

// stop stops a tenant, which stops its hub, and waits for both.
func (ts *tenants) stop(name string) {
	ts.system.Root.Stop(ts.pids[name])
	<-ts.gone[name]
}

// handler serves every tenant's hub over both transports.
func (ts *tenants) handler() http.Handler {
	withHub := func(serve func(http.ResponseWriter, *http.Request, *wskit.Hub)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if hub := ts.hub(r.PathValue("tenant")); hub != nil {
				serve(w, r, hub)
				return
			}
			http.NotFound(w, r)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/ws", withHub(func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		client, err := wskit.Accept(r.Context(), w, r, hub, nil)
		if err != nil {
			return // Accept has answered
		}
		go client.ReadPump()
		go client.WritePump()
	}))
	mux.HandleFunc("GET /{tenant}/events", withHub(func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		_ = wskit.AcceptSSE(w, r, hub) // an error means that the client left
	}))
	return mux
}

func main() {
	play := flag.Bool("demo", false, "run a short play and exit")
	flag.Parse()
	if *play {
		demo()
		return
	}
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once

	names := []string{"acme", "globex"}
	if err := serve(ctx, "127.0.0.1:8081", startTenants(func(line string) { log.Print(line) }, names...), names); err != nil {
		log.Fatal(err)
	}
	log.Print("all tenants stopped, bye")
}

// serve serves the tenants until ctx ends and stops them. It does for many hubs what wskit.Serve does for one, in the same order.
func serve(ctx context.Context, addr string, ts *tenants, names []string) error {
	stopAll := func() {
		for _, name := range names {
			ts.stop(name)
		}
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		stopAll()
		return err
	}
	srv := &http.Server{Handler: ts.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	log.Printf("listening: try  curl -N http://%s/acme/events", listener.Addr())

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for n := 1; ctx.Err() == nil && err == nil; n++ {
		select {
		case <-tick.C:
			for _, name := range names {
				ts.announce(name, fmt.Sprintf("%s tick %d", name, n))
			}
		case err = <-served:
		case <-ctx.Done():
		}
	}

	// The port first, so that who comes back finds another instance; then the hubs, which end the WebSockets and streams that
	// Shutdown would not know of, or wait for; then the handlers.
	_ = listener.Close()
	if err == nil {
		<-served // that its port is closed; Shutdown would report that again
	}
	stopAll()
	limit, cancel := context.WithTimeout(context.Background(), wskit.DefaultHandlerTimeout)
	defer cancel()
	return errors.Join(err, srv.Shutdown(limit))
}
