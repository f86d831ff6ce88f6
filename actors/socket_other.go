//go:build !unix

package actors

import (
	"net"
	"syscall"
)

// rawConn is nil: without it every batch is a goroutine's, and every reader waits with a buffer.
func rawConn(net.Conn) syscall.RawConn { return nil }

func (s *Socket) try([]byte) (int, error) { return 0, nil }

func (s *Socket) tryOnce(uintptr) bool { return true }
