package hubactor

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/wskit/wskit/actors"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// scope is the name of the meter.
const scope = "github.com/wskit/wskit"

// instrument is one of those that docs/metrics.md lists. It is read from the sum of hubs: as one number, or as one for each label.
type instrument struct {
	name, unit, what string
	counter          bool // it never falls
	key              attribute.Key
	labels           []string // values of key; "": that one is not exported
	read             func(s *actors.Stats, label int) int64
}

var instruments = []instrument{
	{"wskit.active_hubs", "{hub}", "Hubs that run.", false, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Hubs) }},
	{"wskit.active_subscribers", "{subscriber}", "Subscribers now.", false, "wskit.transport", actors.Labels(actors.Transports),
		func(s *actors.Stats, i int) int64 { return int64(s.Subscribers[i]) }},
	{"wskit.subscriber.disconnects", "{subscriber}", "Subscribers that are none any more.", true, "wskit.reason", closing(),
		func(s *actors.Stats, i int) int64 { return int64(s.Disconnects[i]) }},
	{"wskit.subscriber.refusals", "{request}", "Requests for a connection that were not let in.", true, "wskit.reason", actors.Labels(actors.Refusals),
		func(s *actors.Stats, i int) int64 { return int64(s.Refusals[i]) }},
	{"wskit.active_users", "{user}", "Users that have a connection now.", false, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Users) }},
	{"wskit.active_topics", "{topic}", "Topics that somebody is in now.", false, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Topics) }},
	{"wskit.topic.memberships", "{membership}", "Memberships of subscribers in topics now.", false, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Memberships) }},
	{"wskit.message.broadcasts", "{message}", "Messages sent out.", true, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Broadcasts) }},
	{"wskit.message.deliveries", "{message}", "Messages put into subscribers' queues.", true, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Deliveries) }},
	{"wskit.message.io", "By", "Payload of the deliveries.", true, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Bytes) }},
	{"wskit.message.drops", "{message}", "Messages for which there was no room in a subscriber's queue.", true, "wskit.policy", actors.Labels(actors.Overflows),
		func(s *actors.Stats, i int) int64 { return int64(s.Drops[i]) }},
	{"wskit.operation.queued", "{operation}", "Operations queued at the hub now.", false, "wskit.operation", actors.Labels(actors.Ops),
		func(s *actors.Stats, i int) int64 { return int64(s.Queued[i]) }},
	{"wskit.operation.timeouts", "{operation}", "Operations that gave up waiting for a place in the hub's queue.", true, "wskit.operation", actors.Labels(actors.Ops),
		func(s *actors.Stats, i int) int64 { return int64(s.Timeouts[i]) }},
	{"wskit.actor.restarts", "{restart}", "Restarts of permanent actors after a failure.", true, "wskit.actor", actors.Labels(actors.Parts),
		func(s *actors.Stats, i int) int64 { return int64(s.Restarts[i]) }},
	{"wskit.redis.links", "{link}", "Hubs' links to Redis, by their state now.", false, "wskit.state", []string{"down", "up"},
		func(s *actors.Stats, i int) int64 { return [...]int64{int64(s.RedisDown), int64(s.RedisUp)}[i] }},
	{"wskit.redis.gaps", "{gap}", "Times that messages of other instances may have been missed for good.", true, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Gaps) }},
	{"wskit.redis.repairs", "{repair}", "Times that a hub with history read from Redis what it had missed.", true, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Repairs) }},
	{"wskit.history.resumes", "{resume}", "Subscribers that came back with a position.", true, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Resumes) }},
	{"wskit.history.resets", "{reset}", "Times that a subscriber was told to start anew.", true, "", nil,
		func(s *actors.Stats, _ int) int64 { return int64(s.Resets) }},
}

// closing are the reasons for which a subscriber ends.
func closing() []string {
	labels := actors.Labels(actors.Reasons)
	labels[actors.ReasonNone] = ""
	return labels
}

// meter exports the sum of all hubs with one provider and class. One callback for each hub would not do: where several observe the same
// attributes the last may be all that counts, and a hub that ends would take its counters with it.
type meter struct {
	meterKey

	// These are guarded by the lock of meters. It is not held while the provider is called, which calls back with locks of its own held.
	hubs         map[*actors.Link]struct{}
	past         actors.Stats // of those that have ended
	registering  bool         // the provider is being called, or has done it; else the next hub has it called
	registration metric.Registration
}

type meterKey struct {
	provider any
	class    string
}

// meters are those that have hubs.
var meters = struct {
	sync.Mutex
	by map[meterKey]*meter
}{by: map[meterKey]*meter{}}

