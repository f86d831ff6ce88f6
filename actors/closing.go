package actors

import (
	"fmt"
	"unicode/utf8"
)

// maxReason is the longest text of a close frame, in bytes: RFC 6455, section 5.5.1.
const maxReason = maxControl - 2

// CheckClose says with what a program may close a connection: the codes 1000 and 3000 to 4999 (RFC 6455, section 7.4), and a text of
// valid UTF-8, which is cut after 123 bytes at most, between two characters. Any other is ErrInvalidArgument.
func CheckClose(code int, text string) (uint16, string, error) {
	if code != 1000 && (code < 3000 || code > 4999) {
		return 0, "", fmt.Errorf("%w: close code %d is not 1000, nor 3000 to 4999", ErrInvalidArgument, code)
	}
	if !utf8.ValidString(text) {
		return 0, "", fmt.Errorf("%w: the reason of a close is not UTF-8", ErrInvalidArgument)
	}
	if len(text) > maxReason {
		end := maxReason
		for !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	return uint16(code), text, nil
}
