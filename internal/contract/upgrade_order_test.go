package contract_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// slowHijack is a writer whose connection is taken over when the test says so.
type slowHijack struct {
	http.ResponseWriter
	asked   chan<- struct{}
	proceed <-chan error
}

func (s slowHijack) Flush() { s.ResponseWriter.(http.Flusher).Flush() }

func (s slowHijack) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	s.asked <- struct{}{}
	if err := <-s.proceed; err != nil {
		return nil, nil, err
	}
	return s.ResponseWriter.(http.Hijacker).Hijack()
}

// Who has read that it is connected may have a broadcast made at once, and gets it: it was registered before. So it is with its topics,
// and with a registry that has crashed meanwhile.
func TestAClientIsRegisteredBeforeItLearnsThatItIsConnected(t *testing.T) {
	for name, crash := range map[string]bool{"": false, "the registry crashes": true} {
		t.Run(name, func(t *testing.T) {
			asked, proceed := make(chan struct{}, 1), make(chan error, 1)
			read := make(chan struct{})
			hub := wstest.Run(t, wskit.WithOnConnect(func(s wskit.Subscriber) {
				c := s.(*wskit.Client)
				c.Send([]byte("welcome"))
				go func() { // a reader that does not wait for Accept
					c.ReadPump()
					close(read)
				}()
			}))
			srv := wstest.Serve(t, hub.Hub, wstest.Serving{
				Wrap:   func(w http.ResponseWriter) http.ResponseWriter { return slowHijack{w, asked, proceed} },
				Client: []wskit.ClientOption{wskit.WithTopics("room")},
				Pumps:  func(c *wskit.Client) { go c.WritePump() },
			})
			var p *wstest.Peer
			answered := wstest.Begin(func() { p = srv.Handshake(t, wstest.Handshake{}) })
			wstest.Receive(t, "the upgrade", asked)
			if n := hub.SubscriberCount(); n != 1 {
				t.Errorf("%d subscribers before the client is told", n)
			}
			hub.Broadcast([]byte("1"))
			if crash {
				link := actors.ResolveLink(actors.System(), hub.PID())
				link.System.Root.Send(link.Registry, &actors.Crash{Reason: "test"})
			}
			hub.Topic("room").Broadcast([]byte("2"))
			proceed <- nil
			<-answered
			p.Upgraded(t)
			hub.Topic("room").Broadcast([]byte("3"))
			hub.Broadcast([]byte("4"))
			p.Expect(t, "welcome", "1", "2", "3", "4")
			p.Reset()
			hub.Count(t, 0)
			wstest.Receive(t, "the reader ends", read)
		})
	}
}

// stopped counts who has let go of a context that never ends.
type stopped struct {
	context.Context
	n chan struct{}
}

func (stopped) Done() <-chan struct{} { return make(chan struct{}) }
func (s stopped) AfterFunc(func()) func() bool {
	return func() bool {
		s.n <- struct{}{}
		return true
	}
}

// An upgrade that fails after that leaves nobody behind: no member, no pump that OnConnect has begun, and nothing on the context.
func TestAFailedUpgradeLeavesNobodyBehind(t *testing.T) {
	asked, proceed := make(chan struct{}, 1), make(chan error, 1)
	left, pumped, unwatched := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1)
	hub := wstest.Run(t, wskit.WithOnDisconnect(func(wskit.Subscriber) { close(left) }), wskit.WithOnConnect(func(s wskit.Subscriber) {
		go func() {
			_ = s.(*wskit.Client).Serve()
			close(pumped)
		}()
	}))
	srv := wstest.Serve(t, hub.Hub, wstest.Serving{
		Wrap: func(w http.ResponseWriter) http.ResponseWriter { return slowHijack{w, asked, proceed} },
		Ctx:  func(*http.Request) context.Context { return stopped{context.Background(), unwatched} },
	})
	answered := wstest.Begin(func() { srv.Handshake(t, wstest.Handshake{}) })
	wstest.Receive(t, "the upgrade", asked)
	hub.Count(t, 1)
	proceed <- errors.New("no connection to be had")
	hub.Count(t, 0)
	wstest.Receive(t, "OnDisconnect", left)
	wstest.Receive(t, "Serve returns", pumped)
	wstest.Receive(t, "the context is let go of", unwatched)
	<-answered
}
