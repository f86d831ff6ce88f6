// Command prometheus is a hub that Prometheus scrapes, by way of OpenTelemetry's exporter, and that shows an operator what is in it.
//
//	go -C examples/prometheus run .
//	prometheus --config.file examples/prometheus/prometheus.yml --web.listen-address 127.0.0.1:9091
//
// Clients come to /ws and /sse of one address and get the time every second. The other address is for operators alone: /metrics is scraped,
// and /inspect shows the hub as JSON. It listens on this machine only, which is all the protection that it has.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/wskit/wskit"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` for clients")
	admin := flag.String("admin", "127.0.0.1:9090", "`host:port` for operators")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	hub, clients, operators, err := build()
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.ListenAndServe(*admin, operators)) }()
	go tell(ctx, hub, time.Second)
	log.Printf("clients: ws://%s/ws, operators: http://%s/metrics and /inspect", *addr, *admin)
	if err := wskit.Serve(ctx, &http.Server{Addr: *addr, Handler: clients}, hub); err != nil {
		log.Fatal(err)
	}
}

// build makes a hub, and what serves its clients and its operators.
func build() (hub *wskit.Hub, clients, operators *http.ServeMux, err error) {
	registry := prometheus.NewRegistry()
	// All series are of one scope: that as a label of each would make a third of what a scrape costs.
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo())
	if err != nil {
		return nil, nil, nil, err
	}
	hub = wskit.NewHub(wskit.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(reader))))
	clients, operators = http.NewServeMux(), http.NewServeMux()
	clients.Handle("/ws", hub.WebSocketHandler())
	clients.Handle("/sse", hub.SSEHandler())
	// Compressed 60 series are soon sent, and take a third longer to make.
	operators.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true}))
	operators.Handle("/inspect", hub.Inspect())
	return hub, clients, operators, nil
}

// tell broadcasts the time.
func tell(ctx context.Context, hub *wskit.Hub, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			hub.Broadcast([]byte(now.Format(time.TimeOnly)))
		case <-ctx.Done():
			return
		}
	}
}
