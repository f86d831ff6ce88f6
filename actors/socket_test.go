package actors_test

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
)

// pair is a connection over loopback.
func pair(t *testing.T) (server, peer *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	dialled, err := net.Dial("tcp", l.Addr().String())
	must(t, err)
	accepted, err := l.Accept()
	must(t, err)
	t.Cleanup(func() { accepted.Close(); dialled.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}

// conn is a net.Conn that is written to by a function.
type conn struct {
	net.Conn
	write func([]byte) (int, error)
}

func (c conn) Write(p []byte) (int, error)      { return c.write(p) }
func (c conn) SetWriteDeadline(time.Time) error { return nil }

// attached is a Socket and what it reports.
func attached(c net.Conn, wait time.Duration) (s *actors.Socket, reports chan error) {
	s, reports = new(actors.Socket), make(chan error, 8)
	s.Attach(c, wait, actors.SharedPools().Streams(), func(err error) { reports <- err })
	return s, reports
}

func bytesOf(text string) actors.Gathered { return actors.Gathered{Bytes: []byte(text)} }

// report waits for one.
func report(t *testing.T, reports <-chan error) error {
	t.Helper()
	select {
	case err := <-reports:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("nothing is reported")
		return nil
	}
}

// silent fails if there is another report.
func silent(t *testing.T, reports <-chan error) {
	t.Helper()
	select {
	case err := <-reports:
		t.Errorf("reported as well: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
}

func TestAControlUnitThatMeetsABrokenConnectionSaysSoAndIsTheLast(t *testing.T) {
	server, peer := pair(t)
	s, _ := attached(server, time.Second)
	must(t, peer.SetLinger(0))
	must(t, peer.Close())
	var err error
	for end := time.Now().Add(5 * time.Second); err == nil && time.Now().Before(end); {
		err = s.Control([]byte("ping"), false)
	}
	if err == nil {
		t.Fatal("no error of a connection that was reset")
	}
	if pending, err := s.Send(bytesOf("more")); pending || err != nil {
		t.Errorf("then: pending %v, %v; want nothing written", pending, err)
	}
}

func TestAFailedWriteIsReportedOnceWhateverItWasOf(t *testing.T) {
	broken := errors.New("broken")
	for name, batch := range map[string]bool{"control bytes": false, "control bytes with a batch behind": true} {
		t.Run(name, func(t *testing.T) {
			hold, begun := make(chan struct{}), make(chan struct{}, 1)
			s, reports := attached(conn{write: func([]byte) (int, error) {
				begun <- struct{}{}
				<-hold
				return 0, broken
			}}, time.Minute)
			must(t, s.Control([]byte("pong"), false))
			<-begun
			if batch {
				if pending, err := s.Send(bytesOf("a batch")); !pending || err != nil {
					t.Fatalf("pending %v, %v", pending, err)
				}
			}
			close(hold)
			if err := report(t, reports); err != broken {
				t.Errorf("reported %v", err)
			}
			silent(t, reports)
		})
	}
}

func TestANetConnThatEndsTheGoroutineFailsTheWrite(t *testing.T) {
	s, reports := attached(conn{write: func([]byte) (int, error) { runtime.Goexit(); return 0, nil }}, time.Minute)
	if pending, err := s.Send(bytesOf("a batch")); !pending || err != nil {
		t.Fatalf("pending %v, %v", pending, err)
	}
	var crash *actors.PanicError
	if err := report(t, reports); !errors.As(err, &crash) {
		t.Errorf("reported %v", err)
	}
	if s.Idle() != nil {
		t.Error("the socket is busy for ever")
	}
}

// A write is given up when nothing moves, and not while something does, however long that takes in all.
func TestAWriteIsGivenUpWhenNothingHasMovedForTheWriteWait(t *testing.T) {
	const wait = 200 * time.Millisecond
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"TCP":      func(c net.Conn) net.Conn { return c },
		"embedded": func(c net.Conn) net.Conn { return struct{ net.Conn }{c} },
	} {
		t.Run(name, func(t *testing.T) {
			server, peer := pair(t)
			must(t, server.SetWriteBuffer(64<<10))
			must(t, peer.SetReadBuffer(64<<10))
			s, reports := attached(wrap(server), wait)
			const size = 2 << 20
			began := time.Now()
			if pending, err := s.Send(actors.Gathered{Bytes: make([]byte, size)}); !pending || err != nil {
				t.Fatalf("pending %v, %v", pending, err)
			}
			for read, part := 0, make([]byte, 16<<10); read < size/2; { // a second
				n, err := peer.Read(part)
				must(t, err)
				read += n
				<-time.After(time.Until(began.Add(time.Duration(read) * time.Second / (size / 2))))
			}
			silent(t, reports)
			began = time.Now()
			if err := report(t, reports); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("reported %v", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("given up after %v", took)
			}
			_ = server.Close()
			_, _ = io.Copy(io.Discard, peer)
		})
	}
}
