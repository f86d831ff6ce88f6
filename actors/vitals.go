package actors

import (
	"net"
	"reflect"
	"syscall"
	"time"
)

// Vitals is what the kernel knows about the other end of a TCP connection at one moment. Where it is not asked, or does not
// know, it is the zero value.
type Vitals struct {
	known    bool          // the other fields are
	received uint64        // bytes, read or not
	acked    uint64        // bytes
	sent     uint64        // bytes, acknowledged or not
	unsent   uint64        // bytes that wait: the peer, or the network, does not take them at once
	window   uint32        // bytes that the peer has room for
	noRoom   time.Duration // in which there was something to send for which the peer had no room
}

// MovedSince reports whether something has happened since then that shows somebody who reads or writes: bytes have come, read or
// not; the peer has made room; or the peer takes what it can, of what was written by then or for want of room. That its kernel
// acknowledges more, for which it had room, shows nobody: it does so for a program that has stopped.
func (v Vitals) MovedSince(then Vitals) bool {
	takes := v.acked > then.acked && (v.acked <= then.sent+then.unsent || v.noRoom > then.noRoom)
	return v.received > then.received || v.window > then.window || takes
}

// UserTimeout is how long data that was sent may be unacknowledged before the kernel gives the connection up, where it can
// (TCP_USER_TIMEOUT: RFC 5482), or the write wait if that is longer. Without it that takes a quarter of an hour, since TCP's keep-alive pauses meanwhile.
const UserTimeout = 30 * time.Second

// maxWraps bounds how deep a TCP connection is looked for.
const maxWraps = 8

// underlying is the way to the TCP connection in conn, whatever is wrapped around it; nil if there is none that can be found.
// It is for questions and options alone: nothing is read or written past what is wrapped around.
func underlying(conn net.Conn) (raw syscall.RawConn) {
	_ = Fence("net.Conn", func() { // of a listener of the user's, perhaps
		for range maxWraps {
			switch c := conn.(type) {
			case nil:
				return
			case interface{ NetConn() net.Conn }: // tls.Conn has it
				conn = c.NetConn()
			case syscall.Conn:
				raw, _ = c.SyscallConn()
				return
			default:
				conn = embedded(conn)
			}
		}
	})
	return raw
}

// embedded is the net.Conn that a struct embeds, as most that are wrapped around one do; nil if it does not.
func embedded(conn net.Conn) net.Conn {
	v := reflect.Indirect(reflect.ValueOf(conn))
	if v.Kind() != reflect.Struct {
		return nil
	}
	f := v.FieldByName("Conn")
	if !f.IsValid() || !f.CanInterface() {
		return nil
	}
	within, _ := f.Interface().(net.Conn)
	return within
}
