package wstest

import "github.com/wskit/wskit/internal/wstest/wire"

// Frame is one WebSocket frame; see package wire, which tests inside of the packages use.
type (
	Frame  = wire.Frame
	Opcode = wire.Opcode
)

// The opcodes and reserved bits of RFC 6455.
const (
	Continuation = wire.Continuation
	Text         = wire.Text
	Binary       = wire.Binary
	Close        = wire.Close
	Ping         = wire.Ping
	Pong         = wire.Pong

	RSV1 = wire.RSV1
	RSV2 = wire.RSV2
	RSV3 = wire.RSV3

	NoCode = wire.NoCode
)

// Whole is a frame that is a message by itself, or a control frame.
func Whole(op Opcode, payload string) Frame { return wire.Whole(op, payload) }

// Fragments is a message in as many frames as there are parts.
func Fragments(op Opcode, parts ...string) []Frame { return wire.Fragments(op, parts...) }

// CloseWith is a close frame.
func CloseWith(code int, reason string) Frame { return wire.CloseWith(code, reason) }

// Masked is a whole frame as a client sends it.
func Masked(op Opcode, payload string) []byte { return wire.Masked(op, payload) }

// Masks is frames one behind the other as a client sends them.
func Masks(frames ...Frame) []byte { return wire.Masks(frames...) }
