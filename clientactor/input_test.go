package clientactor_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/wskit/wskit/clientactor"
)

// reading serves connections, and says what one has handed on and answered to what was sent.
func reading(t testing.TB) (send func(t *testing.T, pieces [][]byte) (messages []string, answer []byte)) {
	var mu sync.Mutex
	var messages []string
	ended := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := clientactor.Accept(w, r, nil, standard, goroutines, func(_ bool, p []byte) error {
			mu.Lock()
			defer mu.Unlock()
			messages = append(messages, string(p))
			return nil
		}, nil)
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
