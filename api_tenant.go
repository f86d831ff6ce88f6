package wskit

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/wskit/wskit/actors"
)

// tenant is a name, for as long as anybody has a Hub of it. Such a Hub is for one incarnation of the actors; when they have ended, the
// tenant leads on to another.
type tenant struct {
	of      *Tenants
	name    string
	mu      sync.Mutex          // of who changes now
	now     atomic.Pointer[Hub] // the incarnation that was last known to run; nil: none was
	stopped atomic.Bool         // since nobody has asked for Hub
}

// tenantDirectory is all tenants that anybody has a Hub of.
type tenantDirectory struct {
	mu sync.Mutex
	by map[string]weak.Pointer[tenant]
}

// tenant is the one of that name.
func (t *Tenants) tenant(name string) *tenant {
	d := &t.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.by[name].Value(); known != nil {
		return known
	}
	fresh := &tenant{of: t, name: name}
	if d.by == nil {
		d.by = map[string]weak.Pointer[tenant]{}
	}
	d.by[name] = weak.Make(fresh)
	runtime.AddCleanup(fresh, d.forget, name)
	return fresh
}

func (d *tenantDirectory) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.by[name].Value() != nil {
		return // there is another already
	}
	if delete(d.by, name); len(d.by) == 0 {
		d.by = nil // maps keep the room of their busiest hour
	}
}

// incarnation is the Hub for that link, which is what runs now.
func (each *tenant) incarnation(link *actors.Link) *Hub {
	each.mu.Lock()
	defer each.mu.Unlock()
	if h := each.now.Load(); h != nil && h.up() == link {
		return h
	}
	h := &Hub{system: link.System, attached: link.Hub, tenant: each}
	h.link.Store(link)
	h.start.Do(func() {}) // it has been
	each.now.Store(h)
	return h
}

// latest is the incarnation that was last known to run.
func (h *Hub) latest() *Hub {
	if now := h.tenant.now.Load(); now != nil {
		return now
	}
	return h
}

// hold is the hub itself, or of a tenant the incarnation that runs now, made anew if need be: until release it does not idle. With an error
// there is none, and h is returned.
func (h *Hub) hold() (*Hub, error) { return h.holdContext(context.Background()) }

// holdContext is hold that waits for as long as ctx lets it.
func (h *Hub) holdContext(ctx context.Context) (*Hub, error) {
	if h.tenant == nil {
		return h, nil
	}
	for now, end := h.latest(), (time.Time{}); ; {
		switch {
		case now.up().Gate.Hold():
			return now, nil
		case h.tenant.stopped.Load():
			return h, ErrHubStopped
		case end.IsZero():
			end = time.Now().Add(DefaultTenantTimeout)
		case time.Now().After(end):
			return h, fmt.Errorf("%w: tenant %.80q", ErrTimeout, h.tenant.name)
		}
		next, err := h.tenant.of.ask(ctx, h.tenant.name, false)
		if err != nil {
			return h, err
		}
		now = next
	}
}

// release undoes hold, on what that returned.
func (h *Hub) release() {
	if h.tenant != nil {
		h.up().Gate.Release()
	}
}

// current is hold for whoever only looks: it makes nothing anew, and keeps nothing from idling.
func (h *Hub) current() *Hub {
	if h == nil || h.tenant == nil {
		return h
	}
	now := h.latest()
	if now.up().Gate.Stopped() {
		if next, err := h.tenant.of.ask(context.Background(), h.tenant.name, true); err == nil {
			return next
		}
	}
	return now
}
