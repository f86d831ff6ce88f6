package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/redis/go-redis/v9"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

func TestMain(m *testing.M) { wstest.Main(m, "") }

// site is a running chat.
type site struct {
	*chat
	*wstest.Server
	redis *redistest.Server // nil: off
}

func start(t *testing.T, shared *redistest.Server) *site {
	t.Helper()
	wstest.Clean(t)
	var client *redis.Client
	if shared != nil {
		client = shared.Client(t)
	}
	c := newChat(client)
	ctx, stop := context.WithCancel(context.Background())
	listening := wstest.Begin(func() { c.hub.SubscribeToRedis(ctx) })
	running := wstest.Begin(func() { c.hub.Run(ctx) })
	t.Cleanup(func() {
		stop()
		wstest.Receive(t, "SubscribeToRedis returns", listening)
		wstest.Receive(t, "Run returns", running)
	})
	return &site{c, wstest.Listen(t, wstest.TCP, c.handler()), shared}
}

// tab is a page of the chat.
type tab struct {
	site   *site
	user   string
	events chan string // closed at the end
	ws     *websocket.Conn
	code   websocket.StatusCode // of ws, once events is closed
	id     string               // of a stream
}

// ask makes a request as the browser of a user does; "": who has no name.
func (s *site) ask(t *testing.T, user, method, path, body string, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.Header.Set("Cookie", "name="+url.QueryEscape(user))
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := *s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// open opens a tab in a room, and waits until it is in.
func (s *site) open(t *testing.T, user, room string, stream bool) *tab {
	t.Helper()
	tab := &tab{site: s, user: user, events: make(chan string, 1<<10)}
	hear := func(data string) {
		if head, rest, _ := strings.Cut(data, "] "); strings.HasPrefix(head, "[id:") {
			if data = rest; data == "" {
				return // it says where the log stands
			}
		}
		var e struct {
			Type    string
			Payload line
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Errorf("not an event: %q", data)
		}
		tab.events <- strings.Join(strings.Fields(fmt.Sprint(e.Type, ": ", e.Payload.From, " ", e.Payload.To, " ", e.Payload.Text)), " ")
	}
	if stream {
		resp := s.ask(t, user, "GET", "/events?topic="+room, "")
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("the stream is answered %s", resp.Status)
		}
		go func() { defer close(tab.events); _ = wstest.ReadEvents(resp.Body, hear, nil) }()
	} else {
		b, err := s.TryOpen("/ws?topic="+room, as(user))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.CloseNow() })
		tab.ws = b.Conn
		go func() {
			defer close(tab.events)
			for {
				_, data, err := b.Read(context.Background())
				if err != nil {
					tab.code = websocket.CloseStatus(err)
					return
				}
				hear(string(data))
			}
		}()
	}
	for hello := false; !hello; { // what was said last may come before
		tab.id, hello = strings.CutPrefix(wstest.Receive(t, "hello", tab.events), "hello: ")
	}
	return tab
}

func as(user string) func(*websocket.DialOptions) {
	return func(o *websocket.DialOptions) {
		o.HTTPHeader = http.Header{"Cookie": {"name=" + url.QueryEscape(user)}}
	}
}

// say sends a message as the page does.
func (tab *tab) say(t *testing.T, typ, to, text string) {
	t.Helper()
	data, _ := json.Marshal(map[string]string{"type": typ, "to": to, "text": text})
	if tab.ws != nil {
		if err := tab.ws.Write(t.Context(), websocket.MessageText, data); err != nil {
			t.Fatal(err)
		}
	} else if resp := tab.site.ask(t, tab.user, "POST", "/send?tab="+tab.id, string(data)); resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("POST /send answers %s: %s", resp.Status, body)
	}
}

// hears waits for these events, and passes over who joins and leaves.
func (tab *tab) hears(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		got := wstest.Receive(t, w, tab.events)
		for coming.MatchString(got) && !coming.MatchString(w) {
			got = wstest.Receive(t, w, tab.events)
		}
		if got != w {
			t.Fatalf("%s hears %q, want %q", tab.user, got, w)
		}
	}
}

