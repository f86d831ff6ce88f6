package main

import (
	"fmt"
	"net/http"
	"sync/atomic"

	gosse "github.com/tmaxmax/go-sse"
)

func openTextbookSSE() server { return newChatHub(asItIs, serveTextbookSSE) }

func serveTextbookSSE(h *chatHub[[]byte], w http.ResponseWriter, r *http.Request) {
	flusher, ok := w.(http.Flusher)
	if !ok {
		http.Error(w, "no flusher", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	flusher.Flush()
	send := make(chan []byte, sendBuf)
	h.register <- send
	defer func() { h.unregister <- send }()
	for {
		select {
		case m, open := <-send:
			if !open {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", m); err != nil {
				return
			}
			flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// goSSE is go-sse's Server with its default provider, which writes to every client in turn.
type goSSE struct {
	gosse.Server
	connected atomic.Int64
}

func openGoSSE() server { return &goSSE{} }

func (s *goSSE) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// It sends no header before the first event; the client would not know that it is connected.
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
	s.connected.Add(1)
	defer s.connected.Add(-1)
	s.Server.ServeHTTP(w, r)
}

func (s *goSSE) broadcast(data []byte) {
	m := &gosse.Message{}
	m.AppendData(string(data))
	_ = s.Publish(m)
}

func (s *goSSE) count() int { return int(s.connected.Load()) }
