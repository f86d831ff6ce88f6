package main

import (
	"net/http"
	"sync"

	gorilla "github.com/gorilla/websocket"
)

// gorillaTopics is what one writes who needs topics and has a WebSocket library: a list of connections for each, and a loop.
type gorillaTopics struct {
	mu    sync.RWMutex
	conns map[*topicConn]bool
	came  int
	each  [topics][]*topicConn
}

// topicConn is a connection; one at a time may write to it.
type topicConn struct {
	sync.Mutex
	*gorilla.Conn
}

func openGorillaTopics() server { return &gorillaTopics{conns: map[*topicConn]bool{}} }

func (s *gorillaTopics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &topicConn{Conn: conn}
	s.mu.Lock()
	s.conns[c] = true
	for t := range topicsOf(s.came) {
		s.each[t] = append(s.each[t], c)
	}
	s.came++
	s.mu.Unlock()
	go func() {
		defer conn.Close()
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				break
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.conns, c)
	}()
}

func (s *gorillaTopics) broadcast(data []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for c := range s.conns {
		c.write(data)
	}
}

func (s *gorillaTopics) send(topic int, data []byte) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, c := range s.each[topic] {
		c.write(data)
	}
}

func (s *gorillaTopics) count() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.conns)
}

func (c *topicConn) write(data []byte) {
	c.Lock()
	defer c.Unlock()
	_ = c.WriteMessage(gorilla.TextMessage, data) // who has gone is found by the reader
}