var coming = regexp.MustCompile(`^notice: \S+ (joined|left)$`)

// ends waits for the end, before which nothing but notices is heard.
func (tab *tab) ends(t *testing.T) {
	t.Helper()
	wstest.Receive(t, "the end", wstest.Begin(func() {
		for e := range tab.events {
			if !strings.HasPrefix(e, "notice: ") {
				t.Errorf("%s hears %q before the end", tab.user, e)
			}
		}
	}))
}

// everywhere runs test with one instance, and with two on one Redis.
func everywhere(t *testing.T, test func(t *testing.T, a, b *site)) {
	t.Run("one instance", func(t *testing.T) { s := start(t, nil); test(t, s, s) })
	t.Run("two instances", func(t *testing.T) {
		shared := redistest.Start(t)
		a, b := start(t, shared), start(t, shared)
		wstest.Eventually(t, "both listen", func() bool { return shared.Subscribers(t, "wskit-chat") == 2 })
		test(t, a, b)
	})
}

// settled waits until both instances, which have tabs there, get what the other says in a room, ":lobby", or to a user, "::user:ann".
func settled(t *testing.T, a, b *site, topics ...string) {
	t.Helper()
	if a != b {
		a.listening(t, 2, topics...)
	}
}

// listening waits until so many instances are subscribed there: until then they miss what others say.
func (s *site) listening(t *testing.T, instances int, topics ...string) {
	t.Helper()
	for _, topic := range topics {
		wstest.Eventually(t, fmt.Sprint(instances, " listen to ", topic), func() bool {
			return s.redis == nil || s.redis.Subscribers(t, "wskit-chat"+topic) == instances
		})
	}
}

func TestWhatIsSaidInARoomReachesAllItsTabsInOneOrderAndNobodyElsewhere(t *testing.T) {
	everywhere(t, func(t *testing.T, a, b *site) {
		ann, bob := a.open(t, "ann", "lobby", false), b.open(t, "bob", "lobby", true)
		far := a.open(t, "far", "garden", false)
		settled(t, a, b, ":lobby")
		for _, tab := range []*tab{ann, bob, ann, bob} {
			tab.say(t, "message", "", "from "+tab.user)
			want := "message: " + tab.user + " from " + tab.user
			ann.hears(t, want)
			bob.hears(t, want)
		}
		for _, text := range []string{"1", "2", "3", "<b>4</b>"} {
			ann.say(t, "message", "", text)
		}
		for _, tab := range []*tab{ann, bob} {
			tab.hears(t, "message: ann 1", "message: ann 2", "message: ann 3", "message: ann <b>4</b>")
		}
		far.say(t, "message", "", "alone here")
		far.hears(t, "message: far alone here")
	})
}

func TestWhoTypesIsShownToAllInTheRoomButTheTabItself(t *testing.T) {
	everywhere(t, func(t *testing.T, a, b *site) {
		ann, ann2, bob := a.open(t, "ann", "lobby", false), b.open(t, "ann", "lobby", true), b.open(t, "bob", "lobby", false)
		settled(t, a, b, ":lobby")
		for _, typist := range []*tab{ann, ann2} {
			typist.say(t, "typing", "", "")
			typist.say(t, "message", "", "done")
			for _, tab := range []*tab{ann, ann2, bob} {
				if tab != typist {
					tab.hears(t, "typing: ann")
				}
				tab.hears(t, "message: ann done")
			}
		}
	})
}

