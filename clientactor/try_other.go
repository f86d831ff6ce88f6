//go:build !unix

package clientactor

// try writes nothing: without a non-blocking write every batch is a goroutine's.
func (w *wire) try([]byte) (int, error) { return 0, nil }

func (w *wire) tryOnce(uintptr) bool { return true }
