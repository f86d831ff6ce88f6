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
		// Fields that an older kernel does not know stay zero: bytes since 4.1, unsent since 4.6, the window since 5.4.
		if i, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			v = Vitals{known: true, received: i.Bytes_received, acked: i.Bytes_acked, window: i.Snd_wnd, unsent: i.Notsent_bytes > 0}
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
