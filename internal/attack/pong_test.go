package attack_test

import (
	"fmt"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// Whatever the kind of connection, of many pings that come at once, and of many while a message is being written to a peer that
// does not read, the newest is answered, and the answers come in order (RFC 6455, section 5.5.3).
func TestTheNewestPingIsAnswered(t *testing.T) {
	for _, kind := range []wstest.Kind{wstest.TCP, wstest.TLS, wstest.Wrapped} {
		for _, behind := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, behind a message %v", kind.Name, behind), func(t *testing.T) {
				hub := wstest.Run(t)
				srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, SendBuffer: 16 << 10, Client: []wskit.ClientOption{wskit.WithWriteWait(wstest.Patience)}})
				p, c := srv.Peer(t)
				if behind {
					c.Send(make([]byte, 8<<20))
					if _, err := p.In.Peek(1); err != nil { // it is being written
						t.Fatal(err)
					}
				}
				const pings = 40
				var stream []byte
				for i := range pings {
					stream = append(stream, wstest.Masked(wstest.Ping, fmt.Sprintf("%0100d", i))...)
				}
				p.Put(t, stream)
				p.Say(t, "the end")
				seen, last := 0, -1
				for last < pings-1 {
					f, err := p.Frame()
					if err != nil {
						t.Fatalf("after %d pongs, the last of which was number %d: %v", seen, last, err)
					}
					if f.Op != wstest.Pong {
						continue
					}
					var n int
					if _, err := fmt.Sscanf(f.Payload, "%d", &n); err != nil || n <= last {
						t.Fatalf("after number %d: %v", last, f)
					}
					seen, last = seen+1, n
				}
				t.Logf("%d of %d answered", seen, pings)
				if !behind && kind == wstest.TCP && seen != pings {
					t.Errorf("%d of %d answered", seen, pings)
				}
			})
		}
	}
}
