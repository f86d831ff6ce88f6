package main

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
)

const (
	channels   = "wskit-dashboard:" // on Redis each tenant's begins so
	lobby      = "lobby"            // the tenant of who asks for none
	maxTenants = 64
	maxClients = 200 // of a tenant; a page is two

	idleTimeout = time.Minute // of a tenant
)

var (
	tenantNames = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)
	pageNames   = regexp.MustCompile(`^[a-z0-9]{16,32}$`) // a page makes its own up; who does not know it cannot send to it
)

//go:embed page
var page embed.FS

// dashboard is one instance: a hub for each tenant, and what their pages are told about it.
type dashboard struct {
	name       string
	redis      *redis.Client // nil: off
	wires      wires         // of that
	tenants    *wskit.Tenants
	neighbours *neighbours // nil: without Redis there are none

	mu    sync.Mutex
	rooms map[string]*room
}

func newDashboard(name, redisAddr string) *dashboard {
	d := &dashboard{name: name, rooms: map[string]*room{}}
	if redisAddr != "" {
		d.redis = redis.NewClient(&redis.Options{Addr: redisAddr, Dialer: d.wires.dial})
	}
	d.tenants = wskit.NewTenants(d.configure,
		wskit.WithTenantsRedis(d.redis, channels), // nil turns Redis off
		wskit.WithTenantsLogger(nil),              // a hub that is given up is on its pages, and in a line of its room's
		wskit.WithMaxTenants(maxTenants), wskit.WithIdleTimeout(idleTimeout))
	if d.redis != nil {
		d.neighbours = watchNeighbours(name, d.tenants)
	}
	return d
}

// configure is how the hub of a tenant is made.
func (d *dashboard) configure(tenant string) []wskit.HubOption {
	if tenant == instances {
		return []wskit.HubOption{wskit.WithLogger(nil)}
	}
	return []wskit.HubOption{
		wskit.WithLogger(nil), // what it would say the room does, in a line, without the stacks of crashes on purpose
		wskit.WithDrainTimeout(drainTimeout),
		wskit.WithMaxSubscribers(maxClients),
		wskit.WithMaxPerUser(4, wskit.CloseOldest),
		// A page that is cut off for a moment comes back with its position, and gets what it missed.
		wskit.WithHistory(wskit.History{Messages: 300, Age: time.Minute}),
		// A page is a user: what is for it alone both its connections get.
		wskit.WithAuthenticate(func(r *http.Request) (wskit.Identity, error) {
			page := r.URL.Query().Get("page")
			if page != "" && !pageNames.MatchString(page) {
				return wskit.Identity{}, wskit.ErrForbidden
			}
			return wskit.Identity{User: page}, nil
		}),
		wskit.WithOnError(func(op string, err error) { d.room(tenant).failed(op, err) }),
		wskit.WithOnRedis(func(up bool) { d.room(tenant).redisChanged(up) }),
		wskit.WithOnDisconnectReason(func(sub wskit.Subscriber, reason wskit.DisconnectReason, code int) {
			d.room(tenant).disconnected(sub, reason, code)
		}),
	}
}

// close drains the hubs of all tenants.
func (d *dashboard) close(ctx context.Context) error {
	if d.neighbours != nil {
		d.neighbours.stop()
	}
	d.mu.Lock()
	rooms := slices.Collect(maps.Values(d.rooms))
	d.mu.Unlock()
	for _, r := range rooms {
		r.stopSlow() // it would take its time to hear of the end
	}
	err := d.tenants.Shutdown(ctx)
	if d.redis != nil {
		err = errors.Join(err, d.redis.Close()) // the hubs need it no more
	}
	return err
}

// connections is how many there are, of all tenants.
func (d *dashboard) connections() int {
	by := d.tenants.Stats().Subscribers
	return by[actors.TransportWebSocket] + by[actors.TransportSSE]
}

// room is the one of that tenant. Rooms outlive hubs, so that what happened to one can be told when it is there again, but not for long.
func (d *dashboard) room(tenant string) *room {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.rooms[tenant]; r != nil {
		return r
	}
	if len(d.rooms) >= 4*maxTenants {
		maps.DeleteFunc(d.rooms, func(_ string, r *room) bool { return r.unused() })
	}
	r := &room{tenant: tenant, last: time.Now()}
	d.rooms[tenant] = r
	return r
}

func (d *dashboard) handler() http.Handler {
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // "page" is a valid path
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.Handle("GET /{$}", http.RedirectHandler("/t/"+lobby, http.StatusFound))
	mux.HandleFunc("GET /t/{tenant}", func(w http.ResponseWriter, r *http.Request) {
		if _, err := tenantOf(r); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		http.ServeFileFS(w, r, files, "index.html")
	})
	live := d.tenants.Handler(tenantOf, wskit.WithRetry(500*time.Millisecond)) // both transports
	mux.Handle("GET /t/{tenant}/ws", live)
	mux.Handle("GET /t/{tenant}/events", live)
	mux.HandleFunc("GET /t/{tenant}/state", d.tell)
	mux.HandleFunc("POST /t/{tenant}/{action}", d.act)

	// Other sites may neither post through a visitor's browser, nor frame the page, nor get anything to run in it.
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-cache") // a rebuilt binary brings a new page
		guarded.ServeHTTP(w, r)
	})
}

