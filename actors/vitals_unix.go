//go:build unix && !linux

package actors

import (
	"syscall"
	"time"
)

// vitals knows only whether something waits to be read: then more has come than when nothing did.
func vitals(raw syscall.RawConn) (v Vitals) {
	if raw == nil {
		return v
	}
	_ = raw.Control(func(fd uintptr) {
		var one [1]byte
		if n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK); err == nil && n > 0 {
			v.received = 1
		}
	})
	return v
}

func limitUnacknowledged(syscall.RawConn, time.Duration) {}
