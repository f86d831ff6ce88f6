package main

import (
	"context"
	"net/http"

	"github.com/centrifugal/centrifuge"
	"github.com/olahol/melody"
)

// melodyServer is melody with its defaults.
type melodyServer struct{ m *melody.Melody }

func openMelody() server { return melodyServer{melody.New()} }

func (s melodyServer) ServeHTTP(w http.ResponseWriter, r *http.Request) { _ = s.m.HandleRequest(w, r) }
func (s melodyServer) broadcast(data []byte)                            { _ = s.m.Broadcast(data) }
func (s melodyServer) count() int                                       { return s.m.Len() }

// centrifugeServer is one centrifuge node in memory; the server subscribes each client to one channel.
type centrifugeServer struct {
	node    *centrifuge.Node
	handler http.Handler
}

const channel = "bench"

func openCentrifuge() server {
	node, err := centrifuge.New(centrifuge.Config{
		ClientQueueMaxSize: 16 << 20, // a burst of 64 messages of 16 KB fills the default of 1 MB
	})
	if err != nil {
		fatal("centrifuge", err)
	}
	node.OnConnecting(func(context.Context, centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		return centrifuge.ConnectReply{
			Credentials:   &centrifuge.Credentials{UserID: ""},
			Subscriptions: map[string]centrifuge.SubscribeOptions{channel: {}},
		}, nil
	})
	if err := node.Run(); err != nil {
		fatal("centrifuge", err)
	}
	return &centrifugeServer{node, centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		// The load generator answers WebSocket pings, not those of centrifuge's own protocol.
		PingPongConfig: centrifuge.PingPongConfig{PingInterval: -1, PongTimeout: -1},
	})}
}

func (s *centrifugeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.handler.ServeHTTP(w, r)
}
func (s *centrifugeServer) broadcast(data []byte) { _, _ = s.node.Publish(channel, data) }
func (s *centrifugeServer) count() int            { return s.node.Hub().NumSubscribers(channel) }
