package contract_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// parted is a writer that counts its uses after it has parted with its connection, which net/http would log as errors.
type parted struct {
	http.ResponseWriter
	gone        atomic.Bool
	parts, late *atomic.Int32
}

func (p *parted) used() {
	if p.gone.Load() {
		p.late.Add(1)
	}
}

func (p *parted) WriteHeader(status int)      { p.used(); p.ResponseWriter.WriteHeader(status) }
func (p *parted) Write(b []byte) (int, error) { p.used(); return p.ResponseWriter.Write(b) }
func (p *parted) Flush()                      { p.used(); p.ResponseWriter.(http.Flusher).Flush() }
func (p *parted) SetWriteDeadline(t time.Time) error {
	p.used()
	return http.NewResponseController(p.ResponseWriter).SetWriteDeadline(t)
}

func (p *parted) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(p.ResponseWriter).Hijack()
	if err == nil {
		p.gone.Store(true)
		p.parts.Add(1)
	}
	return conn, rw, err
}

// However a connection ends that was taken over, also one that had no place in the hub, its ResponseWriter is left alone from then
// on: middleware would take what is written there for the answer.
func TestAWriterThatHasPartedWithItsConnectionIsLeftAlone(t *testing.T) {
	// Each opens a connection, and has it end.
	ws := func(end func(*wstest.Browser, *wskit.Client)) func(*testing.T, *wstest.Hub, *wstest.Server) {
		return func(t *testing.T, hub *wstest.Hub, srv *wstest.Server) {
			p, c := srv.Browser(t)
			hub.Count(t, 1)
			end(p, c)
		}
	}
	sse := func(end func(*wstest.Hub, *wstest.Peer)) func(*testing.T, *wstest.Hub, *wstest.Server) {
		return func(t *testing.T, hub *wstest.Hub, srv *wstest.Server) {
			p := srv.Ask(t, http.MethodGet, "/sse")
			hub.Count(t, 1)
			end(hub, p)
			_ = wstest.Receive(t, "AcceptSSE returns", srv.Streamed)
		}
	}
	for name, c := range map[string]struct {
		do   func(*testing.T, *wstest.Hub, *wstest.Server)
		busy bool // the hub does not take anybody
	}{
		"the peer closes":      {do: ws(func(p *wstest.Browser, _ *wskit.Client) { _ = p.Close(websocket.StatusNormalClosure, "") })},
		"the peer is gone":     {do: ws(func(p *wstest.Browser, _ *wskit.Client) { _ = p.CloseNow() })},
		"the client is closed": {do: ws(func(p *wstest.Browser, c *wskit.Client) { c.Close(); _, _ = p.Rest() })},
		"no place in time": {busy: true, do: func(t *testing.T, _ *wstest.Hub, srv *wstest.Server) {
			srv.Open(t).Ends(t, websocket.StatusTryAgainLater)
			if err := wstest.Receive(t, "Accept returns", srv.Refused); !errors.Is(err, wskit.ErrTimeout) {
				t.Error(err)
			}
		}},
		"a stream's client leaves": {do: sse(func(_ *wstest.Hub, p *wstest.Peer) { _ = p.Close() })},
		"a stream's client resets": {do: sse(func(_ *wstest.Hub, p *wstest.Peer) { p.Reset() })},
		"the hub ends a stream":    {do: sse(func(hub *wstest.Hub, p *wstest.Peer) { hub.Stop(); _, _ = io.Copy(io.Discard, p); _ = p.Close() })},
	} {
		t.Run(name, func(t *testing.T) {
			opts := []wskit.HubOption{wskit.WithSSEHijack()}
			var hub *wstest.Hub
			if c.busy {
				hub = wstest.Idle(t, append(opts, wskit.WithRegisterBuf(0), wskit.WithChannelTimeout(wstest.Hush))...)
			} else {
				hub = wstest.Run(t, opts...)
			}
			var parts, late atomic.Int32
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Wrap: func(w http.ResponseWriter) http.ResponseWriter {
				return &parted{ResponseWriter: w, parts: &parts, late: &late}
			}})
			c.do(t, hub, srv)
			if c.busy {
				hub.Start(t)
			}
			hub.Count(t, 0)
			if parts.Load() != 1 || late.Load() != 0 {
				t.Errorf("parted %d times, used %d times after that", parts.Load(), late.Load())
			}
		})
	}
}
