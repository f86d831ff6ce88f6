package contract_test

import (
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// Topics, users, Except and Disconnect work across two instances on a real Redis, and a restart of it.
func TestTopicsAndUsersAcrossInstances(t *testing.T) {
	redistest.Each(t, func(t *testing.T, srv *redistest.Server) {
		nodes := []*node{redisNode(t, srv.Addr(), wskit.WithAuthenticate(byQuery)), redisNode(t, srv.Addr(), wskit.WithAuthenticate(byQuery))}
		var peers []*wstest.Peer
		var web []*wstest.Server
		for _, n := range nodes {
			w := wstest.Serve(t, n.Hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithTopics("room")}})
			web = append(web, w)
		}
		for _, w := range web {
			p := w.Handshake(t, wstest.Handshake{Path: "/ws?user=ann"})
			p.Upgraded(t)
			peers = append(peers, p)
		}
		for i, n := range nodes { // a hub asks for its own channel last: whoever has that has its topics
			n.listen(t, srv, i+1)
		}
		no(t, nodes[0].Topic("room").BroadcastEventContext(t.Context(), 1))
		no(t, nodes[1].User("ann").BroadcastEventContext(t.Context(), 2))
		no(t, nodes[0].BroadcastEventContext(t.Context(), 3))
		for _, p := range peers {
			p.Expect(t, "1", "2", "3")
		}
		if !srv.Real() {
			return
		}
		srv.Kill()
		n, err := nodes[0].User("ann").Disconnect(t.Context(), 4000, "bye")
		if n != 1 {
			t.Error(n, err)
		}
		is(t, err, wskit.ErrLocalOnly)
		peers[0].Ends(t, 4000, "bye")
		srv.Restart()
		peers[1].Ends(t, 4000, "bye")
		wstest.Eventually(t, "locked out", func() bool {
			return web[1].Handshake(t, wstest.Handshake{Path: "/ws?user=ann"}).Answer.StatusCode == 403
		})
	})
}