// tenantOf says which tenant a request is for.
func tenantOf(r *http.Request) (string, error) {
	name := r.PathValue("tenant")
	if !tenantNames.MatchString(name) {
		return "", errors.New("the name of a tenant is 1 to 32 of a-z, 0-9 and -, and does not begin with -")
	}
	return name, nil
}

// state is what a page is told of its tenant when it asks, which it does once a second. It does not come through the hub: what is counted
// there is what people send.
type state struct {
	Instance string       `json:"instance"`
	Tenants  []string     `json:"tenants"`
	Failed   string       `json:"failed,omitempty"` // there is no hub, and why
	Stats    wskit.Stats  `json:"stats"`
	Actors   []actorState `json:"actors"`
	More     int          `json:"more"`            // connections that are not among Actors
	Redis    string       `json:"redis"`           // "off", "joining", "on" or "unreachable"
	Delay    float64      `json:"delay,omitempty"` // milliseconds from publishing a message to its coming back through Redis
	Others   []string     `json:"others"`          // instances that were heard through Redis within the last seconds
	Slow     string       `json:"slow,omitempty"`  // the policy of the client that is slow on purpose
	Happened []happening  `json:"happened"`
}

type actorState struct {
	wskit.ActorInfo
	Whose string `json:"whose,omitempty"` // "you", "slow" or "others"; "": nobody's
}

// shown is how many connections a page is told of.
const shown = 20

func (d *dashboard) tell(w http.ResponseWriter, r *http.Request) {
	tenant, err := tenantOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	s := state{Instance: d.name, Tenants: d.names(), Actors: []actorState{}, Others: []string{}, Redis: "off"}
	hub, err := d.tenants.Hub(tenant)
	if later := (*wskit.TenantFailedError)(nil); errors.As(err, &later) {
		s.Failed = fmt.Sprintf("The hub was given up, and is made anew in %d s.", 1+int(time.Until(later.Until).Seconds()))
	} else if err != nil {
		s.Failed = err.Error()
	} else {
		s.Stats = hub.Stats()
		s.Actors, s.More = describe(hub.Tree(), r.URL.Query().Get("page"))
	}
	if d.redis != nil {
		if s.Redis = "on"; s.Stats.RedisUp == 0 {
			s.Redis = d.room(tenant).withoutRedis()
		}
		s.Others, s.Delay = d.neighbours.known()
	}
	s.Slow, s.Happened = d.room(tenant).now()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(s)
}

// names are the tenants whose hubs run.
func (d *dashboard) names() []string {
	return slices.DeleteFunc(d.tenants.Names(), func(name string) bool { return name == instances })
}

// describe is a hub's actors under their short names, those of the page's connections before others', and how many were left out.
func describe(tree []wskit.ActorInfo, page string) (list []actorState, more int) {
	list = make([]actorState, 0, len(tree))
	for i, a := range tree {
		s := actorState{ActorInfo: a}
		if s.Name = shortName(a.Name); i == 0 {
			s.Name = "hub"
		}
		if m, ok := a.Subscriber.(wskit.Member); ok {
			switch s.Whose = "others"; {
			case m.Value(slowly{}) != nil:
				s.Whose = "slow"
			case page != "" && m.User() == page:
				s.Whose = "you"
			}
		}
		list = append(list, s)
	}
	order := map[string]int{"": 0, "you": 1, "slow": 2, "others": 3}
	slices.SortStableFunc(list, func(a, b actorState) int {
		if c := cmp.Compare(order[a.Whose], order[b.Whose]); c != 0 || a.Whose == "" {
			return c
		}
		return cmp.Compare(a.Name, b.Name)
	})
	permanent := slices.IndexFunc(list, func(a actorState) bool { return a.Whose != "" })
	if permanent < 0 {
		permanent = len(list)
	}
	more = max(0, len(list)-permanent-shown)
	return list[:len(list)-more], more
}

// onPurpose is what actors are made to panic with.
const onPurpose = "a visitor pressed the button"

// crash has the actor of that short name panic, as any embedder could have it; false: there is none.
func crash(hub *wskit.Hub, name string) bool {
	for i, a := range hub.Tree() {
		if i == 0 && name == "hub" || i > 0 && name == shortName(a.Name) {
			system := actors.System()
			system.Root.Send(actor.NewPID(system.Address(), a.Name), &actors.Crash{Reason: onPurpose})
			return true
		}
	}
	return false
}
