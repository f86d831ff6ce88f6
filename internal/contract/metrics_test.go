package contract_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// collector is a real provider and what it has collected.
type collector struct {
	*sdk.MeterProvider
	reader *sdk.ManualReader
}

func newCollector(t *testing.T) *collector {
	r := sdk.NewManualReader()
	c := &collector{sdk.NewMeterProvider(sdk.WithReader(r)), r}
	t.Cleanup(func() { _ = c.Shutdown(context.Background()) })
	return c
}

// all is each metric of wskit's by name.
func (c *collector) all(t *testing.T) map[string]metricdata.Metrics {
	t.Helper()
	var got metricdata.ResourceMetrics
	no(t, c.reader.Collect(t.Context(), &got))
	list := map[string]metricdata.Metrics{}
	for _, s := range got.ScopeMetrics {
		if s.Scope.Name != "github.com/wskit/wskit" {
			t.Errorf("the meter is %q", s.Scope.Name)
		}
		for _, m := range s.Metrics {
			list[m.Name] = m
		}
	}
	return list
}

// values is each series of a metric, by its attributes: "k=v,k=v".
func (c *collector) values(t *testing.T, name string) map[string]int64 {
	t.Helper()
	list := map[string]int64{}
	if data, ok := c.all(t)[name].Data.(metricdata.Sum[int64]); ok {
		for _, p := range data.DataPoints {
			list[p.Attributes.Encoded(attributes{})] = p.Value
		}
	}
	return list
}

// expect waits for a metric to have these series, but for zeros.
func (c *collector) expect(t *testing.T, name string, want map[string]int64) {
	t.Helper()
	var got map[string]int64
	if !wstest.Poll(wstest.Patience, func() bool {
		got = c.values(t, name)
		maps.DeleteFunc(got, func(_ string, n int64) bool { return n == 0 })
		return maps.Equal(got, want)
	}) {
		t.Fatalf("%s is %v, want %v", name, got, want)
	}
}

// documented is the table of docs/metrics.md: by instrument its kind, unit and attributes' values.
func documented(t *testing.T) (instruments map[string][]string, attrs map[string][]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	no(t, err)
	instruments, attrs = map[string][]string{}, map[string][]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) == 7 && strings.HasPrefix(cells[1], "`"):
			instruments[strings.Trim(cells[1], "`")] = []string{cells[2], strings.Trim(cells[3], "`"), strings.Trim(cells[4], "`")}
		case len(cells) == 5 && strings.HasPrefix(cells[1], "`"):
			for _, of := range strings.Split(cells[2], ", ") {
				for i, word := range strings.Split(cells[3], "`") {
					if i%2 == 1 && !strings.HasPrefix(word, "With") && word != "Send" && word != "Subscriber" {
						attrs[strings.Trim(of, "`")] = append(attrs[strings.Trim(of, "`")], word)
					}
				}
			}
		}
	}
	return instruments, attrs
}

