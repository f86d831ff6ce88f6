package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// The example's metrics are scraped, and its hub is shown.
func TestTheHubIsScrapedAndShown(t *testing.T) {
	hub, clients, operators, err := build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); hub.Run(ctx) }()
	go tell(ctx, hub, time.Millisecond)
	defer func() { stop(); <-done }()
	srv, ops := httptest.NewServer(clients), httptest.NewServer(operators)
	defer srv.Close()
	defer ops.Close()
	c, _, err := websocket.Dial(ctx, srv.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, _, err := c.Read(ctx); err != nil {
		t.Fatal(err)
	}
	get := func(path string) string {
		resp, err := http.Get(ops.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	if body := get("/inspect"); !strings.Contains(body, `"subscribers":{"websocket":1}`) {
		t.Error(body)
	}
	body := get("/metrics")
	for _, want := range []string{`wskit_active_subscribers{wskit_transport="websocket"} 1`, "\nwskit_message_broadcasts_total ", "\nwskit_message_io_bytes_total "} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
}

var scraped = flag.Duration("scrape", 0, "how long a hub under load is scraped in every third second; 0: not at all")

// A scrape every second changes the 99th percentile of the latency of a hub under load by at most 2 %: that of all messages which were sent
// in a second with a scrape. Of the other seconds every second one is compared with the rest, which is what the machine does by itself.
//
//	go -C examples/prometheus test -run Scrape -scrape 2m -v
func TestAScrapeEverySecondDoesNotShowInTheLatency(t *testing.T) {
	if *scraped == 0 {
		t.Skip("-scrape 2m compares latencies, on a quiet machine")
	}
	hub, clients, operators, err := build()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); hub.Run(ctx) }()
	defer func() { stop(); <-done }()
	srv, ops := httptest.NewServer(clients), httptest.NewServer(operators)
	defer srv.Close()
	defer ops.Close()

	const listeners, pace, kinds = 20, 2 * time.Millisecond, 3
	var mu sync.Mutex
	var took [kinds][]time.Duration // by the kind of second; there are scrapes in those of the last
	for i := range took {           // growing it would show
		took[i] = make([]time.Duration, 0, 2*listeners*int(*scraped/pace)/kinds)
	}
	kind := func(at time.Time) int { return int(at.Unix() % kinds) }
	for range listeners {
		conn, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go hear(conn, func(data []byte) {
			now, sent := time.Now(), time.Unix(0, int64(binary.BigEndian.Uint64(data)))
			mu.Lock()
			defer mu.Unlock()
			took[kind(sent)] = append(took[kind(sent)], now.Sub(sent))
		})
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	scrape, err := http.NewRequest(http.MethodGet, ops.URL+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	scrape.Header.Set("Accept-Encoding", "gzip") // as Prometheus does, which decompresses it elsewhere
	scrapes, next := 0, time.Now()               // a moment of the next second with a scrape
	for begin := time.Now(); time.Since(begin) < *scraped; <-tick.C {
		now := time.Now()
		if !now.Before(next) && kind(now) == kinds-1 {
			scrapes++
			next = now.Truncate(time.Second).Add(kinds*time.Second + rand.N(900*time.Millisecond))
			time.AfterFunc(rand.N(pace), func() { // not when there is a broadcast: that is up to Prometheus
				resp, err := http.DefaultClient.Do(scrape)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				_, _ = io.Copy(io.Discard, resp.Body)
			})
		}
		hub.Broadcast(binary.BigEndian.AppendUint64(nil, uint64(now.UnixNano())))
	}
	mu.Lock()
	defer mu.Unlock()
	var p99 [kinds]time.Duration
	for i := range took {
		slices.Sort(took[i])
		p99[i] = took[i][len(took[i])*99/100]
	}
	t.Logf("%d scrapes; p99 of %d deliveries each with %v, without %v and %v", scrapes, len(took[0]), p99[2], p99[0], p99[1])
	if ratio := float64(p99[2]) / float64(max(p99[0], p99[1])); ratio > 1.02 {
		t.Errorf("p99 is %.3f times what it is without", ratio)
	}
}

// hear is a client that leaves next to no garbage: it tells of each message, and answers pings.
func hear(conn net.Conn, message func(data []byte)) {
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	in := bufio.NewReader(conn)
	if _, err := http.ReadResponse(in, nil); err != nil {
		return
	}
	frame := make([]byte, 2+125)
	for {
		if _, err := io.ReadFull(in, frame[:2]); err != nil {
			return
		}
		data := frame[2 : 2+frame[1]]
		if _, err := io.ReadFull(in, data); err != nil {
			return
		}
		if frame[0] == 0x89 {
			_, _ = conn.Write(append([]byte{0x8A, 0x80 | frame[1], 0, 0, 0, 0}, data...))
			continue
		}
		message(data)
	}
}
