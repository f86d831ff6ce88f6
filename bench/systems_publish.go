package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
)

// newRedisClient is the client of both publishing systems, with go-redis' defaults.
func newRedisClient() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: os.Getenv(redisVar)})
}

// nobodyConnected is the part of a server that publishes only.
type nobodyConnected struct{}

func (nobodyConnected) ServeHTTP(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }
func (nobodyConnected) broadcast([]byte)                                 {}
func (nobodyConnected) count() int                                       { return 0 }

// hubPublisher is a hub on a Redis, which gets what it publishes through its subscription.
type hubPublisher struct {
	nobodyConnected
	hub *wskit.Hub
}

func openWskitPublish() server { return newHubPublisher() }

func openWskitPublishHistory() server { return newHubPublisher(wskit.WithHistory(wskit.History{})) }

func newHubPublisher(opts ...wskit.HubOption) server {
	s := hubPublisher{hub: wskit.NewHub(append(opts, wskit.WithRedis(newRedisClient(), redisChannel))...)}
	go s.hub.Run(context.Background())
	go s.hub.SubscribeToRedis(context.Background())
	return s
}

func (s hubPublisher) publish(ctx context.Context, event any) error {
	return s.hub.BroadcastEvent(ctx, event)
}

// plainPublisher calls PUBLISH for each event, and reads what comes back through a subscription.
type plainPublisher struct {
	nobodyConnected
	client *redis.Client
}

func openPlainPublish() server {
	s := plainPublisher{client: newRedisClient()}
	go func() {
		for range s.client.Subscribe(context.Background(), redisChannel).Channel() {
		}
	}()
	return s
}

func (s plainPublisher) publish(ctx context.Context, event any) error {
	data, err := json.Marshal(event)
	if err != nil {
		return err
	}
	return s.client.Publish(ctx, redisChannel, data).Err()
}
