package contract_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// A message is compressed that has as many bytes as AcceptOptions.CompressionThreshold says, and none that has one less; the
// library's defaults hold where it says nothing.
func TestMessagesAreCompressedFromTheThresholdOn(t *testing.T) {
	for _, c := range []struct {
		mode            websocket.CompressionMode
		threshold, want int
	}{
		{websocket.CompressionContextTakeover, 0, 128},
		{websocket.CompressionNoContextTakeover, 0, 512},
		{websocket.CompressionContextTakeover, 40, 40},
		{websocket.CompressionNoContextTakeover, 3000, 3000},
	} {
		t.Run(fmt.Sprintf("mode %d, threshold %d", c.mode, c.threshold), func(t *testing.T) {
			hub := wstest.Run(t)
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Accept: &websocket.AcceptOptions{CompressionMode: c.mode, CompressionThreshold: c.threshold}})
			p := connect(t, srv, true, "")
			hub.Count(t, 1)
			for n, rsv := range map[int]byte{c.want - 1: 0, c.want: wstest.RSV1} {
				hub.Broadcast([]byte(strings.Repeat("x", n)))
				if f, err := p.Frame(); f.RSV != rsv || err != nil {
					t.Errorf("%d bytes: %v, %v", n, f, err)
				}
			}
		})
	}
}

// "Close": what has come already, and what comes later, is not handed on any more.
func TestNothingIsHandedOnOnceTheClientIsClosed(t *testing.T) {
	for _, kind := range wstest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			var got wstest.List[string]
			hub := wstest.Run(t, wskit.WithOnMessage(func(c *wskit.Client, data []byte) {
				got.Add(string(data))
				c.Close()
			}))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
			p, _ := srv.Peer(t)
			p.Put(t, wstest.Masks(wstest.Whole(wstest.Text, "one"), wstest.Whole(wstest.Text, "two"), wstest.Whole(wstest.Text, "three")))
			p.Ends(t, 1000, "")
			p.Put(t, wstest.Masks(wstest.Whole(wstest.Text, "four"), wstest.CloseWith(1000, "")))
			if f, err := p.Frame(); err == nil {
				t.Errorf("behind the close frame: %v", f)
			}
			hub.Count(t, 0)
			if all := got.All(); len(all) != 1 {
				t.Errorf("handed on: %q", all)
			}
		})
	}
}
