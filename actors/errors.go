package actors

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// The errors of wskit. The facade exports them again under the same names, and says what each means.
var (
	ErrHubStopped          = errors.New("wskit: hub is stopped")
	ErrHubFailed           = errors.New("wskit: hub has failed")
	ErrSendBufferFull      = errors.New("wskit: send buffer is full")
	ErrTimeout             = errors.New("wskit: timed out waiting for the hub's queue")
	ErrTooManySubscribers  = errors.New("wskit: too many subscribers")
	ErrInvalidArgument     = errors.New("wskit: invalid argument")
	ErrNotRegistered       = errors.New("wskit: subscriber is not registered")
	ErrInvalidTopic        = errors.New("wskit: invalid name of a topic or user")
	ErrTooManyTopics       = errors.New("wskit: too many topics")
	ErrTooManyConnections  = errors.New("wskit: too many connections of one user")
	ErrLockedOut           = errors.New("wskit: the user is locked out")
	ErrFlusherNotSupported = errors.New("wskit: http.Flusher not supported")
	ErrRedisGap            = errors.New("wskit: redis subscription was interrupted, messages of other instances may be missing")
	ErrNoHistory           = errors.New("wskit: the hub keeps no history")
	ErrUnknownOutcome      = errors.New("wskit: nobody knows whether redis has taken the message")
	ErrNotTaken            = errors.New("wskit: redis has not taken the message, and nobody gets it")
	ErrTooManyResumes      = errors.New("wskit: too many subscribers resume at a time")
	ErrInvalidTenant       = errors.New("wskit: invalid name of a tenant")
	ErrTooManyTenants      = errors.New("wskit: too many tenants")
	ErrTenantFailed        = errors.New("wskit: the tenant's hub has failed")
	ErrLocalOnly           = errors.New("wskit: delivered to this hub's own subscribers only")
)

// MissedDropsError says how many dropped messages OnDrop was not called for, since too many of its calls waited.
type MissedDropsError struct{ Count int }

func (e *MissedDropsError) Error() string {
	return fmt.Sprintf("wskit: OnDrop was not called for %d more dropped messages: too many of its calls waited", e.Count)
}

// TenantFailedError says that a tenant's hub was given up, and when it is made anew at its next use.
type TenantFailedError struct {
	Name  string
	Until time.Time
	Err   error // what it was given up for
}

func (e *TenantFailedError) Error() string {
	return fmt.Sprintf("%v: tenant %.80q, until %v: %v", ErrTenantFailed, e.Name, e.Until.Format(time.RFC3339), e.Err)
}

// Unwrap has errors.Is find ErrTenantFailed, and ErrHubStopped: as long as it says, the hub is.
func (e *TenantFailedError) Unwrap() []error { return []error{ErrTenantFailed, ErrHubStopped, e.Err} }

// CloseError is what the handler of a client's messages returns to end the connection with a close code and a text of its own. It
// is no failure, and is not reported. Code is one that may be sent (RFC 6455, section 7.4): 1000 to 1003, 1007 to 1014 or 3000 to
// 4999; an error with another is like any other. Of Text the peer is told what CloseText leaves.
type CloseError struct {
	Code uint16
	Text string
}

func (e *CloseError) Error() string {
	if e == nil {
		return "wskit: nil CloseError"
	}
	return fmt.Sprintf("wskit: close with %d %q", e.Code, e.Text)
}

// PanicError is what a recovered panic is reported as.
type PanicError struct {
	Op    string // where it happened: "OnConnect", "Send", an actor's name
	Value any    // what was passed to panic
	Stack []byte // of the goroutine that panicked, at the panic
}

func (e *PanicError) Error() string { return fmt.Sprintf("wskit: panic in %s: %v", e.Op, e.Value) }

// Unwrap returns the panic's value when it was an error, so that errors.Is and errors.As see through it.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Fence runs fn, which is user code, and turns a panic into a *PanicError. A nil fn is not an error.
func Fence(op string, fn func()) (err error) {
	if fn == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = NewPanicError(op, v)
		}
	}()
	fn()
	return nil
}

// NewGoexitError is the error for user code that ended its goroutine.
func NewGoexitError(op string) error { return &PanicError{Op: op, Value: "runtime.Goexit was called"} }

// NewPanicError wraps a recovered value; called in the deferred function that recovered it, it holds the panic's stack.
// A value that is a *PanicError already is returned as it is: its stack is nearer to the cause.
func NewPanicError(op string, v any) *PanicError {
	if pe, ok := v.(*PanicError); ok {
		return pe
	}
	return &PanicError{Op: op, Value: v, Stack: debug.Stack()}
}

// Trace is deferred at the top of an actor's Receive. It lets a panic go on its way to the supervisor with the stack in
// it; protoactor hands on the bare value only.
func Trace(op string) {
	if v := recover(); v != nil {
		panic(NewPanicError(op, v))
	}
}
