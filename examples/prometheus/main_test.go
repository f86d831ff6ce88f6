package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
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
	for _, want := range []string{`wskit_active_subscribers{`, `wskit_transport="websocket"} 1`, "wskit_message_broadcasts_total{", "wskit_message_io_bytes_total{"} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
}
