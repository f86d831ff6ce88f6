package clientactor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/wskit/wskit/actors"
)

// violation is what a peer has done against the protocol, or beyond a limit: reading ends with it, and the peer is told.
type violation struct {
	code  websocket.StatusCode
	text  string // for the peer: a constant, no longer than a close frame's reason may be
	cause error  // nil: nothing but this
}

func (v *violation) Error() string {
	return fmt.Sprintf("wskit: %s, closed with %d", v.text, int(v.code))
}

func (v *violation) Unwrap() error { return v.cause }

var (
	errReservedBits = &violation{code: websocket.StatusProtocolError, text: "reserved bits are set"}
	errOpcode       = &violation{code: websocket.StatusProtocolError, text: "unknown opcode"}
	errUnmasked     = &violation{code: websocket.StatusProtocolError, text: "frame is not masked"}
	errLength       = &violation{code: websocket.StatusProtocolError, text: "frame length is not valid"}
	errControl      = &violation{code: websocket.StatusProtocolError, text: "control frame is fragmented or too long"}
	errContinuation = &violation{code: websocket.StatusProtocolError, text: "continuation of no message"}
	errInterrupted  = &violation{code: websocket.StatusProtocolError, text: "message within a message"}
	errCloseCode    = &violation{code: websocket.StatusProtocolError, text: "close code is not valid"}
	errCloseReason  = &violation{code: websocket.StatusProtocolError, text: "close reason is not UTF-8"}
	errText         = &violation{code: websocket.StatusInvalidFramePayloadData, text: "text is not UTF-8"}
	errDeflate      = &violation{code: websocket.StatusInvalidFramePayloadData, text: "compressed message is broken"}
	errTooBig       = &violation{code: websocket.StatusMessageTooBig, text: "message is too big", cause: websocket.ErrMessageTooBig}
)

// errLeft ends reading when the peer's stream does, in the middle of a message or not.
var errLeft = errors.New("wskit: the peer has left without a close frame")

// parseClose is what the payload of a close frame says: 1005 if nothing (RFC 6455, sections 5.5.1 and 7.4).
func parseClose(p []byte) (websocket.CloseError, error) {
	if len(p) == 0 {
		return websocket.CloseError{Code: websocket.StatusNoStatusRcvd}, nil
	}
	if len(p) < 2 || !validCloseCode(binary.BigEndian.Uint16(p)) {
		return websocket.CloseError{}, errCloseCode
	}
	if !utf8.Valid(p[2:]) {
		return websocket.CloseError{}, errCloseReason
	}
	return websocket.CloseError{Code: websocket.StatusCode(binary.BigEndian.Uint16(p)), Reason: string(p[2:])}, nil
}

// validCloseCode reports whether a peer may send the code: the protocol's own, those that IANA has registered since, and
// those that applications choose.
func validCloseCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// closeFrame is the close frame with a code and a reason; with 1005, the empty one.
func closeFrame(code websocket.StatusCode, reason string) []byte {
	if code == websocket.StatusNoStatusRcvd {
		return actors.ControlFrame(opClose, nil)
	}
	return actors.ControlFrame(opClose, append(binary.BigEndian.AppendUint16(nil, uint16(code)), reason...))
}

// farewell is the close frame that answers what reading ended with; nil if there is nobody to be answered. A close frame
// is echoed (RFC 6455, section 5.5.1).
func farewell(failure error) []byte {
	var crash *actors.PanicError
	if errors.As(failure, &crash) {
		return nil // the actor has its own word for that
	}
	var v *violation
	if errors.As(failure, &v) {
		return closeFrame(v.code, v.text)
	}
	var peers websocket.CloseError
	if errors.As(failure, &peers) {
		return closeFrame(peers.Code, peers.Reason)
	}
	return nil
}

// closeCode is the close code that reading ended with: the peer's, that of its answer, or 1006 if there was none.
func closeCode(failure error) uint16 {
	var crash *actors.PanicError
	var v *violation
	var peers websocket.CloseError
	switch {
	case errors.As(failure, &crash):
	case errors.As(failure, &v):
		return uint16(v.code)
	case errors.As(failure, &peers):
		return uint16(peers.Code)
	}
	return uint16(websocket.StatusAbnormalClosure)
}
