package wskit

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/wskit/wskit/actors"
)

// Inspect is a handler for operators. It shows who is connected and ends connections, and asks nobody who they are: it is to be mounted behind
// protection of the program's own, and never where clients can reach it.
//
// GET is answered with one JSON object:
//   - "stats": Stats;
//   - "actors": the permanent ones of Tree, and of connections the n that have most in their mailbox, with the client's ID ("client");
//   - "topics": the n largest, with their "subscribers";
//   - "clients", with ?user=: that user's connections: "client", "user", "transport", "remote" and "topics", those that came first in front.
//
// n is 1 to 1000, by ?n=; default 20. POST with the parameter "client", in the query or as a form, unregisters the client of that ID, which
// is told 1000, and is answered 204. All it shows is of this instance.
//
// Parameters that cannot be are answered 400, a client that is not there 404, other methods 405, a POST that a browser sends from another
// origin 403 (see http.CrossOriginProtection), and a hub that did not get round to it within the channel timeout 503.
func (h *Hub) Inspect() http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			h.show(w, r)
		case http.MethodPost:
			h.closeClient(w, r)
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			answer(w, http.StatusMethodNotAllowed)
		}
	}))
}

// inspection is what Inspect shows.
type inspection struct {
	Stats   Stats              `json:"stats"`
	Actors  []actorView        `json:"actors"`
	Topics  []actors.TopicSize `json:"topics"`
	Clients []clientView       `json:"clients,omitzero"`
}

type actorView struct {
	ActorInfo
	Client string `json:"client,omitempty"`
}

type clientView struct {
	Client    string   `json:"client"`
	User      string   `json:"user"`
	Transport string   `json:"transport"`
	Remote    string   `json:"remote,omitempty"`
	Topics    []string `json:"topics"`
}

func (h *Hub) show(w http.ResponseWriter, r *http.Request) {
	query, n := r.URL.Query(), 20
	if query.Has("n") {
		var err error
		if n, err = strconv.Atoi(query.Get("n")); err != nil || n < 1 || n > 1000 {
			answer(w, http.StatusBadRequest)
			return
		}
	}
	user := query.Get("user")
	if query.Has("user") && actors.CheckTopic(user) != nil {
		answer(w, http.StatusBadRequest)
		return
	}
	all := inspection{Stats: h.Stats(), Actors: []actorView{}, Topics: []actors.TopicSize{}}
	for _, a := range most(h.Tree(), n) {
		all.Actors = append(all.Actors, actorView{a, idOf(a.Subscriber)})
	}
	if !h.unused() {
		all.Topics = h.up().Roll.Sizes()
		slices.SortFunc(all.Topics, func(a, b actors.TopicSize) int {
			return cmp.Or(cmp.Compare(b.Subscribers, a.Subscribers), cmp.Compare(a.Name, b.Name))
		})
		all.Topics = all.Topics[:min(n, len(all.Topics))]
	}
	if query.Has("user") {
		all.Clients = h.clientsOf(user)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(all)
}

// most is the permanent actors, and of the others the n that have most in their mailbox.
func most(tree []ActorInfo, n int) []ActorInfo {
	slices.SortStableFunc(tree, func(a, b ActorInfo) int {
		if a.Kind != b.Kind || a.Kind == actors.Permanent {
			return cmp.Compare(b.Kind, a.Kind)
		}
		return cmp.Compare(b.Mailbox, a.Mailbox)
	})
	permanent := 0
	for permanent < len(tree) && tree[permanent].Kind == actors.Permanent {
		permanent++
	}
	return tree[:min(permanent+n, len(tree))]
}

// idOf is a Member's ID; "": sub is none. A program may have wrapped it in a type of its own.
func idOf(sub Subscriber) (id string) {
	if m, ok := sub.(Member); ok {
		_ = actors.Fence("ID", func() { id = m.ID() })
	}
	return id
}

// clientsOf are the connections of a user.
func (h *Hub) clientsOf(user string) []clientView {
	list := []clientView{}
	if h.unused() {
		return list
	}
	for _, sub := range h.up().Roll.ConnectionsOf(user) {
		if c, ok := view(sub); ok {
			list = append(list, c)
		}
	}
	return list
}

func view(sub Subscriber) (c clientView, ok bool) {
	m, ok := sub.(Member)
	if !ok {
		return c, false
	}
	err := actors.Fence("Member", func() {
		c = clientView{Client: m.ID(), User: m.User(), Topics: append([]string{}, m.Topics()...)}
		if r := m.Request(); r != nil {
			c.Remote = r.RemoteAddr
		}
		if in, ok := sub.(actors.Connection); ok {
			c.Transport = in.Outbox().Transport().String()
		}
	})
	return c, err == nil
}

// maxForm is how many bytes the body of a POST to Inspect may have.
const maxForm = 4 << 10

func (h *Hub) closeClient(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	id := r.FormValue("client")
	if id == "" {
		answer(w, http.StatusBadRequest)
		return
	}
	tree := h.Tree()
	i := slices.IndexFunc(tree, func(a ActorInfo) bool { return idOf(a.Subscriber) == id })
	if i < 0 {
		answer(w, http.StatusNotFound)
		return
	}
	if h.enter(&actors.Unregister{Subscriber: tree[i].Subscriber}) != nil {
		answer(w, http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
