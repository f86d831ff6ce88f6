package redisactor

import (
	"strconv"
	"strings"
	"time"

	"github.com/wskit/wskit/actors"
)

// magic is what messages of a hub with history begin with on their channel. No text begins so. Records follow, one or more of those that
// were published together, each a header, which is a line, and its payload. A stream has the same in each of its entries.
const magic = "\x00wskit1 "

// maxTag is how many bytes a tag may have.
const maxTag = 64

// record is a message with its place in the log. The header is, with a space between:
//
//	epoch n prev time messages bytes age sum tag flags length
//
// Times are in milliseconds, sum is how many bytes of payload the stream has had, and length how many this payload has; flags are "-", or
// "b" for a binary message, "n" for one of which the stream keeps but the header, or both.
type record struct {
	at      actors.Position
	prev    uint64 // as in a Placement
	time    time.Time
	history actors.History
	tag     string // of who has published it
	binary  bool
	bare    bool // the stream does not keep the payload
	payload string
}

// isRecord reports whether a payload is meant to be records.
func isRecord(payload string) bool { return strings.HasPrefix(payload, magic) }

// parseRecords reads what was published together. What isRecord and is none is malformed.
func parseRecords(payload string) (list []*record, ok bool) {
	rest, ok := strings.CutPrefix(payload, magic)
	for ok && rest != "" {
		var r *record
		var length int
		if r, length, rest, ok = parseHeader(rest); ok && length <= len(rest) {
			r.payload, rest = rest[:length], rest[length:]
			list = append(list, r)
		} else {
			return nil, false
		}
	}
	return list, len(list) > 0
}

// parseEntry reads what a stream has.
func parseEntry(text string) (*record, bool) {
	r, length, payload, ok := parseHeader(text)
	if !ok || len(payload) != length && !r.bare || r.bare && payload != "" {
		return nil, false
	}
	r.payload = payload
	return r, true
}

// parseHeader reads the line with which a record begins: all but the payload, and how long that is.
func parseHeader(text string) (r *record, length int, rest string, ok bool) {
	header, rest, ok := strings.Cut(text, "\n")
	if !ok {
		return nil, 0, "", false
	}
	const fields = 11
	var f [fields]string
	for i := range fields - 1 {
		if f[i], header, ok = strings.Cut(header, " "); !ok {
			return nil, 0, "", false
		}
	}
	f[fields-1] = header
	r = &record{tag: f[8]}
	if r.at, ok = actors.ParsePosition(f[0] + "." + f[1]); !ok || r.at.N == 0 || !isTag(r.tag) {
		return nil, 0, "", false
	}
	var numbers [7]uint64
	for i, text := range [...]string{f[2], f[3], f[4], f[5], f[6], f[7], f[10]} {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil || len(text) > 1 && text[0] == '0' || n > maxNumber[i] {
			return nil, 0, "", false
		}
		numbers[i] = n
	}
	r.prev, r.time = numbers[0], time.UnixMilli(int64(numbers[1]))
	r.history = actors.History{Messages: int(numbers[2]), Bytes: int(numbers[3]), Age: time.Duration(numbers[4]) * time.Millisecond}
	switch f[9] {
	case "-":
	case "b":
		r.binary = true
	case "n":
		r.bare = true
	case "bn":
		r.binary, r.bare = true, true
	default:
		return nil, 0, "", false
	}
	return r, int(numbers[6]), rest, r.prev < r.at.N && r.bare == (r.history.Messages == 0)
}

// maxNumber is how much the numbers of a header are at most, in its order.
var maxNumber = [...]uint64{1<<53 - 1, 1<<53 - 1, maxCount, maxCount, maxMillis, 1<<53 - 1, maxCount}

const (
	maxCount  = 1<<31 - 1
	maxMillis = 1 << 43 // what a time.Duration has room for
)

func isTag(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxTag
}

// flags is how a header says what a message is.
func flags(binary, bare bool) string {
	switch {
	case binary && bare:
		return "bn"
	case binary:
		return "b"
	case bare:
		return "n"
	}
	return "-"
}

// frame is the message without its place.
func (r *record) frame() *actors.Frame {
	if r.binary {
		return actors.NewBinaryFrame([]byte(r.payload))
	}
	return actors.NewFrame([]byte(r.payload))
}

// placement is its place, in a topic of that name.
func (r *record) placement(topic string) actors.Placement {
	return actors.Placement{Position: r.at, Prev: r.prev, Topic: topic, At: r.time, History: r.history}
}
