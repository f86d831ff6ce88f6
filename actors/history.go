package actors

import (
	"crypto/rand"
	"encoding/base32"
	"strconv"
	"strings"
	"time"
)

// Defaults of a History, and bounds of a resume.
const (
	DefaultHistoryMessages = 100
	DefaultHistoryBytes    = 1 << 20
	DefaultHistoryAge      = 5 * time.Minute

	// MaxResume and MaxResumeBytes bound what a subscriber that comes back gets of what it missed, in messages and in bytes of payload.
	MaxResume      = 300
	MaxResumeBytes = 1 << 20

	// ResumeTimeout is how long a resume waits for Redis before it is a reset.
	ResumeTimeout = 2 * time.Second

	// KeyLifetime is for how long the key of a message is remembered, so that the message is not published again.
	KeyLifetime = 5 * time.Minute
)

// History bounds what is kept of a topic, the hub itself being one: whichever bound is reached first. Zero Messages: nothing is kept, and
// who has missed anything can only start anew.
type History struct {
	Messages int
	Bytes    int           // of payload; <= 0: DefaultHistoryBytes
	Age      time.Duration // <= 0: DefaultHistoryAge
}

// WithDefaults is h with the defaults of what it leaves open.
func (h History) WithDefaults() History {
	h.Messages = max(h.Messages, 0)
	if h.Bytes <= 0 {
		h.Bytes = DefaultHistoryBytes
	}
	if h.Age <= 0 {
		h.Age = DefaultHistoryAge
	}
	return h
}

// Position is where a hub's log stands, or what a message has there: N grows with each message of the hub, whatever its topic, for as long
// as the epoch lasts. The zero Position is none.
type Position struct {
	Epoch string
	N     uint64
}

// maxEpoch is how many bytes an epoch may have.
const maxEpoch = 32

// String is the position as clients get it, "epoch.n"; "" for none.
func (p Position) String() string {
	if p.Epoch == "" {
		return ""
	}
	return p.Epoch + "." + strconv.FormatUint(p.N, 10)
}

// ParsePosition is the reverse. Nothing but what String returns is a position.
func ParsePosition(s string) (p Position, ok bool) {
	epoch, number, _ := strings.Cut(s, ".")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || number[0] == '0' && len(number) > 1 || !isEpoch(epoch) {
		return Position{}, false
	}
	return Position{epoch, n}, true
}

func isEpoch(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxEpoch
}

// NewEpoch is one that no other hub has.
func NewEpoch() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// Why a subscriber that has a cursor is to start anew: what the reset says.
const (
	ResetExpired = "expired"  // what it missed is not kept any more
	ResetEpoch   = "epoch"    // its cursor is of another log than there is now
	ResetUnknown = "unknown"  // its cursor is none, or Redis could not be asked
	ResetTooMany = "too_many" // it missed more than a resume delivers
)

// Cursor is where a subscriber goes on that is registered. The zero Cursor: with what is sent from now on.
type Cursor struct {
	After string // the position that it gave; "": it has none
	Last  int    // how many messages it is to have first that were sent before, if it has no position; <= 0: none
}

// place is what a frame has in the log.
type place struct {
	Placement
	reset string // it is no message: whoever gets it is to start anew, for this reason
	mark  bool   // nor is this: it carries the cursor on
}

// Placement is where in a hub's log a message is.
type Placement struct {
	Position
	Prev    uint64    // where the one before it in its topic is; 0: there is none, as far as is known
	Topic   string    // as in messages
	At      time.Time // when it got there
	History History   // how much is kept of its topic, defaults included
}

// Placed is f as the message that is there.
func (f *Frame) Placed(p Placement) *Frame {
	m := &struct { // one object, since the log keeps many
		Frame
		place
	}{place: place{Placement: p}}
	m.Frame.websocket, m.Frame.size, m.Frame.at = f.websocket, f.size, &m.place
	return &m.Frame
}

// NewMark is no message. It tells who keeps a cursor where the log stands; others get nothing.
func NewMark(p Position) *Frame {
	return &Frame{at: &place{Placement: Placement{Position: p}, mark: true}}
}

// NewReset is no message either. It tells who keeps a cursor that messages are missing, why, and where the log stands; others get nothing.
func NewReset(p Position, reason string) *Frame {
	return &Frame{at: &place{Placement: Placement{Position: p}, reset: reason}}
}

// Placement is where in the log the message is; the zero Placement: nowhere, or it is a bundle.
func (f *Frame) Placement() Placement { return f.place().Placement }

// place is what f has in the log; the zero place: nothing.
func (f *Frame) place() *place {
	if f.at != nil {
		return f.at
	}
	return nowhere
}

var nowhere = new(place)
