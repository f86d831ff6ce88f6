package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// instance is one running dashboard.
type instance struct {
	*dashboard
	*httptest.Server
	stop func() // drains the hub and waits for it
}

func start(t *testing.T, name, redisAddr string) *instance {
	t.Helper()
	d := newDashboard(name, redisAddr)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	d.attend(ctx)
	go func() { defer close(done); d.hub.Run(ctx) }()
	in := &instance{dashboard: d, Server: httptest.NewServer(d.handler())}
	in.stop = func() { cancel(); <-done }
	if d.redis != nil {
		t.Cleanup(func() { _ = d.redis.Close() })
	}
	t.Cleanup(func() {
		in.stop()
		in.Server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return in
}

type event struct {
	Type    string
	Payload struct {
		Text, From, Instance, Redis string
		Connected                   int
		At                          time.Time
	}
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

func (in *instance) webSocket(t *testing.T) *stream {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), in.URL+"/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 10)
	t.Cleanup(func() { conn.CloseNow() })
	return newStream(t, func() ([]byte, error) {
		_, data, err := conn.Read(context.Background())
		return data, err
	})
}

func (in *instance) eventStream(t *testing.T) *stream {
	t.Helper()
	resp := in.do(t, "GET", "/events", nil)
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("Content-Type of /events is %q", got)
	}
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

func (in *instance) send(t *testing.T, text string) {
	t.Helper()
	if resp := in.do(t, "POST", "/send", strings.NewReader(text)); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("POST /send answered %s", resp.Status)
	}
}

func TestThePageAndAllItNeedsComeFromTheBinaryUnderAStrictPolicy(t *testing.T) {
	in := start(t, "a", "")
	for path, typ := range map[string]string{
		"/":              "text/html",
		"/style.css":     "text/css",
		"/app.js":        "text/javascript",
		"/panel.js":      "text/javascript",
		"/chart.js":      "text/javascript",
		"/transports.js": "text/javascript",
		"/favicon.svg":   "image/svg+xml",
	} {
		resp := in.do(t, "GET", path, nil)
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), typ) {
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
	if resp := in.do(t, "GET", "/nothing", nil); resp.StatusCode != http.StatusNotFound {
		t.Errorf("/nothing: %s", resp.Status)
	}
}

func TestWhatIsSentReachesBothTransports(t *testing.T) {
	in := start(t, "a", "")
	ws, sse := in.webSocket(t), in.eventStream(t)
	ws.next(t, "stats")
	sse.next(t, "stats") // both are members now
	const text = "<b>two</b>\nlines, ünïcode"
	in.send(t, text)
	for name, s := range map[string]*stream{"WebSocket": ws, "SSE": sse} {
		e := s.next(t, "message")
		if e.Payload.Text != text || e.Payload.From != "a" || time.Since(e.Payload.At) > time.Minute {
			t.Errorf("%s got %+v", name, e.Payload)
		}
	}
}

func TestPagesAreToldHowManyAreConnected(t *testing.T) {
	in := start(t, "a", "")
	ws := in.webSocket(t)
	in.eventStream(t)
	for {
		e := ws.next(t, "stats")
		if e.Payload.Instance != "a" || e.Payload.Redis != "off" {
			t.Fatalf("got %+v", e.Payload)
		}
		if e.Payload.Connected == 2 {
			return
		}
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
		if resp := in.do(t, "POST", "/send", strings.NewReader(c.body), c.header...); resp.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", name, resp.Status, c.want)
		}
	}
	if resp := in.do(t, "GET", "/send", nil); resp.StatusCode == http.StatusNoContent {
		t.Error("a GET sends")
	}
}

func TestStoppingTheHubSaysGoodbyeToWebSocketsAndEndsStreams(t *testing.T) {
	in := start(t, "a", "")
	ws, sse := in.webSocket(t), in.eventStream(t)
	ws.next(t, "stats")
	sse.next(t, "stats")
	in.stop()
	if err := ws.ended(t); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the WebSocket ended with %v, want 1001", err)
	}
	if err := sse.ended(t); err != io.EOF {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestInstancesOnOneRedisAreOne(t *testing.T) {
	mr := miniredis.RunT(t)
	a, b := start(t, "a", mr.Addr()), start(t, "b", mr.Addr())
	onA, onB := a.webSocket(t), b.eventStream(t)
	onA.next(t, "stats")
	onB.next(t, "stats")
	waitForSubscribers(t, mr, 2)
	a.send(t, "hello")
	for name, s := range map[string]*stream{"a": onA, "b": onB} {
		if e := s.next(t, "message"); e.Payload.Text != "hello" || e.Payload.From != "a" {
			t.Errorf("on %s: %+v", name, e.Payload)
		}
	}
}

func TestWithoutItsRedisAnInstanceWorksLocallyAndSaysSoUntilItIsBack(t *testing.T) {
	mr := miniredis.RunT(t)
	in := start(t, "a", mr.Addr())
	ws := in.webSocket(t)
	await := func(state string) {
		t.Helper()
		for ws.next(t, "stats").Payload.Redis != state {
		}
	}
	waitForSubscribers(t, mr, 1)
	await("on")
	mr.Close()
	await("unreachable")
	in.send(t, "still here")
	if e := ws.next(t, "message"); e.Payload.Text != "still here" {
		t.Errorf("got %+v", e.Payload)
	}
	if err := mr.Restart(); err != nil {
		t.Fatal(err)
	}
	await("on")
}

func waitForSubscribers(t *testing.T, mr *miniredis.Miniredis, n int) {
	t.Helper()
	patience, look := time.After(10*time.Second), time.NewTicker(10*time.Millisecond) // miniredis offers nothing to wait on
	defer look.Stop()
	for mr.PubSubNumSub(channel)[channel] < n {
		select {
		case <-look.C:
		case <-patience:
			t.Fatal("no subscription at Redis")
		}
	}
}