// Each instrument of docs/metrics.md exists as it says there, and moves; and there is no other, nor another attribute.
func TestTheInstrumentsAreThoseOfTheDocsAndMove(t *testing.T) {
	wstest.Clean(t)
	instruments, attrs := documented(t)
	redis := redistest.Start(t)
	c := newCollector(t)
	metered := func(opts ...wskit.HubOption) []wskit.HubOption {
		return append(opts, wskit.WithMeterProvider(c), wskit.WithTenantClass("gold"), wskit.WithLogger(nil))
	}
	one := redisNode(t, redis.Addr(), metered()...)
	one.listen(t, redis, 1)
	two, srv := linked(t, redis.Addr(), metered(wskit.WithAuthenticate(byQuery))...)
	three := wstest.Idle(t, metered(wskit.WithBroadcastBuf(1), wskit.WithChannelTimeout(time.Millisecond))...)

	moved, points := map[string]bool{}, map[string]int{}
	watch := func() {
		t.Helper()
		got := c.all(t)
		if want := slices.Sorted(maps.Keys(instruments)); !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
			t.Fatalf("there are %v, and in the docs %v", slices.Sorted(maps.Keys(got)), want)
		}
		for name, m := range got {
			sum, ok := m.Data.(metricdata.Sum[int64])
			kind, doc := map[bool]string{true: "Counter", false: "UpDownCounter"}[sum.IsMonotonic], instruments[name]
			if !ok || kind != doc[0] || m.Unit != doc[1] || m.Description == "" {
				t.Errorf("%s is %T, %s, %s, and in the docs %v", name, m.Data, kind, m.Unit, doc)
			}
			points[name] = len(sum.DataPoints)
			var values []string
			for _, p := range sum.DataPoints {
				moved[name] = moved[name] || p.Value > 0
				for _, a := range p.Attributes.ToSlice() {
					switch string(a.Key) {
					case "wskit.tenant.class":
						if a.Value.AsString() != "gold" {
							t.Errorf("%s has %v", name, a)
						}
					case doc[2]:
						values = append(values, a.Value.AsString())
					default:
						t.Errorf("%s has the attribute %v", name, a)
					}
				}
			}
			slices.Sort(values)
			if want := slices.Sorted(slices.Values(attrs[name])); !slices.Equal(values, want) {
				t.Errorf("%s has for %s %v, and in the docs %v", name, doc[2], values, want)
			}
		}
	}

	three.Broadcast(nil) // and the next finds no place
	three.Broadcast(nil)
	wstest.Eventually(t, "three hubs", func() bool { return c.values(t, "wskit.active_hubs")["wskit.tenant.class=gold"] == 3 })
	watch()
	three.Start(t)
	id := at(t, srv)
	st := srv.StreamAt(t, "/sse?user=ann&topic=a")
	two.Count(t, 1)
	no(t, two.BroadcastEventContext(t.Context(), 1))
	expectTold(t, st, "1")
	srv.StreamAt(t, after(id))
	expectTold(t, srv.StreamAt(t, after("other.1")), "event:wskit.reset epoch")
	if resp, err := srv.Client().Get(srv.URL + "/ws"); err == nil {
		resp.Body.Close()
	}
	one.Register(&wstest.Probe{OnSend: func(string) bool { return false }})
	one.Broadcast([]byte("x"))
	wstest.Crash(wstest.One(t, one.Hub.Hub, "registry"), "test")
	untilStats(t, "a restart", one.Hub.Hub, func(s wskit.Stats) bool { return s.Restarts[actors.PartRegistry] == 1 && s.RedisUp == 1 })
	watch()
	redis.Kill()
	untilStats(t, "a gap", one.Hub.Hub, func(s wskit.Stats) bool { return s.Gaps == 1 })
	redis.Restart()
	untilStats(t, "a repair", two.Hub, func(s wskit.Stats) bool { return s.Repairs > 0 })
	two.Halt(t)
	before := maps.Clone(points)
	watch()
	if !maps.Equal(points, before) {
		t.Errorf("series come and go: %v, and before %v", points, before)
	}
	for name := range instruments {
		if !moved[name] {
			t.Error(name, "has not moved")
		}
	}
}

func TestHubsOfOneClassAreSummedAndWhatTheyCountedStays(t *testing.T) {
	wstest.Clean(t)
	c, other := newCollector(t), newCollector(t)
	gold, silver := "wskit.tenant.class=gold", "wskit.tenant.class=silver"
	run := func(p metric.MeterProvider, class string, broadcasts int) *wstest.Hub {
		h := wstest.Run(t, wskit.WithMeterProvider(p), wskit.WithTenantClass(class))
		for range broadcasts {
			h.Broadcast(nil)
		}
		return h
	}
	const counts, hubs = "wskit.message.broadcasts", "wskit.active_hubs"
	a, b := run(c, "gold", 2), run(c, "gold", 3)
	d, e, f := run(c, "silver", 4), run(c, "", 5), run(other, "gold", 6)
	c.expect(t, counts, map[string]int64{gold: 5, silver: 4, "": 5})
	c.expect(t, hubs, map[string]int64{gold: 2, silver: 1, "": 1})
	other.expect(t, counts, map[string]int64{gold: 6})
	a.Halt(t)
	c.expect(t, counts, map[string]int64{gold: 5, silver: 4, "": 5})
	c.expect(t, hubs, map[string]int64{gold: 1, silver: 1, "": 1})
	b.Halt(t)
	d.Halt(t)
	c.expect(t, counts, map[string]int64{"": 5}) // their series have ended
	run(c, "gold", 1)
	c.expect(t, counts, map[string]int64{gold: 1, "": 5})
	e.Halt(t)
	f.Halt(t)
	if got := other.all(t); len(got) != 0 {
		t.Error(got)
	}
}

// Whoever embeds a hub has it by its Config.
func TestAnEmbeddedHubIsExportedToo(t *testing.T) {
	c := newCollector(t)
	hub, _ := wstest.Embed(t, hubactor.Config{MeterProvider: c, TenantClass: "gold"})
	hub.Register(&wstest.Probe{})
	c.expect(t, "wskit.active_subscribers", map[string]int64{"wskit.tenant.class=gold,wskit.transport=other": 1})
}

// A hub that crashes over its budget is unregistered too.
func TestAHubThatIsGivenUpIsMeasuredNoMore(t *testing.T) {
	c := newCollector(t)
	hub := wstest.Run(t, wskit.WithMeterProvider(c), wskit.WithLogger(nil))
	listener := wstest.One(t, hub.Hub, "listener")
	c.expect(t, "wskit.active_hubs", map[string]int64{"": 1})
	for range 11 {
		wstest.Crash(listener, "again and again")
	}
	wstest.Receive(t, "Run returns", hub.Done)
	if got := c.all(t); len(got) != 0 {
		t.Error(got)
	}
}

