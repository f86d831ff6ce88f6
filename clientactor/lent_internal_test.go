package clientactor

import (
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/wskit/wskit/actors"
)

// What the library calls back while it writes, pings or closes is the user's, and runs on these goroutines.
func TestAGoroutineOfABorrowedConnectionSaysHowItEndedAndHarmsNobody(t *testing.T) {
	for name, c := range map[string]struct {
		fn   func() error
		want any // the value of a PanicError, or the error
	}{
		"panic":  {func() error { panic("boom") }, "boom"},
		"Goexit": {func() error { runtime.Goexit(); return nil }, "runtime.Goexit was called"},
		"error":  {func() error { return io.EOF }, io.EOF},
		"none":   {func() error { return nil }, nil},
	} {
		result := make(chan error, 1)
		new(lent).own(alone, c.fn, func(err error) { result <- err })
		var got any
		var pe *actors.PanicError
		if err := <-result; errors.As(err, &pe) {
			got = pe.Value
		} else if err != nil {
			got = err
		}
		if got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
