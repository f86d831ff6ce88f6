//go:build !unix

package actors

import (
	"syscall"
	"time"
)

func vitals(syscall.RawConn) Vitals { return Vitals{} }

func limitUnacknowledged(syscall.RawConn, time.Duration) {}
