//go:build !unix

package actors

// try writes nothing: without a non-blocking write every batch is a goroutine's.
func (s *Socket) try([]byte) (int, error) { return 0, nil }

func (s *Socket) tryOnce(uintptr) bool { return true }
