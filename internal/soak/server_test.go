package soak_test

import (
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wskit/wskit"
)

// visit is what /ws does with one request.
type visit struct {
	hub      *wskit.Hub
	opts     []wskit.ClientOption
	mute     bool // no WritePump
	witness  *witness
	accepted chan *wskit.Client
	ended    chan struct{} // closed when the pumps have returned
}

// visit announces a request and returns its path.
func (a *arena) visit(v *visit) string {
	id := strconv.FormatInt(a.serial.Add(1), 10)
	v.accepted, v.ended = make(chan *wskit.Client, 1), make(chan struct{})
	a.visits.Store(id, v)
	return "/ws?id=" + id
}

// narrowBuffer is the bytes of a socket buffer that is quickly full.
const narrowBuffer = 4 << 10

type narrowListener struct{ net.Listener }

func (l narrowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		_ = c.(*net.TCPConn).SetWriteBuffer(narrowBuffer)
	}
	return c, err
}

func (a *arena) serve() {
	mux := http.NewServeMux()
	mux.HandleFunc("/ws", a.serveWS)
	mux.HandleFunc("/sse", func(w http.ResponseWriter, r *http.Request) {
		a.pumps.Add(1)
		defer a.pumps.Done()
		id := r.FormValue("id")
		if v, ok := a.visits.LoadAndDelete(id); ok {
			_ = wskit.AcceptSSE(w, r, v.(*visit).hub)
			close(v.(*visit).ended)
		}
	})
	a.http = &http.Server{Handler: mux, ReadHeaderTimeout: time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	for _, narrow := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			a.t.Fatal(err)
		}
		if narrow {
			a.narrow, l = l.Addr().String(), narrowListener{l}
		} else {
			a.wide = l.Addr().String()
		}
		a.work.Go(func() { _ = a.http.Serve(l) })
	}
}

func (a *arena) serveWS(w http.ResponseWriter, r *http.Request) {
	x, ok := a.visits.LoadAndDelete(r.FormValue("id"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	v := x.(*visit)
	c, err := wskit.Accept(r.Context(), w, r, v.hub, nil, v.opts...)
	if err != nil {
		close(v.ended)
		return
	}
	if v.witness != nil {
		v.witness.client = c
		v.witness.registered()
	}
	v.accepted <- c
	var both sync.WaitGroup
	both.Go(c.ReadPump)
	if !v.mute {
		both.Go(c.WritePump)
	}
	a.pumps.Go(func() { both.Wait(); close(v.ended) })
}
