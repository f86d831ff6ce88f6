// Command dashboard serves a page that shows wskit at work: the two transports, WebSocket and Server-Sent Events, side by side, the
// actors of a tenant's hub, and what becomes of messages when they crash.
//
//	go run ./examples/dashboard
//	go run ./examples/dashboard -addr 127.0.0.1:8081 -redis 127.0.0.1:6379
//
// Each tenant is a page of its own, http://host:port/t/name, made when it is first opened. Instances that share a Redis behave as one: what
// is sent to any of them reaches the pages of all.
//
// It is a demonstration: its buttons crash actors, flood the tenant and cut the link to Redis, and anybody who can open the page can press
// them. Each has a limit (see actions), and there is a bound on tenants and on connections, so that it may stand where strangers find it; it has
// no place beside anything that matters.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"
	"github.com/wskit/wskit"
)

const drainTimeout = 5 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on")
	redisAddr := flag.String("redis", "", "`host:port` of the Redis that joins instances (empty: off)")
	flag.Parse()
	log.SetFlags(log.Ltime)
	logging.Disable() // go-redis would report each attempt of an outage

	// The first signal drains; once it has come, stop gives the second one back its usual effect.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := run(ctx, *addr, *redisAddr); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then drains: the port first, so that who comes back finds another instance; then the hubs, which end
// what http.Server's Shutdown would not know of, or wait for; then the handlers.
func run(ctx context.Context, addr, redisAddr string) error {
	listener, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program; pick a free port with -addr", addr)
	} else if err != nil {
		return err
	}
	host, _ := os.Hostname()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	d := newDashboard(net.JoinHostPort(host, port), redisAddr)
	srv := &http.Server{Handler: d.handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(listener) }()
	log.Printf("dashboard on http://%s/", listener.Addr())
	if redisAddr == "" {
		log.Print("redis is off: this instance is on its own")
	} else {
		log.Printf("redis is on: one with every instance at %s", redisAddr)
	}

	select {
	case <-ctx.Done():
		_ = listener.Close()
		<-served // that its port is closed; Shutdown would report that again
	case err = <-served:
	}
	start := time.Now()
	log.Printf("draining %d connections…", d.connections())
	limit, cancel := context.WithTimeout(context.Background(), drainTimeout+wskit.DefaultHandlerTimeout)
	defer cancel()
	if err = errors.Join(err, d.close(limit), srv.Shutdown(limit)); err == nil {
		log.Printf("drained in %v, bye", time.Since(start).Round(time.Millisecond))
	}
	return err
}
