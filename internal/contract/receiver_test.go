package contract_test

import (
	"context"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/coder/websocket"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

// "an actor that gets what WebSocket clients send, each message as *actors.Received": of a hub that it embeds, and of the facade's own.
func TestAReceiverGetsWhatClientsSend(t *testing.T) {
	received := make(chan *actors.Received, 9)
	root := actors.System().Root
	pid := root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		if m, ok := ctx.Message().(*actors.Received); ok {
			received <- m
		}
	}))
	defer root.Stop(pid)
	embedded, _ := wstest.Embed(t, hubactor.Config{Received: pid})
	handled := make(chan struct{}, 9)
	for _, hub := range []*wstest.Hub{embedded, wstest.Run(t, wskit.WithReceiver(pid)), wstest.Run(t, wskit.WithReceiver(pid), wskit.WithHandler(func(_ context.Context, _ *wskit.Client, m wskit.Message) error {
		clear(m.Data)
		handled <- struct{}{}
		return nil
	}))} {
		b, c := wstest.Serve(t, hub.Hub, wstest.Serving{}).Browser(t)
		b.Say(t, "text")
		no(t, b.Write(t.Context(), websocket.MessageBinary, []byte("\xff")))
		for _, want := range []struct {
			binary bool
			data   string
		}{{false, "text"}, {true, "\xff"}} {
			if m := wstest.Receive(t, "Received", received); m.Subscriber != c || m.Binary != want.binary || string(m.Data) != want.data {
				t.Errorf("%+v", m)
			}
		}
	}
	wstest.Receive(t, "the handler", handled)
}
