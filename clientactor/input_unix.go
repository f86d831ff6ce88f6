//go:build unix

package clientactor

import (
	"io"
	"os"
	"syscall"
)

// tryFill is called by the runtime with the descriptor; false has it wait until there is something to read.
func (in *input) tryFill(fd uintptr) bool {
	in.buf = inputBuffers.Get().(*[inputBuffer]byte)
	n, err := syscall.Read(int(fd), in.buf[:])
	for err == syscall.EINTR {
		n, err = syscall.Read(int(fd), in.buf[:])
	}
	if n > 0 {
		in.came, in.at = in.buf[:n], 0
		return true
	}
	in.recycle()
	switch err {
	case syscall.EAGAIN:
		return false
	case nil:
		in.err = io.EOF
	default:
		in.err = os.NewSyscallError("read", err)
	}
	return true
}
