//go:build unix

package clientactor

import "syscall"

// try writes as much of p as the socket takes at once.
func (w *wire) try(p []byte) (n int, err error) {
	if w.raw == nil {
		return 0, nil
	}
	w.trying = p
	if err := w.raw.Write(w.tryFn); err != nil {
		return 0, err
	}
	w.trying = nil
	switch w.tryErr {
	case nil:
		return w.tried, nil
	case syscall.EAGAIN, syscall.EINTR:
		return 0, nil
	}
	return 0, w.tryErr
}

// tryOnce is called by the runtime with the descriptor; true means that it shall not wait for the socket.
func (w *wire) tryOnce(fd uintptr) bool {
	w.tried, w.tryErr = syscall.Write(int(fd), w.trying)
	return true
}
