//go:build !unix

package clientactor

func (*input) tryFill(uintptr) bool { return true } // not called: there is no Socket.Raw
