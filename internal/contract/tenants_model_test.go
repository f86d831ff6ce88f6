package contract_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
	"pgregory.net/rapid"
)

// modelMember is a subscriber, and what it is to have been told.
type modelMember struct {
	wstest.Probe
	want []string
}

// Whatever is done with names and hubs that were kept, while those that nobody is in idle out as they like: all that is registered stays
// until it leaves or its hub is stopped, gets what is broadcast meanwhile, and nothing else.
func TestTenantsDoWhatAModelOfThemDoes(t *testing.T) {
	wstest.Clean(t)
	rapid.Check(t, func(t *rapid.T) {
		tenants := wskit.NewTenants(nil, wskit.WithIdleTimeout(time.Nanosecond))
		defer func() { _ = tenants.Shutdown(context.Background()) }()
		names := []string{"a", "b", "c"}
		kept, stopped, in := map[string]*wskit.Hub{}, map[string]bool{}, map[string][]*modelMember{}
		var all []*modelMember
		hub := func(t *rapid.T, name string) *wskit.Hub {
			h, err := tenants.Hub(name)
			if err != nil {
				t.Fatal(err)
			}
			stopped[name] = false
			return h
		}
		for _, name := range names {
			kept[name] = hub(t, name)
		}
		expect := func(t *rapid.T, name string, err error) bool {
			if stopped[name] != errors.Is(err, wskit.ErrHubStopped) || !stopped[name] && err != nil {
				t.Fatalf("%q: %v; stopped: %v", name, err, stopped[name])
			}
			return err == nil
		}
		draw := func(t *rapid.T) string { return rapid.SampledFrom(names).Draw(t, "name") }
		serial := 0
		t.Repeat(map[string]func(*rapid.T){
			"hub": func(t *rapid.T) { hub(t, draw(t)) }, // what is kept goes on
			"register": func(t *rapid.T) {
				name, m := draw(t), &modelMember{}
				all = append(all, m)
				if expect(t, name, kept[name].RegisterContext(context.Background(), m)) {
					in[name] = append(in[name], m)
				} else {
					m.want = []string{wstest.Closed}
				}
			},
			"unregister": func(t *rapid.T) {
				name := draw(t)
				if len(in[name]) == 0 {
					t.Skip()
				}
				m := in[name][0]
				kept[name].Unregister(m)
				m.want, in[name] = append(m.want, wstest.Closed), in[name][1:]
			},
			"broadcast": func(t *rapid.T) {
				name := draw(t)
				serial++
				if expect(t, name, kept[name].BroadcastContext(context.Background(), fmt.Append(nil, serial))) {
					for _, m := range in[name] {
						m.want = append(m.want, fmt.Sprint(serial))
					}
				}
			},
			"stop": func(t *rapid.T) {
				name := draw(t)
				if err := tenants.Stop(context.Background(), name); err != nil {
					t.Fatal(err)
				}
				for _, m := range in[name] {
					m.want = append(m.want, wstest.Closed)
				}
				in[name], stopped[name] = nil, true
			},
			"rest": func(t *rapid.T) {
				idle := func() bool {
					for _, name := range tenants.Names() {
						if len(in[name]) == 0 {
							return false
						}
					}
					return true
				}
				if !wstest.Poll(wstest.Patience, idle) {
					t.Fatal("hubs do not idle")
				}
			},
			"": func(t *rapid.T) {
				for _, name := range names {
					if n := kept[name].SubscriberCount(); n != len(in[name]) {
						t.Fatalf("%q has %d subscribers, not %d", name, n, len(in[name]))
					}
				}
			},
		})
		for _, m := range all {
			if !wstest.Poll(wstest.Patience, func() bool { return m.Len() >= len(m.want) }) || !slices.Equal(m.All(), m.want) {
				t.Fatalf("written down was %q, want %q", m.All(), m.want)
			}
		}
	})
}