func TestAPrivateMessageReachesAllTabsOfBothAndNobodyElse(t *testing.T) {
	everywhere(t, func(t *testing.T, a, b *site) {
		ann, ann2 := a.open(t, "ann", "lobby", false), b.open(t, "ann", "garden", true)
		bob, bob2 := a.open(t, "bob", "garden", true), b.open(t, "bob", "lobby", false)
		eve := b.open(t, "eve", "lobby", false)
		settled(t, a, b, ":lobby", "::user:ann", "::user:bob")
		for _, from := range []*tab{ann, ann2} {
			from.say(t, "message", "bob", "psst")
			for _, tab := range []*tab{ann, ann2, bob, bob2} {
				tab.hears(t, "private: ann bob psst")
			}
		}
		ann.say(t, "message", "ann", "a note")
		ann2.hears(t, "private: ann ann a note")
		ann.hears(t, "private: ann ann a note")
		ann.say(t, "message", "", "aloud")
		for _, tab := range []*tab{ann, bob2, eve} {
			tab.hears(t, "message: ann aloud")
		}
	})
}

func TestWhoIsThrownOutIsOutEverywhereAndDoesNotGetBackIn(t *testing.T) {
	everywhere(t, func(t *testing.T, a, b *site) {
		ann := a.open(t, "ann", "lobby", false)
		bobs := []*tab{a.open(t, "bob", "lobby", false), a.open(t, "bob", "garden", true), b.open(t, "bob", "lobby", true), b.open(t, "bob", "workshop", false)}
		settled(t, a, b, ":lobby")
		ann.say(t, "kick", "bob", "")
		ann.hears(t, "notice: bob was thrown out by ann")
		for _, bob := range bobs {
			bob.ends(t)
			if bob.ws != nil && bob.code != 4000 {
				t.Errorf("a WebSocket of bob's was closed with %v", bob.code)
			}
		}
		for _, s := range []*site{a, b} {
			if _, err := s.TryOpen("/ws?topic=lobby", as("bob")); err == nil || !strings.Contains(err.Error(), "403") {
				t.Errorf("bob's WebSocket is answered %v", err)
			}
			if resp := s.ask(t, "bob", "GET", "/events?topic=lobby", ""); resp.StatusCode != http.StatusForbidden {
				t.Errorf("bob's stream is answered %s", resp.Status)
			}
		}
		ann.say(t, "message", "", "peace")
		ann.hears(t, "message: ann peace")
	})
}

func TestARoomIsToldWhoComesAndGoes(t *testing.T) {
	everywhere(t, func(t *testing.T, a, b *site) {
		ann := a.open(t, "ann", "lobby", false)
		ann.hears(t, "notice: ann joined")
		a.listening(t, 1, ":lobby")
		bob := b.open(t, "bob", "lobby", false)
		ann.hears(t, "notice: bob joined")
		_ = bob.ws.CloseNow()
		ann.hears(t, "notice: bob left")
	})
}

