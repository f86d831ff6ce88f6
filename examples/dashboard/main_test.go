package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // what happened is told to pages too, where it is looked for
	goleak.VerifyTestMain(m)
}

// me is the page that tests are.
const me = "0123456789abcdef"

// instance is one running dashboard.
type instance struct {
	*dashboard
	*httptest.Server
}

func start(t *testing.T, name, redisAddr string) *instance {
	t.Helper()
	d := newDashboard(name, redisAddr)
	in := &instance{dashboard: d, Server: httptest.NewServer(d.handler())}
	t.Cleanup(func() {
		in.drain(t)
		in.Server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return in
}

// drain ends the hubs; once is enough.
func (in *instance) drain(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := in.close(ctx); err != nil && !errors.Is(err, redis.ErrClosed) {
		t.Error(err)
	}
}

type event struct {
	Type    string
	Payload any
}

// field is one of a payload that is an object.
func (e event) field(name string) any {
	fields, _ := e.Payload.(map[string]any)
	return fields[name]
}

// stream delivers the events of one connection; it is closed when the connection ends.
type stream struct {
	events chan event
	end    error
}

// next is the next event of the given type.
func (s *stream) next(t *testing.T, typ string) event {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-s.events:
			if !ok {
				t.Fatalf("the connection ended (%v) before a %q came", s.end, typ)
			}
			if e.Type == typ {
				return e
			}
		case <-timeout:
			t.Fatalf("no %q came", typ)
		}
	}
}

// ended waits for the connection's end and returns the error it ended with.
func (s *stream) ended(t *testing.T) error {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case _, ok := <-s.events:
			if !ok {
				return s.end
			}
		case <-timeout:
			t.Fatal("the connection did not end")
		}
	}
}

func newStream(t *testing.T, read func() ([]byte, error)) *stream {
	s := &stream{events: make(chan event, 1024)}
	go func() {
		defer close(s.events)
		for {
			data, err := read()
			if err != nil {
				s.end = err
				return
			}
			var e event
			if err := json.Unmarshal(data, &e); err != nil {
				t.Errorf("not an event: %q", data)
			}
			s.events <- e
		}
	}()
	return s
}

// webSocket connects a client of the tenant's, which is the page me, and waits for its actor.
func (in *instance) webSocket(t *testing.T, tenant string) *stream {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), in.URL+"/t/"+tenant+"/ws?page="+me, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 10)
	t.Cleanup(func() { conn.CloseNow() })
	in.await(t, tenant, "a WebSocket", func(s told) bool { return s.has("ws-") })
	return newStream(t, func() ([]byte, error) {
		_, data, err := conn.Read(context.Background())
		return data, err
	})
}

func (in *instance) eventStream(t *testing.T, tenant string) *stream {
	t.Helper()
	resp := in.do(t, "GET", "/t/"+tenant+"/events?page="+me, nil)
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type of /events is %q", got)
	}
	in.await(t, tenant, "a stream", func(s told) bool { return s.has("sse-") })
	lines := bufio.NewReader(resp.Body)
	return newStream(t, func() ([]byte, error) {
		for {
			line, err := lines.ReadBytes('\n')
			if data, ok := bytes.CutPrefix(line, []byte("data: ")); ok || err != nil {
				return data, err
			}
		}
	})
}

// told is the state as a page reads it.
type told struct {
	Instance, Failed, Redis, Slow string
	Delay                         float64
	Tenants, Others               []string
	Stats                         struct {
		Subscribers, Drops, Disconnects map[string]int
		Broadcasts                      int
	}
	Actors []struct {
		Name, Whose       string
		Restarts, Mailbox int
	}
	Happened []struct{ What string }
}

func (s told) happened(what string) bool {
	for _, h := range s.Happened {
		if strings.Contains(h.What, what) {
			return true
		}
	}
	return false
}

