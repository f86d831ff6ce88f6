package clientactor_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/clientactor"
)

// reading serves connections whose readers wait by themselves, or within the library: that they do when it is to tell of pings.
func reading(t testing.TB, direct bool) (send func(t *testing.T, pieces [][]byte) (messages []string, answer []byte)) {
	opts := &websocket.AcceptOptions{}
	if direct {
		opts.OnPongReceived = func(context.Context, []byte) {}
	}
	var mu sync.Mutex
	var messages []string
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := clientactor.Accept(w, r, opts, standard, goroutines, func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			messages = append(messages, string(p))
		})
		if err != nil {
			t.Error(err)
			return
		}
		spawn(c)
		go func() {
			_ = c.Serve()
			ended <- struct{}{}
		}()
	}))
	t.Cleanup(srv.Close)
	return func(t *testing.T, pieces [][]byte) ([]string, []byte) {
		conn, r := dialRaw(t, srv.URL)
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		for _, p := range pieces {
			if _, err := conn.Write(p); err != nil {
				break // the server has seen enough
			}
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(r)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the connection has not ended; it said %x", answer)
		}
		conn.Close()
		<-ended
		mu.Lock()
		defer mu.Unlock()
		got := messages
		messages = nil
		return got, answer
	}
}

// FuzzInput has the same bytes read by both kinds of reader: they hand on the same messages and answer the same.
func FuzzInput(f *testing.F) {
	text := []byte{0x81, 0x83, 1, 2, 3, 4, 'o' ^ 1, 'n' ^ 2, 'e' ^ 3}
	first := []byte{0x01, 0x81, 0, 0, 0, 0, 'f'}
	last := []byte{0x80, 0x81, 0, 0, 0, 0, 'l'}
	ping := []byte{0x89, 0x82, 1, 2, 3, 4, 'h' ^ 1, 'i' ^ 2}
	pong := []byte{0x8a, 0x80, 0, 0, 0, 0}
	bye := []byte{0x88, 0x82, 0, 0, 0, 0, 3, 232}
	large := append([]byte{0x81, 0xfe, 1, 144, 0, 0, 0, 0}, make([]byte, 400)...)
	for _, parts := range [][][]byte{
		{text, text}, {ping, pong, text, pong, ping}, {first, ping, last, pong, text}, {text, bye}, {bye, text}, {ping, bye},
		{large, ping, large}, {pong, {0x81, 0x03, 'a', 'b', 'c'}}, {ping, {0x89, 0xfe, 0, 126}}, {{0xc9, 0x80, 0, 0, 0, 0}},
		{text, {0x09, 0x80, 0, 0, 0, 0}}, {{0x80, 0x80, 0, 0, 0, 0}}, {ping, {0x8b, 0x80, 0, 0, 0, 0}}, {slices.Concat(large, large)},
	} {
		all := slices.Concat(parts...)
		for _, cut := range []uint16{0, 1, 2, 5, 7, 16, 100} {
			f.Add(all, cut)
		}
	}
	apart, within := reading(f, false), reading(f, true)
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		var pieces [][]byte
		if cut == 0 {
			cut = max(uint16(len(data)), 1)
		}
		for piece := range slices.Chunk(data, int(cut)) {
			pieces = append(pieces, piece)
		}
		messages, answer := apart(t, pieces)
		wantMessages, wantAnswer := within(t, pieces)
		if !slices.Equal(messages, wantMessages) || string(answer) != string(wantAnswer) {
			t.Errorf("messages %q, answer %x; the library alone: %q, %x", messages, answer, wantMessages, wantAnswer)
		}
	})
}
