//go:build unix

package clientactor

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	wiretest "github.com/wskit/wskit/internal/wstest/wire"
)

func TestAReadThatASignalInterruptsIsMadeAgain(t *testing.T) {
	server, peer := tcpPair(t)
	w := newTestWire(server, time.Second)
	var interrupted atomic.Int32
	sysRead = func(fd int, p []byte) (int, error) {
		if interrupted.Add(1) <= 3 {
			return -1, syscall.EINTR
		}
		return syscall.Read(fd, p)
	}
	defer func() { sysRead = syscall.Read }()
	if _, err := peer.Write([]byte("something")); err != nil {
		t.Fatal(err)
	}
	w.await()
	if string(w.came) != "something" || w.err != nil {
		t.Errorf("%q, %v after %d reads", w.came, w.err, interrupted.Load())
	}
}

// The buffer goes back as soon as what was in it has been decoded, before anybody waits for more, and at the end.
func TestABufferIsKeptNoLongerThanThereIsSomethingInIt(t *testing.T) {
	server, peer := tcpPair(t)
	w := newTestWire(server, time.Second)
	w.limit = -1
	for name, c := range map[string]struct {
		in   []byte
		last byte // opcode of the last unit
	}{
		"a message":      {wiretest.Masked(wiretest.Text, "x"), opText},
		"a ping":         {wiretest.Masked(wiretest.Ping, "x"), 0},
		"half a message": {wiretest.Masked(wiretest.Text, "hello")[:8], 0},
	} {
		if _, err := peer.Write(c.in); err != nil {
			t.Fatal(err)
		}
		w.await()
		if w.buf == nil {
			t.Fatalf("%s: nothing has come", name)
		}
		for {
			u, err := w.unit()
			if err != nil {
				t.Fatal(err)
			}
			if u.opcode == c.last {
				break
			}
		}
		if w.buf != nil || w.came != nil {
			t.Errorf("%s: the buffer is kept", name)
		}
		w.decoder = decoder{limit: -1}
	}
	w.buf, w.came = new([inputBuffer]byte), []byte("left")
	w.recycle()
	if w.buf != nil || w.came != nil {
		t.Error("the buffer is kept at the end")
	}
}

// What is left of a large message is read into it.
func TestALargeMessageIsReadIntoItsOwnMemory(t *testing.T) {
	server, peer := tcpPair(t)
	w := newTestWire(server, time.Second)
	w.limit = -1
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() { _, _ = peer.Write(wiretest.Masked(wiretest.Text, string(want))) }()
	direct := 0
	for {
		w.await()
		direct += w.direct
		u, err := w.unit()
		if err != nil {
			t.Fatal(err)
		}
		if u.opcode == opText {
			if !bytes.Equal(u.payload, want) {
				t.Fatal("it is not what was sent")
			}
			break
		}
	}
	if direct < len(want)*9/10 {
		t.Errorf("%d bytes of %d", direct, len(want))
	}
}
