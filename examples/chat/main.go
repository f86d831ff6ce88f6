// Command chat is rooms that show what was said last, names, "is typing" to all but the sender, private messages, and a way to throw people out.
//
//	go run ./examples/chat [-addr 127.0.0.1:8081] [-redis localhost:6379]
//
// Instances that share a Redis are one chat. Who gives a name is that person here, and anybody may throw out anybody: a program
// in earnest has authenticate look at a session, and handle at what its user may do.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"html/template"
	"io"
	"log"
	"net/http"
	"net/url"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/wskit/wskit"
)

var (
	//go:embed page.html
	source string
	page   = template.Must(template.New("page").Parse(source))
	rooms  = []string{"lobby", "garden", "workshop"}
	names  = regexp.MustCompile(`^[\pL\pN]([\pL\pM\pN ._-]{0,30}[\pL\pM\pN])?$`)
)

const maxMessage = 8 << 10 // bytes; the page's 1000 characters are fewer, however they are written in JSON

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`host:port` to listen on")
	redisAddr := flag.String("redis", "", "`host:port` of the Redis that joins instances (empty: off)")
	delay, spread := flag.Duration("delay", 0, "from SIGTERM to the closed port"), flag.Duration("spread", 0, "from there, to send off one tab after the other")
	flag.Parse()
	logging.Disable() // go-redis would report each attempt of an outage; the hub says when it begins and when it is over
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var shared *redis.Client // nil: on its own
	if *redisAddr != "" {
		shared = redis.NewClient(&redis.Options{Addr: *redisAddr})
	}
	c := newChat(shared, wskit.WithReadyDelay(*delay), wskit.WithDrainSpread(*spread))
	go c.hub.SubscribeToRedis(ctx)
	log.Printf("chat on http://%s/", *addr)
	if err := wskit.Serve(ctx, &http.Server{Addr: *addr, Handler: c.handler()}, c.hub); err != nil {
		log.Fatal(err)
	}
}

type chat struct {
	hub  *wskit.Hub
	tabs sync.Map // of ID to Member
}

// line is what tabs are told, as the payload of an Event.
type line struct{ From, To, Text string }

func newChat(shared *redis.Client, opts ...wskit.HubOption) *chat {
	c := &chat{}
	c.hub = wskit.NewHub(append(opts,
		wskit.WithRedis(shared, "wskit-chat"), wskit.WithHistory(wskit.History{}), // who comes back has missed nothing
		wskit.WithAuthenticate(authenticate),
		wskit.WithAuthorize(func(_ context.Context, _ wskit.Subscriber, topic string) error { // as in /ws?topic=lobby
			if !slices.Contains(rooms, topic) {
				return errors.New("no such room")
			}
			return nil
		}),
		wskit.WithCallbackConcurrency(16), // the next two wait for Redis
		wskit.WithOnConnect(func(s wskit.Subscriber) {
			m := s.(wskit.Member) // a *Client or an *SSEClient
			c.tabs.Store(m.ID(), m)
			tell(m, "hello", m.ID())
			_ = c.room(m).BroadcastJSON(context.Background(), "notice", line{Text: m.User() + " joined"})
		}),
		wskit.WithOnDisconnect(func(s wskit.Subscriber) {
			m := s.(wskit.Member)
			c.tabs.Delete(m.ID())
			_ = c.room(m).BroadcastJSON(context.Background(), "notice", line{Text: m.User() + " left"})
		}),
		wskit.WithHandler(func(ctx context.Context, from *wskit.Client, m wskit.Message) error {
			if err := c.handle(ctx, from, m.Data); err != nil {
				tell(from, "problem", err.Error())
			}
			return nil // an error would close the connection
		}))...)
	return c
}

// room is where a tab is, or was: its Topics would say the former only.
func (c *chat) room(m wskit.Member) wskit.Topic { return c.hub.Topic(m.Request().FormValue("topic")) }

func tell(m wskit.Member, typ, text string) {
	data, _ := json.Marshal(wskit.NewEvent(typ, line{Text: text})) // always marshals
	m.Send(data)
}

// handle does what a tab asks for, over its WebSocket or with a POST. The error is for whoever sits there.
func (c *chat) handle(ctx context.Context, from wskit.Member, data []byte) error {
	var in struct {
		Type string
		line
	}
	if err := json.Unmarshal(data, &in); err != nil || in.To != "" && !names.MatchString(in.To) {
		return errors.New("that is no message, or no name")
	}
	in.From = from.User()
	switch {
	case in.Type == "typing":
		return c.room(from).BroadcastJSON(ctx, "typing", line{From: in.From}, wskit.Except(from))
	case in.Type == "kick" && in.To != "":
		_ = c.hub.BroadcastJSON(ctx, "notice", line{Text: in.To + " was thrown out by " + in.From})
		_, err := c.hub.User(in.To).Disconnect(ctx, 4000, "thrown out by "+in.From)
		return err
	case in.Type != "message" || strings.TrimSpace(in.Text) == "":
		return errors.New("that is no message")
	case in.To == "":
		return c.room(from).BroadcastJSON(ctx, "message", in.line)
	case in.To != in.From: // the writer's tabs show it too
		_ = c.hub.User(in.From).BroadcastJSON(ctx, "private", in.line)
	}
	return c.hub.User(in.To).BroadcastJSON(ctx, "private", in.line)
}

// send is for tabs on streams, which bring messages in only. A stream and its posts have to reach the same instance.
func (c *chat) send(w http.ResponseWriter, r *http.Request) {
	tab, _ := c.tabs.Load(r.URL.Query().Get("tab"))
	from, ok := tab.(wskit.Member)
	data, _ := io.ReadAll(r.Body) // what is cut off for its length is no message
	if id, err := authenticate(r); err != nil || !ok || id.User != from.User() {
		http.Error(w, "this tab is not connected", http.StatusForbidden)
	} else if err := c.handle(r.Context(), from, data); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

func authenticate(r *http.Request) (id wskit.Identity, err error) {
	if cookie, err := r.Cookie("name"); err == nil {
		id.User, _ = url.QueryUnescape(cookie.Value)
	}
	if !names.MatchString(id.User) {
		return wskit.Identity{}, errors.New("no name")
	}
	return id, nil
}

func (c *chat) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler("/"+rooms[0], http.StatusSeeOther))
	for _, room := range rooms {
		mux.HandleFunc("GET /"+room, func(w http.ResponseWriter, r *http.Request) {
			id, _ := authenticate(r) // who has no name is asked for one
			w.Header().Set("Content-Security-Policy", "frame-ancestors 'none'")
			_ = page.Execute(w, map[string]any{"Rooms": rooms, "Room": room, "Name": id.User, "SSE": r.URL.Query().Has("sse")})
		})
	}
	mux.HandleFunc("POST /name", func(w http.ResponseWriter, r *http.Request) {
		if name := strings.TrimSpace(r.FormValue("name")); names.MatchString(name) {
			http.SetCookie(w, &http.Cookie{Name: "name", Value: url.QueryEscape(name), HttpOnly: true, SameSite: http.SameSiteLaxMode})
			http.Redirect(w, r, "/", http.StatusSeeOther)
		} else {
			http.Error(w, "A name has 1 to 32 letters and digits, with blanks, dots and hyphens in between.", http.StatusBadRequest)
		}
	})
	mux.Handle("GET /ws", c.hub.WebSocketHandler(wskit.WithMaxMessageSize(maxMessage), wskit.WithMessageRate(20, 40), wskit.WithReplay(50)))
	mux.Handle("GET /events", c.hub.SSEHandler(wskit.WithReplay(50)))
	mux.HandleFunc("POST /send", c.send)
	mux.Handle("GET /ready", c.hub.Ready())
	// Pages of other sites must not post through a visitor's browser. Their WebSockets the hub refuses by itself.
	return http.NewCrossOriginProtection().Handler(http.MaxBytesHandler(mux, maxMessage))
}
