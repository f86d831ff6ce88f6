package main

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

// The limits of the textbook systems, as in gorilla's chat example.
const (
	sendBuf      = 256
	writeWait    = 10 * time.Second
	pongWait     = 60 * time.Second
	pingInterval = pongWait * 9 / 10
)

// chatHub is the hub of gorilla's chat example: one goroutine, three channels, a channel per client. A client whose
// channel is full is dropped.
type chatHub[M any] struct {
	clients              map[chan M]bool
	register, unregister chan chan M
	messages             chan M
	connected            atomic.Int64
	prepare              func([]byte) M
	serve                func(*chatHub[M], http.ResponseWriter, *http.Request)
}

func newChatHub[M any](prepare func([]byte) M, serve func(*chatHub[M], http.ResponseWriter, *http.Request)) *chatHub[M] {
	h := &chatHub[M]{
		clients: map[chan M]bool{}, register: make(chan chan M), unregister: make(chan chan M), messages: make(chan M),
		prepare: prepare, serve: serve,
	}
	go h.run()
	return h
}

func (h *chatHub[M]) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(h, w, r) }
func (h *chatHub[M]) broadcast(data []byte)                            { h.messages <- h.prepare(data) }
func (h *chatHub[M]) count() int                                       { return int(h.connected.Load()) }

func (h *chatHub[M]) run() {
	for {
		select {
		case client := <-h.register:
			h.clients[client] = true
		case client := <-h.unregister:
			h.remove(client)
		case m := <-h.messages:
			for client := range h.clients {
				select {
				case client <- m:
				default:
					h.remove(client)
				}
			}
		}
		h.connected.Store(int64(len(h.clients)))
	}
}

func (h *chatHub[M]) remove(client chan M) {
	if h.clients[client] {
		delete(h.clients, client)
		close(client)
	}
}

func asItIs(data []byte) []byte { return data }

func openTextbook() server { return newChatHub(asItIs, serveTextbook) }

func serveTextbook(h *chatHub[[]byte], w http.ResponseWriter, r *http.Request) {
	conn, err := coder.Accept(w, r, nil)
	if err != nil {
		return
	}
	send := make(chan []byte, sendBuf)
	h.register <- send
	go func() {
		defer conn.CloseNow()
		writeTextbook(conn, send)
	}()
	go func() {
		for {
			if _, _, err := conn.Read(context.Background()); err != nil {
				h.unregister <- send
				conn.CloseNow()
				return
			}
		}
	}()
}

func writeTextbook(conn *coder.Conn, send chan []byte) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case m, open := <-send:
			if !open || writeOne(conn, m) != nil {
				return
			}
		case <-ticker.C:
			ctx, cancel := context.WithTimeout(context.Background(), writeWait)
			err := conn.Ping(ctx)
			cancel()
			if err != nil {
				return
			}
		}
	}
}

func writeOne(conn *coder.Conn, m []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), writeWait)
	defer cancel()
	w, err := conn.Writer(ctx, coder.MessageText)
	if err != nil {
		return err
	}
	if _, err := w.Write(m); err != nil {
		return err
	}
	return w.Close()
}

var upgrader = gorilla.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

func openGorilla() server { return newChatHub(prepareGorilla, serveGorilla) }

func prepareGorilla(data []byte) *gorilla.PreparedMessage {
	m, err := gorilla.NewPreparedMessage(gorilla.TextMessage, data)
	if err != nil {
		panic(err) // only an unknown message type is refused
	}
	return m
}

func serveGorilla(h *chatHub[*gorilla.PreparedMessage], w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	send := make(chan *gorilla.PreparedMessage, sendBuf)
	h.register <- send
	go func() {
		defer conn.Close()
		writeGorilla(conn, send)
	}()
	go func() {
		conn.SetReadLimit(512)
		_ = conn.SetReadDeadline(time.Now().Add(pongWait))
		conn.SetPongHandler(func(string) error { return conn.SetReadDeadline(time.Now().Add(pongWait)) })
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				h.unregister <- send
				conn.Close()
				return
			}
		}
	}()
}

func writeGorilla(conn *gorilla.Conn, send chan *gorilla.PreparedMessage) {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		var err error
		select {
		case m, open := <-send:
			if !open {
				return
			}
			_ = conn.SetWriteDeadline(time.Now().Add(writeWait))
			err = conn.WritePreparedMessage(m)
		case <-ticker.C:
			err = conn.WriteControl(gorilla.PingMessage, nil, time.Now().Add(writeWait))
		}
		if err != nil {
			return
		}
	}
}