// joinMeter has the provider export the hub too; nil: there is no provider.
func joinMeter(l *actors.Link, p metric.MeterProvider, class string) *meter {
	if p == nil {
		return nil
	}
	key := meterKey{p, class}
	if !reflect.ValueOf(p).Comparable() {
		key.provider = l // nobody knows whether it is the same
	}
	meters.Lock()
	m := meters.by[key]
	if m == nil {
		m = &meter{meterKey: key, hubs: map[*actors.Link]struct{}{}}
		meters.by[key] = m
	}
	m.hubs[l] = struct{}{}
	again := m.registering
	m.registering = true
	meters.Unlock()
	if !again {
		call(l, func() error { return m.register(p) }, m.failed)
	}
	return m
}

// failed is for a provider that has not registered it.
func (m *meter) failed() {
	meters.Lock()
	m.registering = false
	meters.Unlock()
}

// leave takes a hub that has ended out. It may be called again.
func (m *meter) leave(l *actors.Link) {
	if m == nil {
		return
	}
	meters.Lock()
	defer meters.Unlock()
	if _, in := m.hubs[l]; !in {
		return
	}
	delete(m.hubs, l)
	m.past = m.past.Plus(l.Stats())
	if len(m.hubs) > 0 {
		return
	}
	delete(meters.by, m.meterKey)
	if r := m.registration; r != nil {
		call(l, r.Unregister, func() {})
	}
}

// call has fn, which is the provider's, called, and if that fails reports it after otherwise.
func call(l *actors.Link, fn func() error, otherwise func()) {
	const op = "MeterProvider"
	var err error
	l.Goroutines.Start(op, func() { err = fn() }, func(failed error) {
		if err = errors.Join(failed, err); err != nil {
			otherwise()
			f := actors.UserFailed(op, err)
			f.Log(l.Log)
			l.System.Root.Send(l.Listener, f)
		}
	})
}

// register makes the instruments, and has them observed until the last hub has left.
func (m *meter) register(p metric.MeterProvider) error {
	from, list, out := p.Meter(scope), make([]metric.Observable, len(instruments)), make([]exported, len(instruments))
	for i, in := range instruments {
		made, err := in.make(from)
		if err != nil {
			return fmt.Errorf("wskit: instrument %s: %w", in.name, err)
		}
		list[i], out[i] = made, exported{made, in.options(m.class)}
	}
	r, err := from.RegisterCallback(func(_ context.Context, to metric.Observer) error { m.observe(to, out); return nil }, list...)
	if err != nil {
		return fmt.Errorf("wskit: metrics: %w", err)
	}
	meters.Lock()
	over := len(m.hubs) == 0
	m.registration = r
	meters.Unlock()
	if over {
		return r.Unregister()
	}
	return nil
}

func (in *instrument) make(from metric.Meter) (metric.Int64Observable, error) {
	unit, what := metric.WithUnit(in.unit), metric.WithDescription(in.what)
	if in.counter {
		return from.Int64ObservableCounter(in.name, unit, what)
	}
	return from.Int64ObservableUpDownCounter(in.name, unit, what)
}

// options are the attributes of each label, those that are not exported nil.
func (in *instrument) options(class string) []metric.ObserveOption {
	var of []attribute.KeyValue
	if class != "" {
		of = append(of, attribute.String("wskit.tenant.class", class))
	}
	if in.labels == nil {
		return []metric.ObserveOption{metric.WithAttributeSet(attribute.NewSet(of...))}
	}
	list := make([]metric.ObserveOption, len(in.labels))
	for i, label := range in.labels {
		if label != "" {
			list[i] = metric.WithAttributeSet(attribute.NewSet(append(of[:len(of):len(of)], in.key.String(label))...))
		}
	}
	return list
}

// exported is an instrument as a provider has made it.
type exported struct {
	metric.Int64Observable
	options []metric.ObserveOption // by label
}

// observe is what the provider has done when metrics are collected.
func (m *meter) observe(to metric.Observer, out []exported) {
	var now actors.Stats
	meters.Lock()
	over := len(m.hubs) == 0
	for l := range m.hubs {
		now = now.Plus(l.Stats())
	}
	past := m.past
	meters.Unlock()
	if over {
		return
	}
	for i := range instruments {
		in := &instruments[i]
		for label, option := range out[i].options {
			if option == nil {
				continue
			}
			n := in.read(&now, label)
			if in.counter {
				n += in.read(&past, label)
			}
			to.ObserveInt64(out[i].Int64Observable, n, option)
		}
	}
}
