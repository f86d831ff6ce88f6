package wskit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/wskit/wskit/actors"
)

// DefaultHandlerTimeout is how long the end of Serve waits, once the hub has stopped, for handlers that still run.
const DefaultHandlerTimeout = 5 * time.Second

// Serve listens on srv.Addr and serves until ctx ends; then it stops server and hub in the order in which nobody is cut off:
//
//  1. Ready says 503. With WithReadyDelay all else goes on for that long: who is still sent here is served.
//  2. The port is closed, so that whoever comes or comes back finds another instance, whether or not the balancer asks Ready. Connections that
//     wait for their next request are closed, and those with one are closed behind the answer.
//  3. The hub drains, as by Shutdown and within its drain timeout, with WithDrainSpread one client after the other: what was accepted is
//     written, WebSockets are closed, streams end, and with them the handlers that wait for these.
//  4. Other handlers get DefaultHandlerTimeout to return (srv.Shutdown). What still runs then is cut off (srv.Close).
//
// So it returns within the ready delay, the drain timeout and DefaultHandlerTimeout after ctx has ended: nil, or an error that wraps
// context.DeadlineExceeded if handlers were cut off. It never returns http.ErrServerClosed.
//
// If nobody runs the hub, Serve does; one that runs already, or was spawned elsewhere (Attach), it drains all the same: Run should not have the
// same ctx then, with which the hub would drain while the port is open. It also ends, by the same steps and without waiting for ctx, when the hub begins to end by itself or by Shutdown (the error wraps
// ErrHubStopped), when the server fails (with its error), and when somebody else shuts the server down or closes it (nil).
//
// An error before the first connection could be accepted is returned at once, and hub and server are as they were: those of
// ListenAndServe (the port is taken, the certificate cannot be read), ErrInvalidArgument for a nil argument or a server that
// was shut down before, and ErrHubStopped. Neither a server nor a hub can be served again once it has stopped, while a hub may be
// served by several servers at a time: the first to stop ends it.
func Serve(ctx context.Context, srv *http.Server, hub *Hub) error {
	if hub == nil {
		return errNothing
	}
	return serve(ctx, srv, hub, plain)
}

// ServeTLS is Serve for HTTPS, and HTTP/2 with it. The files are those of http.Server.ListenAndServeTLS: both may be "" if
// srv.TLSConfig has the certificate.
func ServeTLS(ctx context.Context, srv *http.Server, hub *Hub, certFile, keyFile string) error {
	if hub == nil {
		return errNothing
	}
	return serve(ctx, srv, hub, secure(certFile, keyFile))
}

var errNothing = fmt.Errorf("%w: nil context, server, hub or tenants", ErrInvalidArgument)

// protocol is what a server speaks.
type protocol struct {
	port  string // where, if it does not say
	serve func(*http.Server, net.Listener) error
}

var plain = protocol{":http", (*http.Server).Serve}

func secure(certFile, keyFile string) protocol {
	return protocol{":https", func(srv *http.Server, l net.Listener) error { return srv.ServeTLS(l, certFile, keyFile) }}
}

// drained is what ends with a server: a hub, or tenants.
type drained interface {
	hasStopped() bool          // without starting what was not used yet
	served() (*ending, func()) // it is used now; the func is called in the end
	Shutdown(context.Context) error
}

// ending is how the end of a drained begins.
type ending struct {
	unready func()        // have it say that it is not ready
	delay   time.Duration // from then to the end of the port
	begun   <-chan struct{}
}