// oddProvider is one that goes wrong somewhere.
type oddProvider struct {
	noop.MeterProvider
	meter func() metric.Meter
	_     []int // not comparable
}

func (p oddProvider) Meter(string, ...metric.MeterOption) metric.Meter { return p.meter() }

type oddMeter struct {
	noop.Meter
	register func() (metric.Registration, error)
}

func (m oddMeter) RegisterCallback(metric.Callback, ...metric.Observable) (metric.Registration, error) {
	return m.register()
}

type oddRegistration struct{ noop.Registration }

func (oddRegistration) Unregister() error { panic("test") }

type oddInstruments struct{ noop.Meter }

func (oddInstruments) Int64ObservableCounter(string, ...metric.Int64ObservableCounterOption) (metric.Int64ObservableCounter, error) {
	return nil, errors.New("test")
}

// "A panic in it, or an error of its, is reported …, and nothing is exported." The hub goes on; and one that blocks blocks nobody.
func TestAProviderThatFailsPanicsOrBlocksHarmsNoHub(t *testing.T) {
	release := make(chan struct{})
	for name, p := range map[string]metric.MeterProvider{
		"panics":                oddProvider{meter: func() metric.Meter { panic("test") }},
		"is a nil pointer":      (*oddProvider)(nil),
		"panics in registering": oddProvider{meter: func() metric.Meter { return oddMeter{register: func() (metric.Registration, error) { panic("test") }} }},
		"does not register": oddProvider{meter: func() metric.Meter {
			return oddMeter{register: func() (metric.Registration, error) { return nil, errors.New("test") }}
		}},
		"has no instruments": oddProvider{meter: func() metric.Meter { return oddInstruments{} }},
		"blocks":             oddProvider{meter: func() metric.Meter { <-release; return noop.Meter{} }},
		"panics in the end": oddProvider{meter: func() metric.Meter {
			return oddMeter{register: func() (metric.Registration, error) { return oddRegistration{}, nil }}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var errs troubles
			hub := wstest.Run(t, wskit.WithMeterProvider(p), wskit.WithLogger(nil), errs.option())
			own := &wstest.Probe{}
			hub.Register(own)
			hub.Broadcast([]byte("1"))
			own.Expect(t, "1")
			switch name {
			case "blocks":
				hub.Halt(t)
				close(release)
			case "panics in the end":
			default:
				errs.Expect(t, "MeterProvider")
			}
		})
	}
	hub := wstest.Run(t, wskit.WithMeterProvider(nil))
	hub.Count(t, 0)
	hub.Broadcast(nil)
}

// Hubs that come and go while metrics are collected: sums never fall, and nobody waits for anybody. Collecting holds the provider's lock.
// A provider that was not ready for the first hub of a class exports it, and the others, from the next one on.
func TestAProviderThatFailedIsCalledAgainForTheNextHub(t *testing.T) {
	c := newCollector(t)
	p := &moody{MeterProvider: c}
	var errs troubles
	first := wstest.Run(t, wskit.WithMeterProvider(p), wskit.WithLogger(nil), errs.option())
	first.Count(t, 0)
	errs.Expect(t, "MeterProvider")
	if got := c.all(t); len(got) != 0 {
		t.Error(got)
	}
	second := wstest.Run(t, wskit.WithMeterProvider(p))
	second.Count(t, 0)
	c.expect(t, "wskit.active_hubs", map[string]int64{"": 2})
}

// moody is a provider that fails the first time.
type moody struct {
	metric.MeterProvider
	called atomic.Bool
}

func (m *moody) Meter(name string, opts ...metric.MeterOption) metric.Meter {
	if !m.called.Swap(true) {
		panic("test")
	}
	return m.MeterProvider.Meter(name, opts...)
}

func TestHubsComeAndGoWhileMetricsAreCollected(t *testing.T) {
	wstest.Clean(t)
	c := newCollector(t)
	run := func() *wstest.Hub { return wstest.Run(t, wskit.WithMeterProvider(c)) }
	run().Broadcast(nil)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for last := int64(0); ; {
			select {
			case <-stop:
				return
			default:
			}
			if n := c.values(t, "wskit.message.broadcasts")[""]; n < last {
				t.Errorf("%d after %d", n, last)
			} else {
				last = n
			}
		}
	}()
	for range 50 {
		h := run()
		h.Broadcast(nil)
		h.Halt(t)
	}
	close(stop)
	wstest.Receive(t, "the end of collecting", done)
	c.expect(t, "wskit.message.broadcasts", map[string]int64{"": 51})
}

// attributes writes a set as "k=v,k=v".
type attributes struct{}

func (attributes) ID() attribute.EncoderID { return attribute.EncoderID{} }

func (attributes) Encode(list attribute.Iterator) string {
	var all []string
	for list.Next() {
		all = append(all, fmt.Sprintf("%s=%s", list.Attribute().Key, list.Attribute().Value.AsString()))
	}
	return strings.Join(all, ",")
}
