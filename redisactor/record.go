package redisactor

import (
	"strconv"
	"strings"
	"time"

	"github.com/wskit/wskit/actors"
)

// magic is what a message of a hub with history begins with on its channel. No text begins so. A line follows, which is its header, and
// then the payload. Its stream has the same header and the same payload.
const magic = "\x00wskit1 "

// maxTag is how many bytes a tag may have.
const maxTag = 64

// record is a message with its place in the log. The header is, with a space between:
//
//	epoch n prev time messages bytes age tag flags
//
// Times are in milliseconds; flags are "-", or "b" for a binary message, "n" for one of which the stream keeps but the header, or both.
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

// isRecord reports whether a payload is meant to be a record.
func isRecord(payload string) bool { return strings.HasPrefix(payload, magic) }

// parseRecord reads one. What isRecord and is none is malformed.
func parseRecord(payload string) (*record, bool) {
	text, ok := strings.CutPrefix(payload, magic)
	if !ok {
		return nil, false
	}
	header, payload, ok := strings.Cut(text, "\n")
	if !ok {
		return nil, false
	}
	return parseHeader(header, payload)
}

func parseHeader(header, payload string) (*record, bool) {
	const fields = 9
	var f [fields]string
	for i := range fields - 1 {
		var ok bool
		if f[i], header, ok = strings.Cut(header, " "); !ok {
			return nil, false
		}
	}
	f[fields-1] = header
	r := &record{tag: f[7], payload: payload}
	var ok bool
	if r.at, ok = actors.ParsePosition(f[0] + "." + f[1]); !ok || r.at.N == 0 || !isTag(r.tag) {
		return nil, false
	}
	var numbers [5]uint64
	for i := range numbers {
		n, err := strconv.ParseUint(f[2+i], 10, 64)
		if err != nil || len(f[2+i]) > 1 && f[2+i][0] == '0' || n > maxNumber[i] {
			return nil, false
		}
		numbers[i] = n
	}
	r.prev, r.time = numbers[0], time.UnixMilli(int64(numbers[1]))
	r.history = actors.History{Messages: int(numbers[2]), Bytes: int(numbers[3]), Age: time.Duration(numbers[4]) * time.Millisecond}
	switch f[8] {
	case "-":
	case "b":
		r.binary = true
	case "n":
		r.bare = true
	case "bn":
		r.binary, r.bare = true, true
	default:
		return nil, false
	}
	return r, r.prev < r.at.N && r.bare == (r.history.Messages == 0)
}

// maxNumber is how much the numbers of a header are at most, in its order.
var maxNumber = [...]uint64{1<<53 - 1, 1<<53 - 1, maxCount, maxCount, maxMillis}

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