func serve(ctx context.Context, srv *http.Server, of drained, by protocol) error {
	if ctx == nil || srv == nil {
		return errNothing
	}
	addr := srv.Addr
	if addr == "" {
		addr = by.port
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	port := &port{Listener: listener, open: make(chan struct{}), unused: map[net.Conn]struct{}{}}
	defer func() { _ = port.Close() }()
	if of.hasStopped() {
		return fmt.Errorf("wskit: serve: %w", ErrHubStopped)
	}

	port.watch(srv)
	served := make(chan error, 1)
	go func() { served <- by.serve(srv, port) }()
	select {
	case <-port.open:
	case err := <-served:
		if errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("%w: the server has been shut down before", ErrInvalidArgument)
		}
		return err
	}
	end, done := of.served()
	defer done()

	err = end.await(ctx, served)
	if ctx.Err() != nil || errors.Is(err, http.ErrServerClosed) {
		err = nil // whatever ended first, it was to end
	}
	if late := port.stop(srv, of); err == nil {
		err = late
	}
	return err
}

// served has the hub run, if nobody else does.
func (h *Hub) served() (*ending, func()) {
	l, stop := h.up(), func() {}
	if h.attached == nil && !h.running.Load() {
		run, cancel := context.WithCancel(context.Background()) // that of Serve would have the hub drain while the port is open
		stop = cancel
		go h.Run(run)
	}
	return &ending{func() { l.System.Root.Send(l.Hub, &actors.Unready{}) }, l.ReadyDelay, l.Gate.Retired()}, stop
}

// await waits until the time has come to close the port, and returns what went wrong, if anything did.
func (e *ending) await(ctx context.Context, served <-chan error) error {
	ending := ctx.Done()
	var delay <-chan time.Time
	for {
		select {
		case <-ending:
			e.unready()
			ending, delay = nil, time.After(e.delay)
		case <-delay:
			return nil
		case err := <-served:
			return err
		case <-e.begun:
			return fmt.Errorf("wskit: serve: what is served has ended before its server: %w", ErrHubStopped)
		}
	}
}

// port is a listener that tells when it is first accepted from, and knows the connections that no request uses.
type port struct {
	net.Listener
	open chan struct{} // closed then
	once sync.Once

	mu     sync.Mutex
	unused map[net.Conn]struct{}
}

func (p *port) Accept() (net.Conn, error) {
	p.once.Do(func() { close(p.open) })
	return p.Listener.Accept()
}

// watch has the port told of connections' states.
func (p *port) watch(srv *http.Server) {
	others := srv.ConnState
	srv.ConnState = func(c net.Conn, state http.ConnState) {
		p.mu.Lock()
		if state == http.StateNew || state == http.StateIdle {
			p.unused[c] = struct{}{}
		} else {
			delete(p.unused, c)
		}
		p.mu.Unlock()
		if others != nil {
			others(c, state)
		}
	}
}

// unusedAfter is when connections without a request are closed that Server.Shutdown still waits for: those that browsers open
// in advance, up to 5 s old, and for as long as it takes those that became HTTP/2 while it ran. Others of HTTP/2 get 1 s from net/http.
const unusedAfter = 2 * time.Second

// stop ends what was served from the port, in order.
func (p *port) stop(srv *http.Server, of drained) error {
	_ = p.Close()
	srv.SetKeepAlivesEnabled(false)
	_ = of.Shutdown(context.Background()) // bounded by the drain timeout
	ctx, cancel := context.WithTimeout(context.Background(), DefaultHandlerTimeout)
	defer cancel()
	defer time.AfterFunc(unusedAfter, p.closeUnused).Stop()
	if err := srv.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		_ = srv.Close()
		return fmt.Errorf("wskit: serve: handlers were cut off that still ran %v after the hub had stopped: %w", DefaultHandlerTimeout, err)
	}
	return nil
}

func (p *port) closeUnused() {
	p.mu.Lock()
	unused := slices.Collect(maps.Keys(p.unused))
	p.mu.Unlock()
	for _, c := range unused { // not under the lock: it leads back to ConnState
		_ = c.Close()
	}
}

// hasStopped reports whether the hub has ended; one that was not used yet stays so.
func (h *Hub) hasStopped() bool {
	if h.attached == nil && h.link.Load() == nil {
		return false
	}
	select {
	case <-h.up().Done:
		return true
	default:
		return false
	}
}
