package contract_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// shown is what Inspect answers GET with.
type shown struct {
	Stats struct {
		Subscribers map[string]int
		Topics      int
	}
	Actors []struct {
		Name, Kind, Client string
		Restarts, Mailbox  int
	}
	Topics []struct {
		Name        string
		Subscribers int
	}
	Clients []struct {
		Client, User, Transport, Remote string
		Topics                          []string
	}
}

func inspect(t *testing.T, h *wskit.Hub, query string) (got shown) {
	t.Helper()
	w := inspectBy(h, httptest.NewRequest(http.MethodGet, "/"+query, nil))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatal(w.Code, w.Body)
	}
	no(t, json.Unmarshal(w.Body.Bytes(), &got))
	return got
}

func inspectBy(h *wskit.Hub, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.Inspect().ServeHTTP(w, r)
	return w
}

func TestInspectShowsTheHubAndAUsersClients(t *testing.T) {
	hub := wstest.Run(t, wskit.WithAuthenticate(byQuery), wskit.WithAuthorize(everyone), wskit.WithName("inspected"))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	as(t, srv, "ann&topic=b&topic=a")
	as(t, srv, "bob&topic=b")
	hub.Count(t, 2)
	srv.StreamAt(t, "/sse?user=ann&topic=b&topic=c")
	hub.Count(t, 3)
	for i := range 3 {
		p := &wstest.Probe{}
		hub.Register(p)
		no(t, hub.Topic(fmt.Sprint("t", i)).Join(p))
	}
	wstest.Eventually(t, "all have an actor", func() bool { return len(hub.Tree()) == 4+6 })
	got := inspect(t, hub.Hub, "?n=2")
	if got.Stats.Subscribers["websocket"] != 2 || got.Stats.Topics != 6 || got.Clients != nil {
		t.Errorf("%+v", got)
	}
	if len(got.Topics) != 2 || got.Topics[0].Name != "b" || got.Topics[0].Subscribers != 3 || got.Topics[1].Name != "a" {
		t.Errorf("%+v", got.Topics)
	}
	var kinds []string
	for _, a := range got.Actors {
		kinds = append(kinds, a.Kind)
	}
	if want := []string{"permanent", "permanent", "permanent", "permanent", "temporary", "temporary"}; !slices.Equal(kinds, want) || !strings.HasSuffix(got.Actors[3].Name, "/registry") {
		t.Errorf("%+v", got.Actors)
	}
	if got = inspect(t, hub.Hub, "?user=ann"); len(got.Clients) != 2 || len(got.Actors) != 4+6 {
		t.Fatalf("%+v", got)
	}
	ws, sse := got.Clients[0], got.Clients[1]
	if ws.User != "ann" || ws.Transport != "websocket" || ws.Remote == "" || ws.Client == "" || !slices.Equal(ws.Topics, []string{"a", "b"}) || sse.Transport != "sse" {
		t.Errorf("%+v", got.Clients)
	}
	if !slices.ContainsFunc(got.Actors, func(a struct {
		Name, Kind, Client string
		Restarts, Mailbox  int
	}) bool {
		return a.Client == ws.Client
	}) {
		t.Errorf("%+v has no %s", got.Actors, ws.Client)
	}
	if w := inspectBy(hub.Hub, httptest.NewRequest(http.MethodGet, "/?user=nobody", nil)); !strings.Contains(w.Body.String(), `"clients":[]`) {
		t.Error(w.Body)
	}
}

func TestInspectClosesOneClient(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
	one, c := srv.Browser(t)
	two, other := srv.Browser(t)
	hub.Count(t, 2)
	for id, want := range map[string]int{c.ID(): http.StatusNoContent, "": http.StatusBadRequest, "nobody": http.StatusNotFound} {
		r := httptest.NewRequest(http.MethodPost, "/?"+url.Values{"client": {id}}.Encode(), nil)
		if w := inspectBy(hub.Hub, r); w.Code != want {
			t.Errorf("%q: %d, want %d", id, w.Code, want)
		}
	}
	one.Ends(t, websocket.StatusNormalClosure)
	hub.Count(t, 1)
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("client="+other.ID()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := inspectBy(hub.Hub, r); w.Code != http.StatusForbidden {
		t.Error(w.Code, "from another origin")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if w := inspectBy(hub.Hub, r); w.Code != http.StatusNoContent {
		t.Error(w.Code, w.Body)
	}
	two.Ends(t, websocket.StatusNormalClosure)
}

// oddClient is a program's own, whose methods may do anything.
type oddClient struct{ *wskit.Client }

func (oddClient) ID() string { panic("test") }

func TestInspectAnswersWhatCannotBe(t *testing.T) {
	hub := wstest.Run(t)
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("ann")}})
	b, c := srv.Browser(t)
	hub.Register(oddClient{wskit.NewClient(hub.Hub, b.Conn, t.Context(), wskit.WithUser("ann"))})
	hub.Count(t, 2)
	if got := inspect(t, hub.Hub, "?user=ann"); len(got.Clients) != 1 || got.Clients[0].Client != c.ID() {
		t.Errorf("%+v", got.Clients)
	}
	for query, want := range map[string]int{
		"?n=1": 200, "?n=1000": 200, "?n=0": 400, "?n=1001": 400, "?n=": 400, "?n=x": 400, "?user=": 400, "?user=%00": 400,
		"?user=" + strings.Repeat("u", 255): 200, "?user=" + strings.Repeat("u", 256): 400,
	} {
		if w := inspectBy(hub.Hub, httptest.NewRequest(http.MethodGet, "/"+query, nil)); w.Code != want {
			t.Errorf("%.20s: %d, want %d", query, w.Code, want)
		}
	}
	w := inspectBy(hub.Hub, httptest.NewRequest(http.MethodDelete, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD, POST" {
		t.Error(w.Code, w.Header())
	}
	for n, want := range map[int]int{4096: http.StatusNotFound, 4097: http.StatusBadRequest} {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("client="+strings.Repeat("x", n-len("client="))))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if w := inspectBy(hub.Hub, r); w.Code != want {
			t.Errorf("%d bytes: %d, want %d", n, w.Code, want)
		}
	}
	unused := wskit.NewHub()
	for _, h := range []*wskit.Hub{nil, unused} {
		if got := inspect(t, h, "?user=ann"); len(got.Actors)+len(got.Topics)+len(got.Clients) != 0 {
			t.Errorf("%+v", got)
		}
		if w := inspectBy(h, httptest.NewRequest(http.MethodPost, "/?client=x", nil)); w.Code != http.StatusNotFound {
			t.Error(w.Code)
		}
	}
	if unused.Stats() != (wskit.Stats{}) {
		t.Error("it was used")
	}
}
