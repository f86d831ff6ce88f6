package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// run has the program served until stop, which returns what serve did.
func run(say func(string)) (addr string, stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	at, done := make(chan string, 1), make(chan error, 1)
	srv := &http.Server{Addr: "127.0.0.1:0", BaseContext: func(l net.Listener) context.Context {
		at <- l.Addr().String()
		return context.Background()
	}}
	go func() { done <- serve(ctx, srv, say) }()
	return <-at, func() error { cancel(); return <-done }
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func get(addr, path string) string {
	resp := must(http.Get("http://" + addr + path))
	defer resp.Body.Close()
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(must(io.ReadAll(resp.Body)))))
}

func Example() {
	said := make(chan string, 64)
	addr, stop := run(func(line string) { said <- line })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	// await prints a line that the shop says, and skips those before it. Between customers there is no order.
	await := func(line string) {
		for {
			select {
			case got := <-said:
				if got == line {
					fmt.Println(line)
					return
				}
			case <-ctx.Done():
				panic("not said in time: " + line)
			}
		}
	}
	open := func(path string) *websocket.Conn {
		conn, _, err := websocket.Dial(ctx, "ws://"+addr+path, nil)
		return must(conn, err)
	}
	hears := func(who string, conn *websocket.Conn) {
		_, text, err := conn.Read(ctx)
		if err != nil {
			fmt.Println(who, "is disconnected:", websocket.CloseStatus(err))
			return
		}
		fmt.Printf("%s hears %q\n", who, text)
	}

	fmt.Println("# Two of one customer, over both transports, and one of another")
	ann := open("/acme/live?user=ann")
	await("acme: ann has come")
	request := must(http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/acme/live?user=bob", nil))
	stream := must(http.DefaultClient.Do(request)).Body
	defer stream.Close()
	await("acme: bob has come")
	eve := open("/globex/live?user=eve")
	await("globex: eve has come")
	fmt.Println(get(addr, "/acme/online"))

	fmt.Println("# Nobody else")
	fmt.Println(get(addr, "/acme/live"))
	fmt.Println(get(addr, "/initech/live?user=mallory"))

	fmt.Println("# What one customer orders, the other does not hear")
	_ = ann.Write(ctx, websocket.MessageText, []byte("3 anvils"))
	hears("ann", ann)
	for lines := bufio.NewScanner(stream); lines.Scan(); {
		if text, is := strings.CutPrefix(lines.Text(), "data: "); is {
			fmt.Printf("bob hears %q\n", text)
			break
		}
	}
	must(http.PostForm("http://"+addr+"/globex/orders", url.Values{"text": {"1 ray gun"}})).Body.Close()
	hears("eve", eve) // the first thing that she ever hears
	fmt.Println(get(addr, "/stats"))

	fmt.Println("# The end")
	_ = eve.Close(websocket.StatusNormalClosure, "")
	await("globex: eve has left (peer left)")
	ended := make(chan error)
	go func() { ended <- stop() }()
	hears("ann", ann)
	fmt.Println("serve returns", <-ended)
	await("all hubs have ended")
	// Output:
	// # Two of one customer, over both transports, and one of another
	// acme: ann has come
	// acme: bob has come
	// globex: eve has come
	// 200 2 here
	// # Nobody else
	// 401 Unauthorized
	// 404 Not Found
	// # What one customer orders, the other does not hear
	// ann hears "order 1: 3 anvils"
	// bob hears "order 1: 3 anvils"
	// eve hears "order 1: 1 ray gun"
	// 200 2 hubs, 2 messages, 3 deliveries
	// # The end
	// globex: eve has left (peer left)
	// ann is disconnected: StatusGoingAway
	// serve returns <nil>
	// all hubs have ended
}

func TestServeEndsWithoutItsPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	srv := &http.Server{Addr: taken.Addr().String()}
	if err := serve(t.Context(), srv, func(string) {}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
}
