package actors_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/wskit/wskit/actors"
)

func TestErrorsHaveTheTextsOfTheContractAndAreToldApart(t *testing.T) {
	equal(t, "text", actors.ErrHubStopped.Error(), "wskit: hub is stopped")
	equal(t, "text", actors.ErrFlusherNotSupported.Error(), "wskit: http.Flusher not supported")
	texts := map[string]bool{}
	for _, err := range []error{actors.ErrHubStopped, actors.ErrSendBufferFull, actors.ErrTimeout, actors.ErrFlusherNotSupported, actors.ErrRedisGap, actors.ErrLocalOnly} {
		if texts[err.Error()] || !strings.HasPrefix(err.Error(), "wskit: ") {
			t.Errorf("%q", err)
		}
		texts[err.Error()] = true
	}
}

func TestAFenceLetsCallsThatDoNotPanicThrough(t *testing.T) {
	ran := false
	must(t, actors.Fence("OnConnect", func() { ran = true }))
	equal(t, "ran", ran, true)
	must(t, actors.Fence("OnConnect", nil))
}

func TestAFenceTurnsAPanicIntoAnErrorWithItsStack(t *testing.T) {
	err := actors.Fence("OnConnect", func() { explode("boom") })
	var pe *actors.PanicError
	if !errors.As(err, &pe) {
		t.Fatalf("%#v", err)
	}
	equal(t, "op", pe.Op, "OnConnect")
	equal(t, "value", pe.Value, any("boom"))
	equal(t, "text", err.Error(), "wskit: panic in OnConnect: boom")
	if !strings.Contains(string(pe.Stack), "actors_test.explode") {
		t.Errorf("the stack is not the panic's:\n%s", pe.Stack)
	}
}

func TestErrorsIsAndAsSeeThroughAPanicError(t *testing.T) {
	err := actors.Fence("Send", func() { panic(fmt.Errorf("wrapped: %w", io.EOF)) })
	equal(t, "errors.Is", errors.Is(err, io.EOF), true)
	equal(t, "errors.Is of another", errors.Is(err, io.ErrUnexpectedEOF), false)
	err = actors.Fence("Send", func() { panic(&fs.PathError{Op: "open", Path: "x", Err: fs.ErrNotExist}) })
	var path *fs.PathError
	equal(t, "errors.As", errors.As(err, &path) && path.Path == "x", true)
	equal(t, "errors.Is through it", errors.Is(err, fs.ErrNotExist), true)
	equal(t, "of a value that is no error", errors.Unwrap(actors.Fence("Send", func() { panic(42) })), nil)
	err = actors.Fence("Send", func() { var p *int; *p = 1 })
	var fault runtime.Error
	equal(t, "a runtime error", errors.As(err, &fault), true)
}

func TestAPanicWithNilIsAPanicToo(t *testing.T) {
	err := actors.Fence("Send", func() { panic(nil) })
	var nilError *runtime.PanicNilError
	equal(t, "errors.As", errors.As(err, &nilError), true)
}

func TestTheInnermostFenceKeepsItsNameAndStack(t *testing.T) {
	inner := actors.Fence("inner", func() { explode("boom") })
	outer := actors.Fence("outer", func() { panic(inner) })
	if outer != inner {
		t.Errorf("%v became %v", inner, outer)
	}
	equal(t, "wrapped again", actors.NewPanicError("again", inner), inner.(*actors.PanicError))
}

func TestTraceSendsAPanicOnWithItsStackAndNothingElse(t *testing.T) {
	func() { defer actors.Trace("calm") }()
	err := actors.Fence("outer", func() {
		defer actors.Trace("worker")
		explode(io.EOF)
	})
	var pe *actors.PanicError
	if !errors.As(err, &pe) || pe.Op != "worker" || !errors.Is(err, io.EOF) {
		t.Fatalf("%#v", err)
	}
	if !strings.Contains(string(pe.Stack), "actors_test.explode") {
		t.Errorf("the stack is not the panic's:\n%s", pe.Stack)
	}
}

// runtime.Goexit, which t.FailNow calls, is not a panic: nothing is recovered, the deferred functions run, and the
// goroutine ends. A fence cannot hold it back, so user code must not call it on a goroutine that is not its own.
func TestGoexitGoesThroughAFenceAndEndsTheGoroutine(t *testing.T) {
	for name, call := range map[string]func(){
		"Fence": func() { _ = actors.Fence("OnConnect", runtime.Goexit) },
		"Trace": func() { defer actors.Trace("worker"); runtime.Goexit() },
	} {
		returned, ended := false, make(chan struct{})
		go func() {
			defer close(ended)
			call()
			returned = true
		}()
		<-ended
		equal(t, name+" returned", returned, false)
	}
}

func TestIsolateReportsWhatAFenceCannotHold(t *testing.T) {
	isolate := actors.NewRunner(0, false).Isolate
	var pe *actors.PanicError
	if err := isolate("OnConnect", runtime.Goexit); !errors.As(err, &pe) || pe.Op != "OnConnect" {
		t.Errorf("Goexit: %v", err)
	}
	if err := isolate("Send", func() { panic("boom") }); !errors.As(err, &pe) || pe.Value != "boom" || len(pe.Stack) == 0 {
		t.Errorf("panic: %v", err)
	}
	ran := false
	if err := isolate("Close", func() { ran = true }); err != nil || !ran {
		t.Errorf("ran %v, %v", ran, err)
	}
	if err := isolate("nil", nil); err != nil {
		t.Error(err)
	}
}

func TestACloseErrorIsFoundInAnotherAndSaysWhatItIs(t *testing.T) {
	err := fmt.Errorf("%w", &actors.CloseError{Code: 4000, Text: "bye"})
	var got *actors.CloseError
	if !errors.As(err, &got) || got.Code != 4000 || got.Text != "bye" {
		t.Fatalf("%+v", got)
	}
	equal(t, "text", err.Error(), `wskit: close with 4000 "bye"`)
	equal(t, "text of none", (*actors.CloseError)(nil).Error(), "wskit: nil CloseError")
}
