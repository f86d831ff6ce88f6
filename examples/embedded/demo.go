package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// demo is a play in four acts that prints what it sees: a client per tenant, a broadcast that stays within its tenant, a
// crash that does too, and the end.
func demo() {
	events := make(chan string, 64)
	ts := startTenants(func(line string) { events <- line }, "acme", "globex")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	srv := &http.Server{Handler: ts.handler(), ReadHeaderTimeout: time.Second}
	go srv.Serve(listener)
	defer srv.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()

	// await prints one event of a tenant and skips those before it. Tenants run side by side: between them there is no order.
	await := func(line string) {
		for {
			select {
			case event := <-events:
				if event == line {
					fmt.Println(line)
					return
				}
			case <-ctx.Done():
				panic("not seen in time: " + line)
			}
		}
	}
	connect := func(name string) *websocket.Conn {
		conn, _, err := websocket.Dial(ctx, "ws://"+listener.Addr().String()+"/"+name+"/ws", nil)
		check(err)
		await(name + ": client connected")
		return conn
	}
	hears := func(name string, conn *websocket.Conn) {
		_, text, err := conn.Read(ctx)
		if err != nil {
			fmt.Printf("%s's client is disconnected: %v\n", name, websocket.CloseStatus(err))
			return
		}
		fmt.Printf("%s's client hears %q\n", name, text)
	}

	fmt.Println("# A client for each tenant")
	acme, globex := connect("acme"), connect("globex")

	fmt.Println("# What one tenant says, the other's client does not hear")
	ts.announce("acme", "for acme only")
	hears("acme", acme)
	ts.announce("globex", "for globex only")
	hears("globex", globex) // the first thing it ever hears

	fmt.Println("# The hub of acme crashes")
	ts.system.Root.Send(ts.hub("acme").PID(), &actors.Crash{Reason: "demo"})
	hears("acme", acme)
	await("acme: hub ended, starting another")
	ts.announce("globex", "nothing happened here")
	hears("globex", globex)
	acme = connect("acme")
	ts.announce("acme", "welcome back")
	hears("acme", acme)

	fmt.Println("# The end")
	check(globex.Close(websocket.StatusNormalClosure, ""))
	await("globex: client left (peer left)")
	go ts.stop("acme") // its hub says goodbye, and waits a little for the client to answer
	hears("acme", acme)
	await("acme: stopped, hub drained")
	ts.stop("globex")
	await("globex: stopped, hub drained")
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
