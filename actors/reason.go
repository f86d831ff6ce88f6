package actors

import (
	"fmt"
	"unicode/utf8"
)

// Reason says why a subscriber's connection ended. The set is closed: each has one close code (RFC 6455, section 7.4.1)
// and one text, and both appear on the wire, in events and in logs.
type Reason uint8

const (
	ReasonNone         Reason = iota // still open
	ReasonClosed                     // Close was called on the client
	ReasonUnregistered               // the hub was asked to unregister it
	ReasonShutdown                   // the hub is stopping
	ReasonContext                    // the context given at creation ended
	ReasonPeer                       // the peer closed or went away
	ReasonWrite                      // writing failed, or took longer than the write wait
	ReasonPing                       // the peer did not answer a ping within the write wait
	ReasonCrashed                    // the connection's actor or its message handler panicked
	ReasonRefused                    // the hub had no place for it in time
	ReasonSlow                       // it did not keep up, and is to be disconnected for that
	ReasonUnserved                   // it was accepted, and nobody reads from it or writes to it
	ReasonDisconnected               // the program ended it, or all of its user's, with a code of its own
	ReasonReplaced                   // its user has as many connections as may be, and opened another
	ReasonExpired                    // who it was let in for is not to be any more
	ReasonRate                       // it sent more messages than it may
	ReasonRestart                    // the hub is stopping, and its drain is spread
	ReasonMaxAge                     // it has lasted as long as it may
	Reasons
)

type wording struct {
	name string
	code uint16
	text string
}

var reasons = [...]wording{
	ReasonNone:         {"open", 1000, ""},
	ReasonClosed:       {"closed", 1000, ""},
	ReasonUnregistered: {"unregistered", 1000, ""},
	ReasonShutdown:     {"shutdown", 1001, "server is shutting down"},
	ReasonContext:      {"context ended", 1001, "going away"},
	ReasonPeer:         {"peer left", 1000, ""},
	ReasonWrite:        {"write failed", 1011, "write failed"},
	ReasonPing:         {"ping timeout", 1011, "ping timeout"},
	ReasonCrashed:      {"crashed", 1011, "internal error"},
	ReasonRefused:      {"refused", 1013, "try again later"},
	ReasonSlow:         {"slow consumer", 1013, "slow consumer"},
	ReasonUnserved:     {"not served", 1011, "internal error"},
	ReasonDisconnected: {"disconnected", 1000, ""},
	ReasonReplaced:     {"replaced", 4002, "replaced"},
	ReasonExpired:      {"expired", 4001, "expired"},
	ReasonRate:         {"too many messages", 1008, "too many messages"},
	ReasonRestart:      {"restart", 1012, "service restart"},
	ReasonMaxAge:       {"max age", 1012, "max age"},
}

func (r Reason) String() string { return r.at().name }

// Code is the WebSocket close code the peer is told.
func (r Reason) Code() uint16 { return r.at().code }

// ComesBack reports whether the peer is to come back soon, where there is somebody to come to.
func (r Reason) ComesBack() bool { return r == ReasonRestart || r == ReasonMaxAge }

// Text is the close reason the peer is told beside the code; it may be empty.
func (r Reason) Text() string { return r.at().text }

func (r Reason) at() wording {
	if int(r) < len(reasons) {
		return reasons[r]
	}
	return reasons[ReasonCrashed]
}

// Why is the close code and the text that the peer is told.
func (m *Close) Why() (code uint16, text string) {
	if m.Code != 0 {
		return m.Code, m.Text
	}
	return m.Reason.Code(), m.Reason.Text()
}

// Why is the close code and the text that the peer is told: those of the Close that began the end.
func (o *Outbox) Why() (code uint16, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why()
}

func (o *Outbox) why() (code uint16, text string) {
	if o.rare != nil && o.rare.closing != nil {
		return o.rare.closing.Why()
	}
	return o.reason.Code(), o.reason.Text()
}

// abnormal is the close code of a connection that ended without a close frame (RFC 6455, section 7.1.5).
const abnormal = 1006

// CloseCode is the close code with which it ended, sent or received; 0: it has none.
func (o *Outbox) CloseCode() uint16 {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.transport != TransportWebSocket {
		return 0
	}
	if o.reason == ReasonWrite {
		return abnormal
	}
	code, _ := o.why()
	return code
}

// CheckClose says with what a program may close a connection: the codes 1000 and 3000 to 4999 (RFC 6455, section 7.4), and a text of
// valid UTF-8, which CloseText cuts. Any other is ErrInvalidArgument.
func CheckClose(code int, text string) (uint16, string, error) {
	if code != 1000 && (code < 3000 || code > 4999) {
		return 0, "", fmt.Errorf("%w: close code %d is not 1000, nor 3000 to 4999", ErrInvalidArgument, code)
	}
	if !utf8.ValidString(text) {
		return 0, "", fmt.Errorf("%w: the reason of a close is not UTF-8", ErrInvalidArgument)
	}
	return uint16(code), CloseText(text), nil
}
