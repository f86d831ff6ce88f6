//go:build unix

package clientactor

import (
	"io"
	"os"
	"syscall"
)

// sysRead is a variable so that a test can have it interrupted.
var sysRead = syscall.Read

// tryFill is called by the runtime with the descriptor; false has it wait until there is something to read.
func (in *input) tryFill(fd uintptr) bool {
	p := in.into
	if p == nil {
		in.buf = inputBuffers.Get().(*[inputBuffer]byte)
		p = in.buf[:]
	}
	n, err := sysRead(int(fd), p)
	for err == syscall.EINTR {
		n, err = sysRead(int(fd), p)
	}
	if n > 0 {
		in.filled(p[:n])
		return true
	}
	in.recycle()
	switch err {
	case syscall.EAGAIN:
		return !in.waits
	case nil:
		in.err = io.EOF
	default:
		in.err = os.NewSyscallError("read", err)
	}
	return true
}
