package contract_test

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// An upgrade that is refused is logged with what it was refused for and what to do, once a hub and kind: the status is the one that
// the client got.
func TestARefusedUpgradeIsLoggedOnceForEachKindWithWhatToDo(t *testing.T) {
	plain := func(w http.ResponseWriter) http.ResponseWriter { return w }
	for name, c := range map[string]struct {
		header map[string]string
		wrap   func(http.ResponseWriter) http.ResponseWriter
		old    bool // HTTP/1.0
		post   bool
		status int
		text   string
		attrs  map[string]string
	}{
		"a proxy that passes neither on":    {header: map[string]string{"Connection": "", "Upgrade": ""}, status: 426, text: "must pass Upgrade and Connection on", attrs: map[string]string{"missing": "Connection: Upgrade, Upgrade: websocket"}},
		"a proxy that passes no Upgrade on": {header: map[string]string{"Upgrade": ""}, status: 426, text: "must pass Upgrade and Connection on", attrs: map[string]string{"missing": "Upgrade: websocket"}},
		"a proxy that closes":               {header: map[string]string{"Connection": "close"}, status: 426, text: "must pass Upgrade and Connection on", attrs: map[string]string{"missing": "Connection: Upgrade"}},
		"a proxy of HTTP/1.0":               {old: true, status: 426, text: "HTTP/1.1", attrs: map[string]string{"missing": "HTTP/1.1"}},
		"no WebSocket client":               {header: map[string]string{"Connection": "", "Upgrade": "", "Sec-WebSocket-Key": ""}, status: 426, text: "no WebSocket client's"},
		"another origin": {header: map[string]string{"Host": "internal:8080", "Origin": "https://example.org"}, status: 403,
			text: `Origin "https://example.org" is not of Host "internal:8080": set OriginPatterns, or have the proxy in front pass Host on`, attrs: map[string]string{"origin": "https://example.org", "host": "internal:8080"}},
		"a long origin":  {header: map[string]string{"Origin": "https://" + strings.Repeat("x", 5000)}, status: 403, text: "OriginPatterns"},
		"POST":           {post: true, status: 405, text: "not GET"},
		"an old version": {header: map[string]string{"Sec-WebSocket-Version": "8"}, status: 400, text: "RFC 6455"},
		"a bad key":      {header: map[string]string{"Sec-WebSocket-Key": "x"}, status: 400, text: "RFC 6455"},
		"no key":         {header: map[string]string{"Sec-WebSocket-Key": ""}, status: 400, text: "RFC 6455"},
		"no Hijacker":    {wrap: func(w http.ResponseWriter) http.ResponseWriter { return struct{ http.ResponseWriter }{w} }, status: 501, text: "http.Hijacker"},
		"Hijack fails":   {wrap: func(w http.ResponseWriter) http.ResponseWriter { return keeps{w} }, text: "does not part with its connection", attrs: map[string]string{"status": "500"}},
	} {
		t.Run(name, func(t *testing.T) {
			var log wstest.LogRecorder
			hub := wstest.Run(t, wskit.WithLogger(log.Logger()))
			if c.wrap == nil {
				c.wrap = plain
			}
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Wrap: c.wrap})
			for range 3 {
				request := wstest.Handshake{Header: c.header}.Request(srv.Host())
				if c.old {
					request = []byte(strings.Replace(string(request), "HTTP/1.1", "HTTP/1.0", 1))
				}
				if c.post {
					request = []byte(strings.Replace(string(request), "GET", "POST", 1))
				}
				p, err := wstest.Ask(srv.Conn(t), request)
				if c.status != 0 && (err != nil || p.Answer.StatusCode != c.status) {
					t.Fatal(p.Answer, err)
				}
				if err := wstest.Receive(t, "Accept returns", srv.Refused); err == nil {
					t.Error("no error")
				}
			}
			hub.Halt(t) // by then the logger has been called
			found := log.Find("wskit: upgrade refused; others of this kind will not be logged")
			if len(found) != 1 {
				t.Fatalf("logged %d times", len(found))
			}
			r := found[0]
			if text := fmt.Sprint(r.Attrs); r.Level != slog.LevelWarn || !strings.Contains(text, c.text) || len(text) > 2000 {
				t.Errorf("%v: %s", r.Level, text)
			}
			if c.status != 0 && fmt.Sprint(r.Attrs["status"]) != fmt.Sprint(c.status) || r.Attrs["host"] == nil || r.Attrs["error"] == nil {
				t.Error(r.Attrs)
			}
			for k, v := range c.attrs {
				if fmt.Sprint(r.Attrs[k]) != v {
					t.Errorf("%s: %v, want %s", k, r.Attrs[k], v)
				}
			}
		})
	}
}

// keeps is a writer that does not part with its connection.
type keeps struct{ http.ResponseWriter }

func (keeps) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, errors.New("mine") }

// One kind does not use up another's line, nor one hub another's.
func TestEachKindOfRefusedUpgradeIsLoggedForItself(t *testing.T) {
	var log wstest.LogRecorder
	for range 2 {
		hub := wstest.Run(t, wskit.WithLogger(log.Logger()))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{})
		for _, header := range []map[string]string{
			{"Connection": "", "Upgrade": "", "Sec-WebSocket-Key": ""}, {"Upgrade": ""}, {"Origin": "https://example.org"}, {"Sec-WebSocket-Version": "8"},
		} {
			srv.Handshake(t, wstest.Handshake{Header: header})
		}
		hub.Halt(t)
	}
	if n := len(log.Find("wskit: upgrade refused; others of this kind will not be logged")); n != 8 {
		t.Errorf("%d lines, want 8", n)
	}
}
