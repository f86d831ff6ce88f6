package wskit

import "go.opentelemetry.io/otel/metric"

// WithMeterProvider has the hub's Stats exported as OpenTelemetry metrics, by observable instruments of a meter named
// "github.com/wskit/wskit": docs/metrics.md lists them. Nothing is measured between two collections, which read Stats. Default, and nil:
// off.
//
// Hubs with one provider and one WithTenantClass are exported as their sum. In it the counters of those that have ended stay; when the last
// of them has ended its series end, and begin at 0 with the next. No attribute names a topic, a user or a hub, so the number of series does not
// grow with them.
//
// The provider is called on a goroutine of the hub's, soon after its first use and soon after its end. A panic in it, or an error of its,
// is reported to WithOnError ("MeterProvider"), and nothing is exported until a further hub of that class has it called again.
func WithMeterProvider(p metric.MeterProvider) HubOption {
	return func(h *Hub) { h.cfg.MeterProvider = p }
}

// WithTenantClass gives what WithMeterProvider exports the attribute wskit.tenant.class. Each class is a set of series of its own, so it
// should be one of few: a plan or a size, and not the tenant's name. Default, and "": the attribute is left out.
func WithTenantClass(class string) HubOption {
	return func(h *Hub) { h.cfg.TenantClass = class }
}
