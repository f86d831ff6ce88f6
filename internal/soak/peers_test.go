package soak_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// vanish: connections that are reset in every state, half way through the upgrade included.
func (a *arena) vanish(i *injection) error {
	var errs [4]error
	var all sync.WaitGroup
	for k := range errs {
		all.Go(func() {
			p, err := a.victim(i)
			if err != nil {
				errs[k] = err
				return
			}
			if k%2 == 0 { // not before it has got something
				_ = p.SetReadDeadline(time.Now().Add(patience))
				_, errs[k] = p.Frame()
			}
			a.dismiss(p)
		})
	}
	for k := range 2 {
		conn, err := a.tcp(a.wide)
		if err != nil {
			return err
		}
		a.peers.Add(1)
		path := []string{a.streamPath(i.room.hub), a.visit(&visit{hub: i.room.hub})}[k]
		request := wstest.Handshake{Path: path}.Request("x")
		_, _ = conn.Write(request[:len(request)-2*k])
		reset(conn)
	}
	all.Wait()
	i.strike()
	return errors.Join(errs[:]...)
}

// stuff sends to a client whose peer does not read until its queue has been full for a while.
func stuff(c *wskit.Client) bool {
	data, refused := []byte(filler+strings.Repeat("x", 4<<10)), 0
	return wstest.Poll(patience, func() bool {
		for k := 0; k < 16; k++ {
			if c.Send(data) {
				refused = 0
			}
		}
		refused++
		return refused > 10
	})
}

// stall: a WebSocket peer and an SSE peer that never read.
func (a *arena) stall(i *injection) error {
	const wait = time.Second
	p, err := a.dial(a.narrow, &visit{hub: i.room.hub, opts: []wskit.ClientOption{wskit.WithSendBufSize(8), wskit.WithWriteWait(wait)}})
	if err != nil {
		return err
	}
	a.peers.Add(2)
	defer func() { _ = p.Close() }()
	conn, err := a.tcp(a.narrow)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", a.streamPath(i.room.hub))
	a.work.Go(func() { // its socket is full by and by
		defer reset(conn)
		long := time.NewTimer(8 * time.Second)
		defer long.Stop()
		select {
		case <-long.C:
		case <-a.tormenting.Done():
		}
	})
	full := stuff(p.c)
	i.strike()
	if err := p.v.gone(wait + patience); err != nil {
		return fmt.Errorf("(its queue was full: %v) %w", full, err)
	}
	return nil
}

// resume: a peer that does not read for a while, and then gets everything.
func (a *arena) resume(i *injection) error {
	w := a.newWitness("raw ws", i.room, false)
	w.name += " that had stalled"
	v := &visit{hub: i.room.hub, witness: w, opts: []wskit.ClientOption{wskit.WithSendBufSize(4096), wskit.WithWriteWait(time.Minute)}}
	p, err := a.dial(a.narrow, v)
	if err != nil {
		return err
	}
	a.peers.Add(1)
	for range 24 { // more than the sockets hold; through buffers this small it takes seconds
		p.c.Send([]byte(filler + strings.Repeat("x", 4<<10)))
	}
	i.strike()
	pause := time.NewTimer(a.plan.slowest/4 + rand.N(a.plan.slowest))
	<-pause.C
	a.work.Go(func() { w.readRaw(p) })
	a.part(w)
	return nil
}

// garbage: what is no frame a client may send ends that connection, with 1002 if the peer may hope to understand that.
func (a *arena) garbage(i *injection) error {
	p, err := a.victim(i)
	if err != nil {
		return err
	}
	want, data := 1002, []byte(nil)
	switch i.n % 5 {
	case 0: // not masked: no WebSocket client at all, and the library says nothing
		want, data = none, []byte{0x81, 0x02, 'h', 'i'}
	case 1: // reserved bits
		data = []byte{0xf1, 0x80, 0, 0, 0, 0}
	case 2: // an unknown opcode
		data = []byte{0x83, 0x80, 0, 0, 0, 0}
	case 3: // a control frame that is too long
		data = wstest.Masked(wstest.Ping, strings.Repeat("x", 126))
	case 4: // anything, which may be the beginning of a frame
		want, data = 0, make([]byte, 4096)
		for k := range len(data) / 8 {
			binary.BigEndian.PutUint64(data[8*k:], rand.Uint64())
		}
	}
	_, _ = p.Write(data)
	i.strike()
	if want == 0 {
		a.dismiss(p)
		return nil
	}
	if err := p.closes(want); err != nil && want != none {
		return fmt.Errorf("variant %d: %w", i.n%5, err)
	}
	return p.v.gone(patience)
}

