package clientactor_test

import (
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"github.com/wskit/wskit/internal/wstest"
)

// link is a connection of some kind with its peer, which does nothing by itself.
type link struct {
	*clientactor.Conn
	peer   *wstest.Peer
	told   wstest.List[any] // what its actor has told its parent
	served chan error       // what Serve returned
}

// open makes a link that is not served and has no actor yet.
func open(t *testing.T, kind wstest.Kind, cfg *clientactor.Config, handle func(*link, bool, []byte) error) *link {
	t.Helper()
	l := &link{served: make(chan error, 1)}
	var fn func(bool, []byte) error
	if handle != nil {
		fn = func(binary bool, data []byte) error { return handle(l, binary, data) }
	}
	made := make(chan *clientactor.Conn, 1)
	srv := wstest.Listen(t, kind, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind != wstest.NewClient {
			c, err := clientactor.Accept(w, r, nil, cfg, goroutines, fn, nil)
			if err != nil {
				t.Error(err)
			}
			made <- c
			return
		}
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
		}
		made <- clientactor.New(ws, cfg, goroutines, fn)
	}))
	l.peer = srv.Handshake(t, wstest.Handshake{Path: "/"})
	l.peer.Upgraded(t)
	l.Conn = wstest.Receive(t, "the upgrade", made)
	return l
}

// connect makes a link that is served.
func connect(t *testing.T, kind wstest.Kind, cfg *clientactor.Config, handle func(*link, bool, []byte) error) *link {
	t.Helper()
	l := open(t, kind, cfg, handle)
	spawnTelling(l.Conn, &l.told)
	go l.serve()
	return l
}

func (l *link) serve() { l.served <- l.Serve() }

// ends reads up to the close frame, which is to say this, answers it, and waits for the end.
func (l *link) ends(t *testing.T, code int, text string, reason actors.Reason) {
	t.Helper()
	l.peer.Ends(t, code, text)
	_, _ = l.peer.Write(wstest.CloseWith(code, text).Masked())
	await(t, l.Conn)
	if got := l.Outbox().Reason(); got != reason {
		t.Errorf("reason %q, want %q", got, reason)
	}
}

// failures is what was reported.
func (l *link) failures() (all []*actors.Failed) {
	for _, m := range l.told.All() {
		if f, ok := m.(*actors.Failed); ok {
			all = append(all, f)
		}
	}
	return all
}
