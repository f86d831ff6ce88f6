package main

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
)

// wskitServer is a hub of this library and one way of taking connections in.
type wskitServer struct {
	hub    *wskit.Hub
	accept func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub)
}

// Servers with topics: one for everybody, and many.
type (
	wskitTopic  struct{ wskitServer }
	wskitTopics struct{ wskitServer }
)

func newWskit(accept func(http.ResponseWriter, *http.Request, *wskit.Hub), opts ...wskit.HubOption) server {
	s := &wskitServer{hub: wskit.NewHub(opts...), accept: accept}
	go s.hub.Run(context.Background())
	return s
}

func (s *wskitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.accept(w, r, s.hub) }
func (s *wskitServer) broadcast(data []byte)                            { s.hub.Broadcast(data) }
func (s *wskitServer) count() int                                       { return s.hub.SubscriberCount() }

func (s *wskitTopic) broadcast(data []byte) { s.hub.Topic(everybody).Broadcast(data) }

func (s *wskitTopics) send(topic int, data []byte) { s.hub.Topic(topicNames[topic]).Broadcast(data) }

const everybody = "everybody"

func openWskitTopic() server {
	s := &wskitTopic{wskitServer{hub: wskit.NewHub(), accept: withPumps(nil, wskit.WithTopics(everybody))}}
	go s.hub.Run(context.Background())
	return s
}

var topicNames = func() (names [topics]string) {
	for t := range names {
		names[t] = "topic:" + strconv.Itoa(t)
	}
	return names
}()

func openWskitTopics() server {
	var came atomic.Int64
	s := &wskitTopics{wskitServer{hub: wskit.NewHub()}}
	s.accept = func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		var names []string
		for t := range topicsOf(int(came.Add(1) - 1)) {
			names = append(names, topicNames[t])
		}
		withPumps(nil, wskit.WithTopics(names...))(w, r, hub)
	}
	go s.hub.Run(context.Background())
	return s
}

// withPumps accepts as every program of v0.3 does.
func withPumps(accept *websocket.AcceptOptions, opts ...wskit.ClientOption) func(http.ResponseWriter, *http.Request, *wskit.Hub) {
	return func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		client, err := wskit.Accept(r.Context(), w, r, hub, accept, opts...)
		if err != nil {
			return // answered already
		}
		go client.WritePump()
		go client.ReadPump()
	}
}

func openWskit() server { return newWskit(withPumps(nil)) }

func openWskitDeflate() server {
	return newWskit(withPumps(&websocket.AcceptOptions{CompressionMode: websocket.CompressionNoContextTakeover}))
}

func openWskitOne() server {
	return newWskit(func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		client, err := wskit.Accept(r.Context(), w, r, hub, nil)
		if err != nil {
			return
		}
		go client.Serve()
	})
}

func openWskitServe() server {
	return newWskit(func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		_ = wskit.ServeWS(w, r, hub, nil) // why a connection ended is the client's to judge
	})
}

func streamSSE(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
	_ = wskit.AcceptSSE(w, r, hub)
}

func openWskitSSE() server { return newWskit(streamSSE) }

func openWskitSSEHijack() server { return newWskit(streamSSE, wskit.WithSSEHijack()) }
