package redisactor

import (
	"strconv"
	"strings"
	"time"

	"github.com/wskit/wskit/actors"
)

// magic is what messages of a hub with history begin with on their channel. No text begins so. A group follows: messages that were published
// together. A stream has the same text in each of its entries, whose id is the position of the last of them.
const magic = "\x00wskit1 "

// maxGroupBytes is how many bytes of payload a group has at most, unless it is one message.
const maxGroupBytes = 32 << 10

// maxTag is how many bytes a tag may have.
const maxTag = 64

// record is a message with its place in the log. A group has a header, which is a line with a space between
//
//	epoch n prev time messages bytes age sum total mixed size count
//
// and then count messages, each a line and its payload:
//
//	tag flags length
//
// n is the position of the last one; those before it have the positions before that. Times are in milliseconds. sum is how many bytes of
// payload the stream has had, total how many messages, and mixed what that was when the last group came that was no single message within
// its share of bytes/messages, or other bounds than those before. size is how many bytes of payload the group has, and length how many the
// message; flags are "b" for a binary message, else "-". Where no messages are kept a stream has no payload, and groups of one.
type record struct {
	at      actors.Position
	prev    uint64 // as in a Placement
	time    time.Time
	history actors.History
	tag     string // of who has published it
	binary  bool
	bare    bool // the stream does not keep payloads
	payload string
}

// isRecord reports whether a payload is meant to be records.
func isRecord(payload string) bool { return strings.HasPrefix(payload, magic) }

// parseRecords reads a group, as it is published or as it is stored. What isRecord and is none is malformed.
func parseRecords(text string, stored bool) (list []record, ok bool) {
	if text, ok = strings.CutPrefix(text, magic); !ok {
		return nil, false
	}
	header, rest, ok := strings.Cut(text, "\n")
	if !ok {
		return nil, false
	}
	var epoch string
	if epoch, header, ok = strings.Cut(header, " "); !ok {
		return nil, false
	}
	var f [len(maxNumber)]uint64
	for i, most := range maxNumber {
		var field string
		if field, header, ok = strings.Cut(header, " "); ok == (i == len(f)-1) {
			return nil, false
		}
		if f[i], ok = parseNumber(field, most); !ok {
			return nil, false
		}
	}
	n, prev, size, count := f[0], f[1], f[9], f[10]
	at, ok := actors.ParsePosition(epoch + ".0")
	bare := f[3] == 0
	if !ok || count == 0 || bare && count > 1 || count > uint64(len(rest)) || n < count || prev > n-count {
		return nil, false
	}
	list = make([]record, count)
	for i := range list {
		r := &list[i]
		at.N = n - count + 1 + uint64(i)
		r.at, r.prev, r.time, r.bare = at, prev, time.UnixMilli(int64(f[2])), bare
		r.history = actors.History{Messages: int(f[3]), Bytes: int(f[4]), Age: time.Duration(f[5]) * time.Millisecond}
		prev = at.N
		var length int
		if length, rest, ok = r.parseLine(rest); !ok || uint64(length) > size {
			return nil, false
		}
		size -= uint64(length)
		if stored && bare {
			continue
		}
		if length > len(rest) {
			return nil, false
		}
		r.payload, rest = rest[:length], rest[length:]
	}
	if size > 0 || rest != "" {
		return nil, false
	}
	return list, true
}

// parseLine reads the line with which a message of a group begins, and returns how long its payload is.
func (r *record) parseLine(text string) (length int, rest string, ok bool) {
	line, rest, ok := strings.Cut(text, "\n")
	if !ok {
		return 0, "", false
	}
	tag, line, _ := strings.Cut(line, " ")
	flags, number, _ := strings.Cut(line, " ")
	n, ok := parseNumber(number, maxCount)
	r.tag, r.binary = tag, flags == "b"
	return int(n), rest, ok && isTag(tag) && (r.binary || flags == "-")
}

// parseNumber reads a number without leading zeros that is at most that.
func parseNumber(s string, most uint64) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= most && (len(s) == 1 || s[0] != '0')
}

// maxNumber is how much the numbers of a header are at most, in its order.
var maxNumber = [...]uint64{
	maxPosition, maxPosition, maxPosition, maxCount, maxCount, maxMillis, maxPosition, maxPosition, maxPosition, maxCount, maxCount,
}

const (
	maxCount    = 1<<31 - 1
	maxMillis   = 1 << 43   // what a time.Duration has room for
	maxPosition = 1<<53 - 1 // what a number of a script has
)

func isTag(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '.' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= maxTag
}

// appendLine appends the line with which a message of a group begins.
func appendLine(to []byte, tag string, binary bool, length int) []byte {
	flags := " - "
	if binary {
		flags = " b "
	}
	return append(strconv.AppendInt(append(append(to, tag...), flags...), int64(length), 10), '\n')
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
