//go:build unix

package actors

import (
	"net"
	"syscall"
)

// rawConn is the way to conn's descriptor; nil when there is none, or none that means the same as conn's own methods.
func rawConn(conn net.Conn) (raw syscall.RawConn) {
	switch c := conn.(type) { // not whatever has a SyscallConn: a type around these may do more in its Write
	case *net.TCPConn:
		raw, _ = c.SyscallConn()
	case *net.UnixConn:
		raw, _ = c.SyscallConn()
	}
	return raw
}

// try writes as much of p as the kernel takes at once. The lock is held.
func (s *Socket) try(p []byte) (n int, err error) {
	if !s.direct {
		return 0, nil
	}
	s.trying = p
	if err := s.tcp.Write(s.tryFn); err != nil {
		return 0, err
	}
	s.trying = nil
	switch s.tryErr {
	case nil:
		return s.tried, nil
	case syscall.EAGAIN, syscall.EINTR:
		return 0, nil
	}
	return 0, s.tryErr
}

// tryOnce is called by the runtime with the descriptor; true means that it shall not wait for the socket.
func (s *Socket) tryOnce(fd uintptr) bool {
	s.tried, s.tryErr = syscall.Write(int(fd), s.trying)
	return true
}