// has reports whether there is an actor whose name begins so.
func (s told) has(prefix string) bool {
	for _, a := range s.Actors {
		if strings.HasPrefix(a.Name, prefix) {
			return true
		}
	}
	return false
}

func (s told) restarts(actor string) int {
	for _, a := range s.Actors {
		if a.Name == actor {
			return a.Restarts
		}
	}
	return -1
}

func (in *instance) state(t *testing.T, tenant string) (s told) {
	t.Helper()
	resp := in.do(t, "GET", "/t/"+tenant+"/state?page="+me, nil)
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

// await asks for the state until it is as wanted.
func (in *instance) await(t *testing.T, tenant, what string, wanted func(told) bool) told {
	t.Helper()
	patience, look := time.After(20*time.Second), time.NewTicker(10*time.Millisecond)
	defer look.Stop()
	for {
		s := in.state(t, tenant)
		if wanted(s) {
			return s
		}
		select {
		case <-look.C:
		case <-patience:
			t.Fatalf("no %s: %+v", what, s)
		}
	}
}

func (in *instance) do(t *testing.T, method, path string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, in.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// post asks for an action and checks the status of its answer.
func (in *instance) post(t *testing.T, want int, path, body string, header ...string) {
	t.Helper()
	resp := in.do(t, "POST", path, strings.NewReader(body), header...)
	if resp.StatusCode != want {
		said, _ := io.ReadAll(resp.Body)
		t.Fatalf("POST %s: %s, want %d: %s", path, resp.Status, want, said)
	}
}

func TestThePageAndAllItNeedsComeFromTheBinaryUnderAStrictPolicy(t *testing.T) {
	in := start(t, "a", "")
	files, err := page.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/", "/t/acme"}
	for _, f := range files {
		if f.Name() != "index.html" {
			paths = append(paths, "/"+f.Name())
		}
	}
	types := map[string]string{".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", "": "text/html"}
	for _, path := range paths {
		resp := in.do(t, "GET", path, nil)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), types[filepath.Ext(path)]) {
			t.Errorf("%s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
		}
		policy := resp.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") {
			t.Errorf("%s: policy %q", path, policy)
		}
		for _, forbidden := range []string{"https://", "innerHTML", "<script>", "style="} {
			if bytes.Contains(body, []byte(forbidden)) {
				t.Errorf("%s contains %q", path, forbidden)
			}
		}
	}
	if got := in.do(t, "GET", "/", nil).Request.URL.Path; got != "/t/lobby" {
		t.Errorf("/ leads to %s", got)
	}
	for _, path := range []string{"/nothing", "/t/", "/t/Acme", "/t/-a", "/t/a%20b/state", "/t/a%20b/ws", "/t/" + strings.Repeat("a", 33)} {
		if resp := in.do(t, "GET", path, nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
	if names := in.names(); len(names) != 0 {
		t.Errorf("whoever looked at pages has made hubs: %q", names)
	}
}

func TestWhatIsSentReachesBothTransportsOfItsTenantAndNoOther(t *testing.T) {
	in := start(t, "a", "")
	ws, sse, other := in.webSocket(t, "acme"), in.eventStream(t, "acme"), in.webSocket(t, "globex")
	const text = "<b>two</b>\nlines, ünïcode"
	in.post(t, http.StatusNoContent, "/t/acme/send", text)
	in.post(t, http.StatusNoContent, "/t/globex/send", "for globex")
	for name, s := range map[string]*stream{"WebSocket": ws, "SSE": sse} {
		if e := s.next(t, "message"); e.field("text") != text || e.field("from") != "a" {
			t.Errorf("%s got %+v", name, e)
		}
	}
	if e := other.next(t, "message"); e.field("text") != "for globex" {
		t.Errorf("globex hears %+v", e)
	}
	if s := in.state(t, "acme"); !slices.Equal(s.Tenants, []string{"acme", "globex"}) {
		t.Errorf("the tenants are %q", s.Tenants)
	}
}

func TestAPageIsToldWhoIsConnectedAndWhichConnectionsAreItsOwn(t *testing.T) {
	in := start(t, "a", "")
	in.webSocket(t, "acme")
	in.eventStream(t, "acme")
	in.do(t, "GET", "/t/acme/events", nil)
	s := in.await(t, "acme", "third connection", func(s told) bool { return len(s.Actors) == 7 })
	var list []string
	for _, a := range s.Actors {
		list = append(list, strings.TrimSpace(a.Name+" "+a.Whose))
	}
	if want := []string{"hub", "listener", "connections", "registry", "sse-2 you", "ws-1 you", "sse-3 others"}; !slices.Equal(list, want) {
		t.Errorf("the actors are %q, want %q", list, want)
	}
	if s.Instance != "a" || s.Redis != "off" || s.Stats.Subscribers["sse"] != 2 || s.Stats.Broadcasts != 0 {
		t.Errorf("told %+v", s)
	}
}

func TestABeatComesBackToItsPageAlone(t *testing.T) {
	in := start(t, "a", "")
	ws, sse := in.webSocket(t, "acme"), in.eventStream(t, "acme")
	in.post(t, http.StatusNoContent, "/t/acme/beat?n=1&page="+strings.Repeat("b", 16), "")
	in.post(t, http.StatusNoContent, "/t/acme/beat?n=2&page="+me, "")
	for _, s := range []*stream{ws, sse} {
		if e := s.next(t, "beat"); e.Payload != "2" {
			t.Errorf("got %+v", e)
		}
	}
	in.post(t, http.StatusBadRequest, "/t/acme/beat?n=2&page=x", "")
	if resp := in.do(t, "GET", "/t/acme/events?page=not+a+page", nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a page without a name is answered %s", resp.Status)
	}
}

func TestABurstIsAThousandMessagesInOrderOnBothTransports(t *testing.T) {
	in := start(t, "a", "")
	both := []*stream{in.webSocket(t, "acme"), in.eventStream(t, "acme")}
	in.post(t, http.StatusOK, "/t/acme/burst", "")
	for _, s := range both {
		for n := 1; n <= burstSize; n++ {
			if e := s.next(t, "burst"); e.field("n") != float64(n) {
				t.Fatalf("got %+v, want number %d", e, n)
			}
		}
	}
}

func TestActorsThatAreMadeToCrashAreStartedAgainAndTheHubToo(t *testing.T) {
	in := start(t, "a", "")
	ws, sse := in.webSocket(t, "acme"), in.eventStream(t, "acme")
	for _, name := range []string{"registry", "listener", "connections"} {
		in.post(t, http.StatusNoContent, "/t/acme/crash?actor="+name, "")
		in.await(t, "acme", name+" that was restarted", func(s told) bool {
			return s.restarts(name) == 1 && s.happened(name+" crashed, and was started again")
		})
		in.post(t, http.StatusNoContent, "/t/acme/send", name)
		for _, s := range []*stream{ws, sse} {
			if e := s.next(t, "message"); e.field("text") != name {
				t.Errorf("after the crash of %s: %+v", name, e)
			}
		}
	}
	for range 2 {
		in.post(t, http.StatusNotFound, "/t/acme/crash?actor=nobody", "")
	}
	in.post(t, http.StatusTooManyRequests, "/t/acme/crash?actor=registry", "")

	conn := in.webSocket(t, "globex")
	in.post(t, http.StatusNoContent, "/t/globex/crash?actor=ws-1", "")
	if err := conn.ended(t); websocket.CloseStatus(err) != websocket.StatusInternalError {
		t.Errorf("a connection whose actor crashed ended with %v, want 1011", err)
	}
	in.post(t, http.StatusNoContent, "/t/globex/crash?actor=hub", "")
	in.await(t, "globex", "hub that was given up", func(s told) bool { return strings.HasPrefix(s.Failed, "The hub was given up") })
	in.await(t, "globex", "another hub", func(s told) bool {
		return s.Failed == "" && len(s.Actors) == 4 && s.happened("the hub crashed") && s.happened("ws-1 crashed")
	})
	in.post(t, http.StatusNoContent, "/t/acme/send", "still here")
	if e := ws.next(t, "message"); e.field("text") != "still here" {
		t.Errorf("got %+v", e)
	}
}

// Who presses a button as often as may be does not end the hub: ten failures of one actor within 10 s are forgiven.
func TestActionsHaveTheirLimitsAndCrashesStayWithinTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, a := range actions {
			r := &room{}
			for n := range a.atOnce + 1 {
				if got := r.allow(name, a.every, a.atOnce); got != (n < a.atOnce) {
					t.Errorf("%s: the call %d of %d at once is allowed: %v", name, n+1, a.atOnce, got)
				}
			}
			time.Sleep(a.every - time.Nanosecond)
			early := r.allow(name, a.every, a.atOnce)
			time.Sleep(time.Nanosecond)
			if due := r.allow(name, a.every, a.atOnce); early || !due {
				t.Errorf("%s: allowed before its time: %v, at its time: %v", name, early, due)
			}
		}
		r, crash, made := &room{}, actions["crash"], []time.Time(nil)
		for range 600 {
			if r.allow("crash", crash.every, crash.atOnce) {
				made = append(made, time.Now())
			}
			time.Sleep(100 * time.Millisecond)
		}
		for i := range len(made) - 10 {
			if within := made[i+10].Sub(made[i]); within <= 10*time.Second {
				t.Fatalf("eleven crashes within %v", within)
			}
		}
	})
}

