package main

import (
	"context"
	"net/http"

	"github.com/wskit/wskit"
)

// wskitServer is a hub of this library and one way of taking connections in.
type wskitServer struct {
	hub    *wskit.Hub
	accept func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub)
}

func newWskit(accept func(http.ResponseWriter, *http.Request, *wskit.Hub)) server {
	s := &wskitServer{hub: wskit.NewHub(), accept: accept}
	go s.hub.Run(context.Background())
	return s
}

func (s *wskitServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.accept(w, r, s.hub) }
func (s *wskitServer) broadcast(data []byte)                            { s.hub.Broadcast(data) }
func (s *wskitServer) count() int                                       { return s.hub.SubscriberCount() }

func openWskit() server {
	return newWskit(func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		client, err := wskit.Accept(r.Context(), w, r, hub, nil)
		if err != nil {
			return
		}
		go client.WritePump()
		go client.ReadPump()
	})
}

func openWskitSSE() server {
	return newWskit(func(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
		_ = wskit.AcceptSSE(w, r, hub) // why a stream ended is the client's to judge
	})
}
