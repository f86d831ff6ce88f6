package actors

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func vitals(raw syscall.RawConn) (v Vitals) {
	if raw == nil {
		return v
	}
	_ = raw.Control(func(fd uintptr) {
		// Fields that an older kernel does not know stay zero: what came and was acknowledged since 4.1, what was sent and the
		// time without room since 4.19, the window since 5.4.
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			v = Vitals{known: true, received: i.Bytes_received, acked: i.Bytes_acked, window: i.Snd_wnd,
				sent: i.Bytes_sent - i.Bytes_retrans, unsent: uint64(i.Notsent_bytes), noRoom: time.Duration(i.Rwnd_limited) * time.Microsecond}
		}
	})
	return v
}

func limitUnacknowledged(raw syscall.RawConn, d time.Duration) {
	if raw == nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds())) // no TCP connection: none needed
	})
}
