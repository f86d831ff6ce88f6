// Command embedded is a program made of actors that has a hub for each of its customers. An actor of its own, the shop, owns the hubs as its
// child: it has them publish and is told what happens in them by messages. HTTP comes in through functions.
//
//	go -C examples/embedded run .
//	curl -N 'http://127.0.0.1:8081/acme/live?user=ann' &
//	curl -d 'text=3 anvils' http://127.0.0.1:8081/acme/orders
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os/signal"
	"path"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// shop is the actor that owns the hubs. Its state is its own: nothing here needs a lock.
type shop struct {
	say   func(line string) // what happened, for people to read; it must not block
	ready chan<- *actor.PID // gets hubs
	hubs  *actor.PID        // the child: hubactor.Tenants
	sales map[string]int    // orders by customer
}

// order is what a shop is told: tell the customer's people of it, those who are there.
type order struct{ customer, text string }

func (s *shop) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		self, root := ctx.Self(), ctx.ActorSystem().Root
		s.hubs = ctx.Spawn(hubactor.Tenants(hubactor.TenantsConfig{
			Configure:   func(customer string) hubactor.Config { return configure(customer, self, root) },
			IdleTimeout: 5 * time.Minute,
		}))
		s.sales = map[string]int{}
		s.ready <- s.hubs

	// A hub that does not run is started. A frame is made once, and shared by all clients whatever their number.
	case *order:
		s.sales[m.customer]++
		text := fmt.Sprintf("order %d: %s", s.sales[m.customer], m.text)
		ctx.Send(s.hubs, &actors.ToTenant{Name: m.customer, Message: &actors.Publish{Topic: "orders", Frame: actors.NewFrame([]byte(text))}})

	// The hubs' lifecycle events come here because Config.Events says so. Their sender is the hub.
	case *actors.Connected:
		s.say(fmt.Sprintf("%s: %s has come", customerOf(ctx), m.Subscriber.(wskit.Member).User()))
	case *actors.Disconnected:
		s.say(fmt.Sprintf("%s: %s has left (%v)", customerOf(ctx), m.Subscriber.(wskit.Member).User(), m.Reason))
	case *actors.Failed:
		s.say(fmt.Sprintf("%s: failure in %s: %v", customerOf(ctx), m.Op, m.Err))
	case *actor.Terminated:
		s.say("all hubs have ended")
	}
}

// customerOf is whose hub has sent an event: it is named after its customer.
func customerOf(ctx actor.Context) string {
	name, _ := url.PathUnescape(path.Base(ctx.Sender().Id))
	return name
}

// configure is what the hub of a customer is told: everything that it could be told by options, and who gets its events.
func configure(customer string, shop *actor.PID, root *actor.RootContext) hubactor.Config {
	return hubactor.Config{
		Events:         shop,
		MaxSubscribers: 1000,
		History:        &actors.History{Messages: 100},
		DrainTimeout:   3 * time.Second,
		Hooks: actors.Hooks{
			Authenticate: func(r *http.Request) (actors.Identity, error) {
				user := r.FormValue("user") // yours will look for a session
				if user == "" {
					return actors.Identity{}, errors.New("nobody") // answered 401
				}
				return actors.Identity{User: user, Topics: []string{"orders"}}, nil
			},
			Handler: func(_ context.Context, m actors.Received) error { // what a WebSocket says is an order
				root.Send(shop, &order{customer, string(m.Data)})
				return nil
			},
		},
	}
}

// serve runs the program until ctx ends.
func serve(ctx context.Context, srv *http.Server, say func(line string)) error {
	// protoactor logs to stderr at Info unless told otherwise.
	system := actors.NewSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
	ready := make(chan *actor.PID, 1)
	owner := system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return &shop{say: say, ready: ready} }))
	hubs := <-ready

	// The functions of package wskit, over the same hubs.
	tenants := wskit.AttachTenants(system, hubs)
	mux := http.NewServeMux()
	mux.Handle("GET /ready", tenants.Ready())
	mux.Handle("GET /{customer}/live", tenants.Handler(customer)) // WebSockets and streams
	mux.HandleFunc("POST /{customer}/orders", func(w http.ResponseWriter, r *http.Request) {
		name, err := customer(r)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		system.Root.Send(owner, &order{name, r.FormValue("text")})
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("GET /{customer}/online", func(w http.ResponseWriter, r *http.Request) {
		name, err := customer(r)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		hub, err := tenants.Hub(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, hub.SubscriberCount(), "here")
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) {
		reply := make(chan actors.Stats, 1)
		system.Root.Send(hubs, &actors.TenantStats{Reply: reply})
		select {
		case s := <-reply:
			fmt.Fprintf(w, "%d hubs, %d messages, %d deliveries\n", s.Hubs, s.Broadcasts, s.Deliveries)
		case <-r.Context().Done():
		}
	})

	// Pages of other sites must not post through a visitor's browser. The hubs refuse their WebSockets by themselves.
	srv.Handler = http.NewCrossOriginProtection().Handler(mux)
	// Not ready, the port closed, the hubs drained, handlers done; then the shop, whose child has ended.
	err := tenants.Serve(ctx, srv)
	return errors.Join(err, system.Root.StopFuture(owner).Wait())
}

// customer says which there are.
func customer(r *http.Request) (string, error) {
	switch name := r.PathValue("customer"); name {
	case "acme", "globex":
		return name, nil
	default:
		return "", errors.New("no such customer") // answered 404
	}
}

func main() {
	log.SetFlags(log.Ltime)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	srv := &http.Server{Addr: "127.0.0.1:8081", ReadHeaderTimeout: 5 * time.Second}
	log.Printf("listening: try  curl -N 'http://%s/acme/live?user=ann'", srv.Addr)
	if err := serve(ctx, srv, func(line string) { log.Print(line) }); err != nil {
		log.Fatal(err)
	}
}
