package attack_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// squeezed is a message as a client compresses it that keeps no window.
func squeezed(text string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestSpeed)
	_, _ = w.Write([]byte(text))
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

func deflating(t *testing.T, opts ...wskit.HubOption) (*wstest.Hub, *wstest.Server) {
	hub := wstest.Run(t, append(opts, wskit.WithOnError(func(op string, err error) { t.Error(op, err) }))...)
	return hub, wstest.Serve(t, hub.Hub, wstest.Serving{
		Accept: &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover},
		Client: []wskit.ClientOption{wskit.WithMaxMessageSize(100_000)},
	})
}

func squeezer(t *testing.T, srv *wstest.Server) *wstest.Peer {
	t.Helper()
	p := srv.Handshake(t, wstest.Handshake{Header: map[string]string{"Sec-WebSocket-Extensions": "permessage-deflate"}})
	p.Upgraded(t)
	return p
}

func compressed(fin bool, payload string) wstest.Frame {
	return wstest.Frame{Fin: fin, RSV: wstest.RSV1, Op: wstest.Text, Payload: payload}
}

// A close frame, a ping, an end or a broken block in the middle of a compressed message ends that connection as it should, and
// whatever was decompressing there is nobody else's: all the while other clients get back what they sent, and nothing else.
func TestCompressedFragmentsThatAreBrokenOffHarmNoOther(t *testing.T) {
	hub, srv := deflating(t, wskit.WithOnMessage(wstest.Echo))
	secret := strings.Repeat("the attacker's own text ", 500)
	whole := squeezed(secret)
	attacks := []func(p *wstest.Peer) (code int){
		func(p *wstest.Peer) int {
			p.SendFrames(t, compressed(false, whole[:20]), wstest.CloseWith(1000, ""))
			return 1000
		},
		func(p *wstest.Peer) int {
			p.SendFrames(t, compressed(false, whole), wstest.CloseWith(1001, ""))
			return 1001
		},
		func(p *wstest.Peer) int {
			p.SendFrames(t, compressed(false, whole[:20]), wstest.Whole(wstest.Text, "in between"))
			return 1002
		},
		func(p *wstest.Peer) int { p.SendFrames(t, compressed(true, "\xff"+whole)); return 1007 },
		func(p *wstest.Peer) int { p.SendFrames(t, compressed(true, whole[:len(whole)/2])); return 1007 },
		func(p *wstest.Peer) int {
			p.SendFrames(t, compressed(true, squeezed(strings.Repeat("x", 100_001))))
			return 1009
		},
		func(p *wstest.Peer) int {
			p.SendFrames(t, compressed(false, whole[:20]), compressed(true, whole[20:]))
			return 1002
		},
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for i := range 4 {
		p := squeezer(t, srv)
		others.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				text := fmt.Sprintf("%d:%d:%s", i, n, strings.Repeat("honest ", n%50))
				if _, err := p.Write(compressed(true, squeezed(text)).Masked()); err != nil {
					t.Error(err)
					return
				}
				f, err := p.Frame()
				if f.RSV == wstest.RSV1 {
					continue // it is long enough to be compressed; what it says is looked at by those that are not
				}
				if f.Payload != "echo "+text || err != nil {
					t.Errorf("%.60q came back as %v, %v", text, f, err)
					return
				}
			}
		})
	}
	for range 30 {
		for i, attack := range attacks {
			p := squeezer(t, srv)
			want := attack(p)
			if code, err := p.CloseCode(); code != want {
				t.Errorf("attack %d: %d, %v; want %d", i, code, err, want)
			}
			_ = p.Close()
		}
	}
	close(stop)
	others.Wait()
	hub.Count(t, 4)
}

// A compressed message is handed on whole or not at all, wherever it is cut off, and whatever kind of blocks it is made of.
func TestNoCompressedMessageIsHandedOnThatWasCutOff(t *testing.T) {
	_, srv := deflating(t, wskit.WithOnMessage(wstest.Echo))
	for name, level := range map[string]int{"stored": flate.NoCompression, "fixed or dynamic": flate.BestCompression, "Huffman only": flate.HuffmanOnly} {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, level)
		_, _ = w.Write([]byte("abcdefgh 0123456789 ABCDEFGH"))
		_ = w.Flush()
		whole := strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
		for n := 1; n < len(whole); n++ {
			if whole[:n] == "\x00" {
				continue // which is the empty message: RFC 7692, section 7.2.3.6
			}
			p := squeezer(t, srv)
			p.SendFrames(t, compressed(true, whole[:n]))
			if f, err := p.Frame(); !f.Is(wstest.Close) || f.Code() != 1007 {
				t.Errorf("%s, %d of %d bytes: %v, %v", name, n, len(whole), f, err)
			}
			_ = p.Close()
		}
	}
}

// After a block that is marked as the last one a message goes on, and so does the connection (RFC 7692, section 7.2.3.4).
func TestABlockMarkedAsTheLastEndsNeitherMessageNorConnection(t *testing.T) {
	_, srv := deflating(t, wskit.WithOnMessage(wstest.Echo))
	last := func(text string) string {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestSpeed)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.String()
	}
	p := squeezer(t, srv)
	for _, payload := range []string{last("one") + "\x00", last("o") + last("n") + last("e") + "\x00", last("one"), last("o") + squeezed("ne")} {
		p.SendFrames(t, compressed(true, payload))
		p.Expect(t, "echo one")
	}
	p.SendFrames(t, compressed(true, strings.Repeat(last(""), 1000)))
	p.Ends(t, 1007, "compressed message is broken") // a flood of nothing
}