func TestTheSlowClientLosesWhatItsPolicySaysAndNobodyElseAnything(t *testing.T) {
	in := start(t, "a", "")
	ws := in.webSocket(t, "acme")
	in.post(t, http.StatusBadRequest, "/t/acme/slow?policy=polite&page="+me, "")
	for _, policy := range []string{"newest", "oldest", "disconnect"} {
		in.post(t, http.StatusNoContent, "/t/acme/slow?policy="+policy+"&page="+me, "")
		in.await(t, "acme", "slow client", func(s told) bool { return s.Slow == policy && s.Stats.Subscribers["websocket"] == 2 })
		for n := range 100 {
			hub, err := in.tenants.Hub("acme")
			if err != nil {
				t.Fatal(err)
			}
			if err := hub.BroadcastJSONContext(t.Context(), policy, n); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 100 {
			if e := ws.next(t, policy); e.Payload != float64(n) {
				t.Fatalf("beside the slow client: %+v, want %d", e, n)
			}
		}
		if policy == "disconnect" {
			in.await(t, "acme", "cut", func(s told) bool {
				return s.Stats.Disconnects["slow_consumer"] == 1 && s.happened("the slow client was cut off, since it did not keep up (1013)")
			})
			return
		}
		in.await(t, "acme", "drops", func(s told) bool { return s.Stats.Drops[policy] > 50 })
		in.post(t, http.StatusNoContent, "/t/acme/slow", "")
		in.await(t, "acme", "end of it", func(s told) bool { return s.Slow == "" && s.Stats.Subscribers["websocket"] == 1 })
	}
}

func TestSendRefusesWhatIsEmptyTooLongNotTextOrFromAnotherSite(t *testing.T) {
	in := start(t, "a", "")
	for name, c := range map[string]struct {
		body   string
		header []string
		want   int
	}{
		"longest":      {strings.Repeat("x", maxText), nil, http.StatusNoContent},
		"too long":     {strings.Repeat("x", maxText+1), nil, http.StatusRequestEntityTooLarge},
		"empty":        {"", nil, http.StatusBadRequest},
		"blank":        {" \n\t", nil, http.StatusBadRequest},
		"not UTF-8":    {"\xff\xfe", nil, http.StatusBadRequest},
		"another site": {"hello", []string{"Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) { in.post(t, c.want, "/t/acme/send", c.body, c.header...) })
	}
	in.post(t, http.StatusNotFound, "/t/acme/else", "")
	if resp := in.do(t, "GET", "/t/acme/send", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("a GET is answered %s", resp.Status)
	}
}

func TestClosingSaysGoodbyeToWebSocketsAndEndsStreams(t *testing.T) {
	in := start(t, "a", "")
	ws, sse := in.webSocket(t, "acme"), in.eventStream(t, "globex")
	if got := in.connections(); got != 2 {
		t.Errorf("%d connections", got)
	}
	in.drain(t)
	if err := ws.ended(t); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want 1001", err)
	}
	if err := sse.ended(t); err != io.EOF {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestInstancesOnOneRedisAreOneAndHearEachOther(t *testing.T) {
	mr := miniredis.RunT(t)
	a, b := start(t, "a", mr.Addr()), start(t, "b", mr.Addr())
	onA, onB := a.webSocket(t, "acme"), b.eventStream(t, "acme")
	for in, other := range map[*instance]string{a: "b", b: "a"} {
		in.await(t, "acme", "neighbour", func(s told) bool {
			return s.Redis == "on" && slices.Equal(s.Others, []string{other}) && s.Delay > 0
		})
	}
	a.post(t, http.StatusNoContent, "/t/acme/send", "hello")
	for name, s := range map[string]*stream{"a": onA, "b": onB} {
		if e := s.next(t, "message"); e.field("text") != "hello" || e.field("from") != "a" {
			t.Errorf("on %s: %+v", name, e)
		}
	}
	// The hub on which they hear each other is nobody's tenant, and its listener nobody's connection.
	if s := a.state(t, "acme"); !slices.Equal(s.Tenants, []string{"acme"}) || a.connections() != 1 {
		t.Errorf("%d connections, tenants %q", a.connections(), s.Tenants)
	}
}

func TestWithoutItsRedisAnInstanceWorksLocallyAndSaysSoUntilItIsBack(t *testing.T) {
	mr := miniredis.RunT(t)
	in := start(t, "a", mr.Addr())
	ws := in.webSocket(t, "acme")
	redisIs := func(state string) {
		t.Helper()
		in.await(t, "acme", "Redis that is "+state, func(s told) bool { return s.Redis == state })
	}
	redisIs("on")
	in.post(t, http.StatusNoContent, "/t/acme/cut", "")
	in.await(t, "acme", "cut", func(s told) bool { return s.happened("connections to Redis were cut") })
	mr.Close()
	redisIs("unreachable")
	in.post(t, http.StatusNoContent, "/t/acme/send", "still here")
	if e := ws.next(t, "message"); e.field("text") != "still here" {
		t.Errorf("got %+v", e)
	}
	if err := mr.Restart(); err != nil {
		t.Fatal(err)
	}
	redisIs("on")
	in.await(t, "acme", "delay", func(s told) bool { return s.Delay > 0 })
}

func TestARoomThatNobodyUsesIsForgottenWhenThereAreMany(t *testing.T) {
	d := newDashboard("a", "")
	defer d.close(t.Context())
	old := d.room("old")
	old.last = time.Now().Add(-2*idleTimeout - time.Second)
	for n := range 4*maxTenants - 1 {
		d.room(fmt.Sprint("new-", n))
	}
	if d.room("old") != old || len(d.rooms) != 4*maxTenants {
		t.Fatalf("%d rooms", len(d.rooms))
	}
	d.room("one-more")
	if d.rooms["old"] != nil || len(d.rooms) != 4*maxTenants {
		t.Errorf("%d rooms, the unused one among them: %v", len(d.rooms), d.rooms["old"] != nil)
	}
}
