package actors

import (
	"errors"
	"reflect"
	"time"
)

// The defaults, each of which has its home here; the facade documents them under the same names.
const (
	DefaultWriteWait      = 10 * time.Second
	DefaultPingInterval   = 30 * time.Second
	DefaultMaxMessageSize = 512
	DefaultSendBufSize    = 256
	DefaultBroadcastBuf   = 256
	DefaultRegisterBuf    = 64
	DefaultChannelTimeout = 5 * time.Second
	DefaultDrainTimeout   = 5 * time.Second
	DefaultMaxTopics      = 128
	DefaultUserLockout    = 10 * time.Second
)

// Linger is how long a socket may take to end when its subscriber has ended and no deadline was given: to write what was queued, tell
// the peer and hear from it. The subscriber itself is gone at once.
const Linger = 5 * time.Second

// ErrInvalidSubscriber: what was to be registered is nil, a nil pointer, or cannot be told from others by ==.
var ErrInvalidSubscriber = errors.New("wskit: subscriber is nil or not comparable")

// CheckSubscriber returns ErrInvalidSubscriber for what a hub cannot keep: nil, a nil pointer in an interface, or a
// value that == would panic on.
func CheckSubscriber(s Subscriber) error {
	if s == nil {
		return ErrInvalidSubscriber
	}
	v := reflect.ValueOf(s)
	switch v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice:
		if v.IsNil() {
			return ErrInvalidSubscriber
		}
	}
	if !v.Comparable() {
		return ErrInvalidSubscriber
	}
	return nil
}
