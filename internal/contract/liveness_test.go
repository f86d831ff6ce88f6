package contract_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/internal/wstest"
)

// hasty is a client that gives its peer little time.
func hasty(ping, wait time.Duration) []wskit.ClientOption {
	return []wskit.ClientOption{wskit.WithPingInterval(ping), wskit.WithWriteWait(wait), wskit.WithMaxMessageSize(-1)}
}

// pongs answers pings until the connection ends, and closes what it returns when anything but a message comes in between.
func pongs(p *wstest.Peer) (ended <-chan struct{}) {
	return wstest.Begin(func() {
		for {
			if f, err := p.Next(true); err != nil || f.Op == wstest.Close {
				return
			}
		}
	})
}

// "A handler that takes long delays its client's next message", and costs nobody the connection.
func TestAHandlerThatOutlastsAPingCostsNoConnection(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		handled := make(chan struct{}, 1)
		hub := wstest.Run(t, wskit.WithOnMessage(func(*wskit.Client, []byte) {
			<-time.After(600 * time.Millisecond)
			handled <- struct{}{}
		}))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: hasty(50*time.Millisecond, 100*time.Millisecond)})
		p, _ := srv.Peer(t)
		p.Say(t, "work")
		ended := pongs(p)
		wstest.Receive(t, "the handler returns", handled)
		select {
		case <-ended:
			t.Error("the connection has ended, though each ping was answered")
		case <-time.After(300 * time.Millisecond): // and answered pings keep it
		}
	})
}

// While a long message comes in no ping can be answered; that it comes in is a sign of life.
func TestASlowUploadCostsNoConnection(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		got := make(chan int, 1)
		hub := wstest.Run(t, wskit.WithOnMessage(func(_ *wskit.Client, data []byte) { got <- len(data) }))
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: hasty(50*time.Millisecond, 150*time.Millisecond)})
		p, _ := srv.Peer(t)
		const size, pieces = 60_000, 60
		frame := wstest.Masked(wstest.Text, strings.Repeat("u", size))
		beat := time.NewTicker(15 * time.Millisecond)
		defer beat.Stop()
		for part := range len(frame)/(size/pieces) + 1 {
			<-beat.C
			p.Put(t, frame[part*(size/pieces):min(len(frame), (part+1)*(size/pieces))])
		}
		if n := wstest.Receive(t, "the message", got); n != size {
			t.Errorf("%d bytes arrived, want %d", n, size)
		}
	})
}

// steadily reads n bytes at so many a second.
func steadily(r io.Reader, n, rate int) (int, error) {
	began, part := time.Now(), make([]byte, 8<<10)
	for read := 0; ; {
		some, err := r.Read(part)
		read += some
		if err != nil || read >= n {
			return read, err
		}
		<-time.After(time.Until(began.Add(time.Duration(read) * time.Second / time.Duration(rate))))
	}
}

// "WithWriteWait": how long nothing may move, not how long a message may take.
func TestALargeMessageMayTakeLongerThanTheWriteWait(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		t.Parallel()
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: hasty(200*time.Millisecond, 400*time.Millisecond), SendBuffer: 32 << 10})
		p := srv.Handshake(t, wstest.Handshake{RecvBuffer: 32 << 10})
		p.Upgraded(t)
		c := wstest.Receive(t, "Accept returns", srv.Accepted)
		const size = 3 << 20
		if !c.Send(bytes.Repeat([]byte("m"), size)) {
			t.Fatal("the message was refused")
		}
		if n, err := steadily(p, size, 1<<20); err != nil {
			t.Errorf("after %d of %d bytes, read steadily: %v", n, size, err)
		}
	})
}

// A reader that takes less than is broadcast loses messages; it answers no ping for long, since what it has not read comes before.
func TestASteadyReaderOfLessThanIsBroadcastKeepsItsConnection(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		t.Parallel()
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: hasty(200*time.Millisecond, 500*time.Millisecond), SendBuffer: 256 << 10})
		p := srv.Handshake(t, wstest.Handshake{RecvBuffer: 64 << 10})
		p.Upgraded(t)
		wstest.Receive(t, "Accept returns", srv.Accepted)
		over := make(chan struct{})
		flood := wstest.Begin(func() {
			beat := time.NewTicker(2 * time.Millisecond)
			defer beat.Stop()
			for message := bytes.Repeat([]byte("f"), 8<<10); ; hub.Broadcast(message) {
				select {
				case <-beat.C:
				case <-over:
					return
				}
			}
		})
		defer func() { close(over); <-flood }()
		if n, err := steadily(p, 3<<19, 512<<10); err != nil {
			t.Errorf("after %d bytes, read steadily: %v", n, err)
		}
	})
}

// "WithPingInterval, WithWriteWait": a peer that answers nothing is found after the two, whatever it is sent.
func TestAPeerThatReadsAndAnswersNothingIsFound(t *testing.T) {
	const ping, wait = 150 * time.Millisecond, 200 * time.Millisecond
	for name, broadcasts := range map[string]bool{"in silence": false, "while the kernel acknowledges": true} {
		t.Run(name, func(t *testing.T) {
			wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
				hub := wstest.Run(t)
				srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: hasty(ping, wait)})
				_, _ = srv.Peer(t)
				began := time.Now()
				if !wstest.Poll(wstest.Patience, func() bool {
					if broadcasts {
						hub.Broadcast([]byte("news"))
					}
					return hub.SubscriberCount() == 0
				}) {
					t.Fatal("it is still a subscriber")
				}
				if took := time.Since(began); took > ping+wait+5*time.Second {
					t.Errorf("found after %v", took)
				}
			})
		})
	}
}

// A peer that does not read is cut when nothing has moved for the write wait; on NewClient's connections, of which the kernel's
// share is not known, some seconds later.
func TestAPeerThatDoesNotReadIsCutAfterTheWriteWait(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		t.Parallel()
		const wait = 300 * time.Millisecond
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: hasty(time.Hour, wait), SendBuffer: 32 << 10})
		p := srv.Handshake(t, wstest.Handshake{RecvBuffer: 32 << 10})
		p.Upgraded(t)
		c := wstest.Receive(t, "Accept returns", srv.Accepted)
		began := time.Now()
		c.Send(bytes.Repeat([]byte("m"), 8<<20))
		hub.Count(t, 0)
		if took := time.Since(began); took < wait || took > wait+5*time.Second {
			t.Errorf("cut after %v", took)
		}
	})
}

// WritePump alone: nobody reads, so only what is written meets the end of the connection. A ping does.
func TestAPingThatMeetsTheEndOfTheConnectionEndsWritePump(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		ended := make(chan struct{})
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind, Client: hasty(20*time.Millisecond, 50*time.Millisecond),
			Pumps: func(c *wskit.Client) { go func() { c.WritePump(); close(ended) }() }})
		p, _ := srv.Peer(t)
		p.Reset()
		wstest.Receive(t, "WritePump returns", ended)
		hub.Count(t, 0)
	})
}

// A client whose peer does not answer the close frame is gone at once; its socket within 5 s.
func TestASocketLingersForFiveSecondsAtMost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		t.Parallel()
		hub := wstest.Run(t)
		srv := wstest.Serve(t, hub.Hub, wstest.Serving{Kind: kind})
		p, c := srv.Peer(t)
		began := time.Now()
		c.Close()
		_, err := io.Copy(io.Discard, p)
		if took := time.Since(began); took > 5*time.Second+1500*time.Millisecond { // and a second half open
			t.Errorf("the socket was closed after %v", took)
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Error(err)
		}
	})
}
