package main

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

func Example() {
	demo()
	// Output:
	// # A client for each tenant
	// acme: client connected
	// globex: client connected
	// # What one tenant says, the other's client does not hear
	// acme's client hears "for acme only"
	// globex's client hears "for globex only"
	// # The hub of acme crashes
	// acme's client is disconnected: StatusGoingAway
	// acme: hub ended, starting another
	// globex's client hears "nothing happened here"
	// acme: client connected
	// acme's client hears "welcome back"
	// # The end
	// globex: client left (peer left)
	// acme's client is disconnected: StatusGoingAway
	// acme: stopped, hub drained
	// globex: stopped, hub drained
}

func TestATenantThatPanicsComesBackWithAnotherHubAndStillStops(t *testing.T) {
	ts := startTenants(func(string) {}, "acme")
	before := ts.hub("acme").PID()
	ts.system.Root.Send(ts.pids["acme"], (*announce)(nil))
	after := ts.hub("acme").PID() // answered once the tenant runs again
	if after.Equal(before) {
		t.Error("the tenant did not restart")
	}
	stopped := make(chan struct{})
	go func() { ts.stop("acme"); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Error("the tenant does not stop")
	}
	if ts.hub("acme") != nil || ts.hub("nobody") != nil {
		t.Error("a hub of a tenant that is not there")
	}
}

func TestServeStopsTheTenantsWhetherOrNotItGetsItsPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for addr, want := range map[string]error{taken.Addr().String(): syscall.EADDRINUSE, "127.0.0.1:0": nil} {
		ctx, cancel := context.WithCancel(context.Background())
		ts := startTenants(func(string) {}, "acme")
		time.AfterFunc(10*time.Millisecond, cancel)
		if err := serve(ctx, addr, ts, []string{"acme"}); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
		if ts.hub("acme") != nil {
			t.Error("the tenant has not stopped")
		}
	}
}
