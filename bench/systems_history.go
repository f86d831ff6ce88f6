package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wskit/wskit"
)

// withLog has a hub keep history, within the default bounds.
func withLog() wskit.HubOption { return wskit.WithHistory(wskit.History{}) }

func openWskitHistory() server { return newWskit(withPumps(nil), withLog()) }

func openWskitSSEHistory() server { return newWskit(streamSSE, withLog()) }

// logger is a server with a log, and as many topics as there are.
type logger interface {
	topical
	// position is where the log stands; what was sent before it was asked for is behind that.
	position(ctx context.Context) (string, error)
	// fill sends a message of keptSize to each of the first n topics, and returns where the log stands then.
	fill(ctx context.Context, n int) (string, error)
}

// wskitLog is a hub with history that publishes, and the one that connections come to: without Redis the same, with it another, as after a
// restart, which knows nothing of what was published.
type wskitLog struct {
	wskitServer
	from    *wskit.Hub
	publish func(ctx context.Context, topic string, data []byte) error
}

// comers takes a connection in that names its topic.
func comers(w http.ResponseWriter, r *http.Request, hub *wskit.Hub) {
	withPumps(nil, wskit.WithTopics(r.URL.Query()["topic"]...))(w, r, hub)
}

func openWskitRings() server {
	hub := wskit.NewHub(withLog())
	go hub.Run(context.Background())
	return &wskitLog{
		wskitServer: wskitServer{hub: hub, accept: comers}, from: hub,
		publish: func(ctx context.Context, topic string, data []byte) error {
			return hub.Topic(topic).BroadcastContext(ctx, data)
		},
	}
}

func openWskitStreams() server {
	hubs := [2]*wskit.Hub{}
	for i := range hubs {
		hubs[i] = wskit.NewHub(withLog(), wskit.WithRedis(newRedisClient(), redisChannel))
		go hubs[i].Run(context.Background())
		go hubs[i].SubscribeToRedis(context.Background())
	}
	return &wskitLog{
		wskitServer: wskitServer{hub: hubs[1], accept: comers}, from: hubs[0],
		publish: func(ctx context.Context, topic string, data []byte) error {
			return hubs[0].Topic(topic).BroadcastEvent(ctx, json.RawMessage(data))
		},
	}
}

func (s *wskitLog) send(topic int, data []byte) {
	if err := s.publish(context.Background(), topicNames[topic%resumeTopics], data); err != nil {
		fatal("publish", err)
	}
}

func (s *wskitLog) position(ctx context.Context) (string, error) {
	const mark = "position"
	data := strconv.Quote(strconv.FormatInt(time.Now().UnixNano(), 10))
	if err := s.publish(ctx, mark, []byte(data)); err != nil {
		return "", err
	}
	for range 100 {
		last, err := s.from.Topic(mark).History(ctx, 1)
		if err != nil {
			return "", err
		}
		if len(last) == 1 && string(last[0].Data) == data {
			return last[0].ID, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", errors.New("the log does not have what was sent")
}

func (s *wskitLog) fill(ctx context.Context, n int) (string, error) {
	var (
		wg     sync.WaitGroup
		taken  atomic.Int64
		failed atomic.Pointer[error]
	)
	data := newMessage(0, 0, body{size: keptSize})
	for range publishers {
		wg.Go(func() {
			for i := int(taken.Add(1)) - 1; i < n && failed.Load() == nil; i = int(taken.Add(1)) - 1 {
				if err := s.publish(ctx, topicNames[i], data); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return "", fmt.Errorf("publishing: %w", *err)
	}
	return s.position(ctx)
}
