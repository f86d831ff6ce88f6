package contract_test

import (
	"testing"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// However much one hub has to do, what the connections of another run on is another's.
func TestAHubThatIsFullyOccupiedHoldsUpNoOther(t *testing.T) {
	busy, quiet := wstest.Run(t), wstest.Run(t)
	srv := wstest.Serve(t, quiet.Hub, wstest.Serving{Accept: &websocket.AcceptOptions{}})
	b, _ := srv.Browser(t)
	probe := &wstest.Probe{}
	quiet.Register(probe)
	pools := actors.ResolveLink(actors.System(), busy.PID()).Pools
	release := occupy(t, pools)
	for range 100 {
		pools.Streams().Schedule(func() { pools.Connections.Settle() })
	}
	quiet.Broadcast([]byte("1"))
	b.Expect(t, "1")
	wstest.Eventually(t, "the broadcast", func() bool { return probe.Len() == 1 })
	release()
}
