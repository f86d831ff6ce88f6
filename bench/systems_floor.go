package main

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/http"
	"sync"
)

// floor is what fanning out costs at the least without batching: one goroutine, a frame made once, one write(2) per
// message and connection. It reads nothing and waits for whoever is slow: a yardstick, no server.
type floor struct {
	mu    sync.Mutex
	conns []net.Conn
}

func openFloor() server { return &floor{} }

func (f *floor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	_, err = conn.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n\r\n"))
	if err != nil {
		conn.Close()
		return
	}
	f.mu.Lock()
	f.conns = append(f.conns, conn)
	f.mu.Unlock()
}

func (f *floor) broadcast(data []byte) {
	frame := []byte{0x81}
	if len(data) < 126 {
		frame = append(frame, byte(len(data)))
	} else {
		frame = binary.BigEndian.AppendUint16(append(frame, 126), uint16(len(data)))
	}
	frame = append(frame, data...)

	f.mu.Lock()
	defer f.mu.Unlock()
	open := f.conns[:0]
	for _, conn := range f.conns {
		if _, err := conn.Write(frame); err != nil {
			conn.Close()
			continue
		}
		open = append(open, conn)
	}
	clear(f.conns[len(open):])
	f.conns = open
}

func (f *floor) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}
