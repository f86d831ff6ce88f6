package sseactor

import (
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// look calls those whose connection is found.
func look(wanted map[ends][]func(fd int)) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return
	}
	defer dir.Close()
	for left := len(wanted); left > 0; {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			fd, err := strconv.Atoi(name)
			if err != nil || wanted[peek(fd)] == nil {
				continue
			}
			duplicate(fd, func(fd int) {
				e := peek(fd) // the number may be another connection's by now
				for _, fn := range wanted[e] {
					fn(fd)
				}
				delete(wanted, e)
			})
			left = len(wanted)
		}
		if err != nil {
			return
		}
	}
}

// peek is the ends of a descriptor's connection; zero if it is none.
func peek(fd int) (e ends) {
	remote, err := unix.Getpeername(fd)
	if err != nil {
		return ends{}
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return ends{}
	}
	return ends{addrPort(local), addrPort(remote)}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// duplicate calls fn with a duplicate of fd.
func duplicate(fd int, fn func(fd int)) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(own)
	fn(own)
}

// limitUnacknowledged has the kernel give the connection up when what was sent has not been acknowledged for d.
func limitUnacknowledged(fd int, d time.Duration) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
}

// shutDown ends the connection, and fails whoever writes to it.
func shutDown(fd int) { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }
