package clientactor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	frames "github.com/wskit/wskit/internal/wstest/wire"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tcpPair is a connection over loopback with a small send buffer, so that a peer that does not read soon fills it.
func tcpPair(t *testing.T) (server, peer net.Conn) {
	t.Helper()
	return frames.Pair(t, 32<<10)
}

type testWire struct {
	*wire
	results chan error
}

func newTestWire(conn net.Conn, wait time.Duration) testWire {
	results := make(chan error, 64)
	w := testWire{new(wire), results}
	w.encode = (*actors.Frame).WebSocket
	w.attach(conn, wait, actors.SharedPools().Streams(), func(err error) { results <- err })
	return w
}

func (w testWire) pong() error { return w.control(actors.ControlFrame(opPong, []byte("pong"))) }

// put writes a batch of frames and waits until it is out.
func (w testWire) put(t *testing.T, payloads ...[]byte) {
	t.Helper()
	pending, err := w.write(batch(payloads...))
	if err != nil {
		t.Fatal(err)
	}
	if pending {
		if err := <-w.results; err != nil {
			t.Fatal(err)
		}
	}
}

func batch(payloads ...[]byte) *actors.Batch {
	b := &actors.Batch{}
	for _, p := range payloads {
		f := actors.NewFrame(p)
		b.Frames, b.Bytes = append(b.Frames, f), b.Bytes+f.Len()
	}
	return b
}

func TestABatchThatTheSocketTakesIsOutAtOnce(t *testing.T) {
	server, peer := tcpPair(t)
	w := newTestWire(server, time.Second)
	pending, err := w.write(batch([]byte("one"), []byte("two")))
	if pending || err != nil {
		t.Fatalf("pending %v, error %v", pending, err)
	}
	r := bufio.NewReader(peer)
	for _, want := range []string{"one", "two"} {
		if f, err := frames.Read(r); err != nil || f.Payload != want {
			t.Fatalf("got %q, %v; want %q", f.Payload, err, want)
		}
	}
}

func TestWhatTheSocketDoesNotTakeFollowsInOrderAndWholeFramesStayWhole(t *testing.T) {
	for _, kind := range []string{"tcp", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			server, peer := tcpPair(t)
			if kind == "pipe" { // no non-blocking write, as with TLS
				server, peer = net.Pipe()
			}
			w := newTestWire(server, 10*time.Second)
			const messages = 200
			var writers sync.WaitGroup
			writers.Go(func() {
				for i := range messages {
					w.put(t, fmt.Appendf(nil, "%d:%s", i, bytes.Repeat([]byte("x"), i*50)), fmt.Appendf(nil, "%d.", i))
				}
			})
			writers.Go(func() { // pings are answered at any time
				for range messages {
					if err := w.pong(); err != nil {
						t.Error(err)
					}
				}
			})
			go func() {
				writers.Wait()
				w.goodbye(1000, "")
				w.put(t, []byte("after the close frame"))
			}()
			r := bufio.NewReader(peer)
			var texts []string
			for {
				f, err := frames.Read(r)
				if err != nil {
					t.Fatal(err)
				}
				if f.Is(frames.Close) {
					break
				}
				if f.Is(frames.Text) {
					texts = append(texts, f.Payload)
				} else if f.Payload != "pong" {
					t.Fatalf("got %v", f)
				}
			}
			if len(texts) != 2*messages {
				t.Fatalf("%d messages before the close frame, want %d", len(texts), 2*messages)
			}
			for i := range messages {
				if a, b := texts[2*i], texts[2*i+1]; a[:len(b)] != fmt.Sprintf("%d:", i) || b != fmt.Sprintf("%d.", i) {
					t.Fatalf("message %d out of order: %.10q %q", i, a, b)
				}
			}
			_ = peer.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("after the close frame: %d bytes, %v", n, err)
			}
			server.Close()
			peer.Close()
		})
	}
}

func TestAPeerThatNeverReadsFailsTheWriteAfterTheWriteWait(t *testing.T) {
	server, _ := tcpPair(t)
	w := newTestWire(server, 50*time.Millisecond)
	big := bytes.Repeat([]byte("x"), 8<<20)
	pending, err := w.write(batch(big))
	if !pending || err != nil {
		t.Fatalf("pending %v, error %v", pending, err)
	}
	if err := <-w.results; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	if pending, err := w.write(batch([]byte("more"))); pending || err != nil {
		t.Fatalf("after the failure: pending %v, error %v", pending, err)
	}
}

// brittle is a net.Conn whose Write panics.
type brittle struct{ net.Conn }

func (brittle) Write([]byte) (int, error) { panic("a bad net.Conn") }

func TestANetConnThatPanicsFailsTheWrite(t *testing.T) {
	server, _ := tcpPair(t)
	w := newTestWire(brittle{server}, time.Second)
	if pending, err := w.write(batch([]byte("x"))); !pending || err != nil {
		t.Fatalf("pending %v, error %v", pending, err)
	}
	var pe *actors.PanicError
	if err := <-w.results; !errors.As(err, &pe) {
		t.Fatalf("error %v", err)
	}
}

func TestPongsForAPeerThatDoesNotReadAreBounded(t *testing.T) {
	server, peer := tcpPair(t)
	w := newTestWire(server, time.Minute)
	if pending, _ := w.write(batch(bytes.Repeat([]byte("x"), 8<<20))); !pending {
		t.Fatal("the socket took 8 MB")
	}
	for range 10_000 {
		if err := w.pong(); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		if err := <-w.results; err != nil {
			t.Error(err)
		}
		server.Close()
	}()
	pongs := 0
	for r := bufio.NewReader(peer); ; {
		f, err := frames.Read(r)
		if err != nil {
			break
		}
		if f.Is(frames.Pong) {
			pongs++
		}
	}
	if pongs == 0 || pongs*6 > 1024 {
		t.Fatalf("%d pongs of 6 bytes waited; they may take 1024", pongs)
	}
}

func TestAWriteDeadlineThatPassedDoesNotFailTheNextWrite(t *testing.T) {
	server, peer := tcpPair(t)
	const wait = 500 * time.Millisecond
	w := newTestWire(server, wait)
	pending, err := w.write(batch(bytes.Repeat([]byte("x"), 256<<10)))
	if !pending || err != nil {
		t.Fatalf("pending %v, error %v", pending, err)
	}
	go func() { _, _ = io.Copy(io.Discard, peer) }()
	if err := <-w.results; err != nil {
		t.Fatal(err)
	}
	<-time.After(wait + 10*time.Millisecond) // the deadline of that write is over now
	w.put(t, []byte("small"))
	peer.Close()
}

func BenchmarkWireBatchOf64(b *testing.B) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	defer l.Close()
	go func() {
		c, _ := l.Accept()
		_, _ = io.Copy(io.Discard, c)
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	results := make(chan error, 1)
	w := new(wire)
	w.encode = (*actors.Frame).WebSocket
	w.attach(conn, time.Second, actors.SharedPools().Streams(), func(err error) { results <- err })
	frames := batch(bytes.Split(bytes.Repeat([]byte("0123456789abcdef"), 64), []byte("f"))[:64]...)
	b.ReportAllocs()
	for b.Loop() {
		if pending, err := w.write(frames); err != nil {
			b.Fatal(err)
		} else if pending {
			<-results
		}
	}
}