func TestBadInput(t *testing.T) {
	s := start(t, nil)
	ann, bob := s.open(t, "ann", "lobby", false), s.open(t, "bob", "lobby", true)
	post := "/send?tab=" + bob.id
	const hello = `{"type":"message","text":"hello"}`
	for _, c := range []struct {
		name, user, method, path, body string
		want                           int
		header                         []string
	}{
		{"a room", "ann", "GET", "/lobby", "", 200, nil},
		{"no name yet", "", "GET", "/lobby", "", 200, nil},
		{"the door", "ann", "GET", "/", "", 303, nil},
		{"an unknown room", "ann", "GET", "/cellar", "", 404, nil},
		{"an unknown room's stream", "ann", "GET", "/events?topic=cellar", "", 403, nil},
		{"another user's private messages", "eve", "GET", "/events?topic=%00ann", "", 400, nil},
		{"nobody's stream", "", "GET", "/events?topic=lobby", "", 401, nil},
		{"a stream under no name", "\x7f", "GET", "/events?topic=lobby", "", 401, nil},
		{"a name", "", "POST", "/name", "name=+Zo%C3%AB+B+", 303, nil},
		{"an empty name", "", "POST", "/name", "name=", 400, nil},
		{"a blank name", "", "POST", "/name", "name=+++", 400, nil},
		{"a long name", "", "POST", "/name", "name=" + strings.Repeat("n", 33), 400, nil},
		{"a name of 1 MB", "", "POST", "/name", "name=" + strings.Repeat("n", 1<<20), 400, nil},
		{"a name that is markup", "", "POST", "/name", "name=%3Cb%3E", 400, nil},
		{"a message", "bob", "POST", post, hello, 200, nil},
		{"from another site", "bob", "POST", post, hello, 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"from an older browser on another site", "bob", "POST", post, hello, 403, []string{"Origin", "https://elsewhere.example"}},
		{"from another's tab", "eve", "POST", post, hello, 403, nil},
		{"from no tab", "bob", "POST", "/send?tab=x", hello, 403, nil},
		{"an empty message", "bob", "POST", post, `{"type":"message","text":" "}`, 400, nil},
		{"to no name", "bob", "POST", post, `{"type":"message","to":"\u0000","text":"x"}`, 400, nil},
		{"of no type", "bob", "POST", post, `{"type":"dance","text":"x"}`, 400, nil},
		{"no JSON", "bob", "POST", post, `hello`, 400, nil},
		{"1 MB", "bob", "POST", post, `{"type":"message","text":"` + strings.Repeat("x", 1<<20) + `"}`, 400, nil},
	} {
		header := c.header
		if c.path == "/name" {
			header = append(header, "Content-Type", "application/x-www-form-urlencoded")
		}
		if resp := s.ask(t, c.user, c.method, c.path, c.body, header...); resp.StatusCode != c.want {
			t.Errorf("%s: %s, want %d", c.name, resp.Status, c.want)
		}
	}
	for name, opt := range map[string]func(*websocket.DialOptions){
		"nobody's":           func(*websocket.DialOptions) {},
		"from another site ": func(o *websocket.DialOptions) { as("ann")(o); o.HTTPHeader.Set("Origin", "https://elsewhere.example") },
	} {
		if _, err := s.TryOpen("/ws?topic=lobby", opt); err == nil {
			t.Errorf("a WebSocket, %s: let in", name)
		}
	}

	ann.hears(t, "message: bob hello") // one, of all that was posted
	ann.say(t, "message", "", " ")
	ann.hears(t, "problem: that is no message")
	ann.say(t, "message", "", strings.Repeat("\x01", 1000)) // the longest of the page, 6 bytes each
	ann.hears(t, "message: ann "+strings.Repeat("\x01", 1000))
	ann.say(t, "message", "", strings.Repeat("x", 1<<20))
	ann.ends(t)
	if ann.code != websocket.StatusMessageTooBig {
		t.Errorf("a message of 1 MB closes with %v", ann.code)
	}
}

func TestThePageIsOfOnePieceAndMakesNoMarkupOfWhatIsSaid(t *testing.T) {
	s := start(t, nil)
	resp := s.ask(t, "ann", "GET", "/garden?sse", "")
	body, _ := io.ReadAll(resp.Body)
	for _, wanted := range []string{`value="ann"`, "sse =  true", `"garden"`} {
		if !bytes.Contains(body, []byte(wanted)) {
			t.Errorf("the page lacks %s", wanted)
		}
	}
	for _, forbidden := range []string{"http://", "https://", "innerHTML", "insertAdjacent", "src=", "@import"} {
		if bytes.Contains(body, []byte(forbidden)) {
			t.Errorf("the page contains %s", forbidden)
		}
	}
	if got := resp.Header.Get("Content-Security-Policy"); got != "frame-ancestors 'none'" {
		t.Errorf("Content-Security-Policy: %q", got)
	}
}

func TestTheChatAndItsPageAreFewerThan250Lines(t *testing.T) {
	lines := 0
	for _, name := range []string{"main.go", "page.html"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		lines += bytes.Count(data, []byte("\n"))
	}
	if lines >= 250 {
		t.Errorf("%d lines", lines)
	}
}