// none is the close code of a connection that ended without one.
const none = -1

// oversized: one byte more than is allowed, in one frame or in two, ends the connection with 1009.
func (a *arena) oversized(i *injection) error {
	p, err := a.victim(i)
	if err != nil {
		return err
	}
	n := wskit.DefaultMaxMessageSize + 1
	if i.n%2 == 0 {
		_, _ = p.Write(wstest.Masked(wstest.Text, strings.Repeat("x", n)))
	} else {
		_, _ = p.Write(wstest.Masks(wstest.Fragments(wstest.Text, strings.Repeat("x", n/2), strings.Repeat("x", n-n/2))...))
	}
	i.strike()
	if err := p.closes(1009); err != nil {
		return err
	}
	return p.v.gone(patience)
}

// flood: thousands of pings, whose pongs are read or not.
func (a *arena) flood(i *injection) error {
	p, err := a.victim(i, wskit.WithWriteWait(time.Second))
	if err != nil {
		return err
	}
	pings := []byte(strings.Repeat(string(wstest.Masked(wstest.Ping, "are you there?")), 3000))
	_ = p.SetDeadline(time.Now().Add(3 * time.Second))
	var reading sync.WaitGroup
	if i.n%2 == 0 {
		reading.Go(func() {
			for err := error(nil); err == nil; {
				_, err = p.Frame()
			}
		})
	}
	_, _ = p.Write(pings)
	i.strike()
	a.dismiss(p)
	reading.Wait()
	return nil
}

// silentPeer: the server closes, and the peer does not answer, whether or not it reads that.
func (a *arena) silentPeer(i *injection) error {
	const wait = time.Second
	p, err := a.victim(i, wskit.WithWriteWait(wait))
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	if _, err := p.Frame(); err != nil { // till then OnConnect may wait for other callbacks, and the close frame with it
		return err
	}
	if i.n%2 == 0 {
		i.room.hub.Unregister(p.c)
	} else {
		p.c.Close()
	}
	i.strike()
	if i.n%4 < 2 {
		if code, err := p.ending(); code != 1000 {
			return fmt.Errorf("close code %d (%w), want 1000", code, err)
		}
	}
	return p.v.gone(wait + 5*time.Second)
}

// loris: a request that comes letter by letter and never ends. Nothing of it reaches the hub.
func (a *arena) loris(i *injection) error {
	conn, err := a.tcp(a.wide)
	if err != nil {
		return err
	}
	a.peers.Add(1)
	defer func() { _ = conn.Close() }()
	i.strike()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	closed := make(chan struct{})
	a.work.Go(func() {
		defer close(closed)
		for buf := make([]byte, 512); err == nil; {
			_, err = conn.Read(buf)
		}
	})
	tick := time.NewTicker(40 * time.Millisecond)
	defer tick.Stop()
	text := wstest.Handshake{Path: a.visit(&visit{hub: i.room.hub})}.Request("x")
	for k := range len(text) - 2 {
		select {
		case <-closed:
			return nil
		case <-tick.C:
			_, _ = conn.Write([]byte{text[k]})
		}
	}
	return within(closed, "the server closes a connection that takes too long to ask")
}

// crashConnection: the actor of one connection crashes, and its peer is told.
func (a *arena) crashConnection(i *injection) error {
	p, err := a.victim(i)
	if err != nil {
		return err
	}
	at := now()
	p.c.Outbox().PostUserMessage(&actors.Crash{Reason: onPurpose{"a connection's actor"}})
	i.strikeAt(at)
	if err := p.closes(1011); err != nil {
		return err
	}
	return p.v.gone(patience)
}
