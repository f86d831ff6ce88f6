package hubactor

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/wskit/wskit/actors"
)

// history is the log of a hub, or as much of it as this process has: where it stands, and the last messages of each topic. It belongs to
// the registry and outlives its incarnations. Without Redis it numbers the hub's messages; with Redis they come with their numbers.
type history struct {
	own   bool // it numbers them
	kept  actors.History
	at    actors.Position
	rings map[string]*ring
	floor uint64        // of the topics that were forgotten, the newest message
	down  bool          // what others publish does not come
	clock time.Duration // how much more Redis' clock shows than that of this process

	keys map[string]struct{} // of messages that are not to be sent again
	aged []agedKey           // the same, oldest first
}

type agedKey struct {
	key string
	at  time.Time
}

// maxRings is how many topics are known of which nothing is kept any more, and maxKeys how many keys: then the oldest goes.
const (
	maxRings = 1 << 16
	maxKeys  = 1 << 16
)

// newHistory returns the log of a hub that keeps one; nil: it does not.
func newHistory(link *actors.Link) *history {
	if link.History == nil {
		return nil
	}
	h := &history{own: link.Redis == nil, kept: *link.History, rings: make(map[string]*ring), down: link.Redis != nil}
	if h.own {
		h.at.Epoch = actors.NewEpoch()
		link.Book.SetAt(h.at)
	}
	return h
}

// ring is what is kept of one topic.
type ring struct {
	kept     []*actors.Frame // oldest first
	bytes    int             // of their payloads
	bound    actors.History
	last     uint64 // the newest message
	lost     uint64 // the newest that is not kept
	followed bool   // what is published to it comes; always so without Redis
}

// record notes a message that is about to go out, and returns it with its position, if it has one. nil: it has gone out before.
func (h *history) record(m *actors.Broadcast) *actors.Frame {
	if h == nil {
		return m.Frame
	}
	f, at := m.Frame, m.Frame.Placement()
	switch {
	case h.own:
		now := time.Now()
		if !h.first(m.Keep.OnceAs(), now) {
			return nil
		}
		r := h.ring(m.Topic)
		h.at.N++
		at = actors.Placement{Position: h.at, Prev: r.last, Topic: m.Topic, At: now, History: m.Keep.Of(h.kept)}
		f = f.Placed(at)
		r.add(f, at)
	case at.Epoch != "":
		h.at = at.Position
		r := h.ring(m.Topic)
		if !r.followed { // what comes before the first is not known
			if r.followed, r.lost = true, at.Prev; at.Prev == 0 { // or what came before has expired
				r.lost = at.N - 1
			}
		}
		r.add(f, at)
	}
	return f
}

// first reports whether a message with that key is the first, and notes it.
func (h *history) first(key string, now time.Time) bool {
	if key == "" {
		return true
	}
	h.forgetKeys(now)
	if _, known := h.keys[key]; known {
		return false
	}
	if h.keys == nil {
		h.keys = make(map[string]struct{})
	}
	h.keys[key] = struct{}{}
	h.aged = append(h.aged, agedKey{key, now})
	return true
}

func (h *history) forgetKeys(now time.Time) {
	for len(h.aged) > 0 && (now.Sub(h.aged[0].at) > actors.KeyLifetime || len(h.aged) >= maxKeys) {
		delete(h.keys, h.aged[0].key)
		h.aged = h.aged[1:]
	}
	if len(h.aged) == 0 {
		h.keys, h.aged = nil, nil // maps keep the room of their busiest hour
	}
}

// ring is that of a topic, made on first use.
func (h *history) ring(topic string) *ring {
	r := h.rings[topic]
	if r == nil {
		r = &ring{bound: h.kept, last: h.floor, lost: h.floor, followed: h.own}
		h.rings[topic] = r
	}
	return r
}

// sweep lets go of what is too old.
func (h *history) sweep(now time.Time) {
	h.forgetKeys(now)
	for _, r := range h.rings {
		r.trim(now)
	}
	if !h.own || len(h.rings) <= maxRings {
		return
	}
	rest := make(map[string]*ring) // maps keep the room of their busiest hour
	for topic, r := range h.rings {
		if len(r.kept) > 0 {
			rest[topic] = r
		} else {
			h.floor = max(h.floor, r.last)
		}
	}
	h.rings = rest
}

// empty reports whether there is nothing that gets too old, or too much.
func (h *history) empty() bool { return len(h.aged) == 0 && len(h.rings) == 0 }

// heed takes what the link to Redis says of the log.
func (h *history) heed(m *actors.Logged) {
	if m.Clock != 0 {
		h.clock = m.Clock
	}
	if h.at, h.down = m.At, m.Down; m.Reset != "" {
		h.rings = make(map[string]*ring)
	}
	for _, t := range m.Topics {
		if !t.Followed {
			delete(h.rings, t.Topic)
			continue
		}
		r := h.ring(t.Topic)
		r.followed = true
		if t.Loaded || t.Hole {
			*r = ring{bound: r.bound, last: t.Lost, lost: t.Lost, followed: true}
			for _, f := range t.Messages {
				r.add(f, f.Placement())
			}
		}
	}
}

// reaches reports whether what the topic had after that position is known here.
func (h *history) reaches(topic string, n uint64) bool {
	if h.own {
		return true
	}
	r := h.rings[topic]
	return !h.down && r != nil && r.followed && n >= r.lost
}

// holds reports whether the last n messages of a topic that are kept anywhere are known here.
func (h *history) holds(topic string, n int) bool {
	if h.own {
		return true
	}
	r := h.rings[topic]
	return !h.down && r != nil && r.followed && (len(r.kept) >= n || r.lost == 0)
}

// since is what topics had after that position, oldest first. Else it is why that cannot be said.
func (h *history) since(p actors.Position, topics []string) (list []*actors.Frame, reset string) {
	switch {
	case p.Epoch != h.at.Epoch:
		return nil, actors.ResetEpoch
	case p.N > h.at.N:
		return nil, actors.ResetUnknown
	}
	now, count, bytes := time.Now(), 0, 0
	for _, topic := range topics {
		r := h.rings[topic]
		switch {
		case r == nil && h.own && p.N >= h.floor:
			continue
		case r == nil || !r.followed:
			return nil, actors.ResetExpired
		}
		missed, ok := r.since(p.N, now)
		if !ok {
			return nil, actors.ResetExpired
		}
		list, count = append(list, missed...), count+len(missed)
		for _, f := range missed {
			bytes += f.Len()
		}
		if count > actors.MaxResume || bytes > actors.MaxResumeBytes {
			return nil, actors.ResetTooMany
		}
	}
	sortByPosition(list)
	return list, ""
}

// latest are the last n messages of topics, oldest first, that have so many bytes at most.
func (h *history) latest(n, most int, topics []string) (list []*actors.Frame) {
	now := time.Now()
	for _, topic := range topics {
		if r := h.rings[topic]; r != nil {
			r.trim(now)
			list = append(list, r.kept[len(r.kept)-min(n, len(r.kept)):]...)
		}
	}
	sortByPosition(list)
	bytes := 0
	for i := len(list) - 1; i >= 0; i-- {
		if bytes += list[i].Len(); len(list)-i > n || bytes > most {
			return list[i+1:]
		}
	}
	return list
}

func sortByPosition(list []*actors.Frame) {
	slices.SortFunc(list, func(a, b *actors.Frame) int { return cmp.Compare(a.Placement().N, b.Placement().N) })
}

// welcome is what a subscriber gets that is to be in topics from now on: what it missed, or a reset, or the last messages; and where the log
// stands then.
//
// w is its wait for that, if it had one: what was sent meanwhile comes too.
func (h *history) welcome(c actors.Cursor, topics []string, w *waiting) []*actors.Frame {
	var list []*actors.Frame
	reset := ""
	if c.After != "" {
		p, ok := actors.ParsePosition(c.After)
		if reset = actors.ResetUnknown; ok {
			list, reset = h.since(p, topics)
		}
	}
	if (c.After == "" || reset != "") && c.Last > 0 {
		list = h.latest(min(c.Last, actors.MaxResume), actors.MaxResumeBytes, topics)
	}
	if w != nil {
		if c.After == "" || reset != "" {
			list = append(list, h.meanwhile(w, topics)...)
			sortByPosition(list)
			list = slices.Compact(list)
		}
		list = slices.DeleteFunc(list, func(f *actors.Frame) bool { return slices.Contains(w.except, f.Placement().N) })
	}
	if reset != "" {
		at := h.at
		if len(list) > 0 { // positions grow
			at.N = list[0].Placement().N - 1
		}
		list = append([]*actors.Frame{actors.NewReset(at, reset)}, list...)
	}
	if n := len(list); h.at.Epoch != "" && (n == 0 || list[n-1].Placement().N < h.at.N) {
		list = append(list, actors.NewMark(h.at))
	}
	return list
}

// slack is how much earlier than a registration, by the clocks, a message may have been sent that is taken for a later one. It is of another
// instance: what this one has sent before has a position that was known then.
const slack = 100 * time.Millisecond

// meanwhile is what was sent to topics since w began.
func (h *history) meanwhile(w *waiting, topics []string) (list []*actors.Frame) {
	known, after := w.known, w.at.N
	if w.at.Epoch != h.at.Epoch {
		known, after = 0, 0
	}
	since := w.since.Add(h.clock - slack)
	for _, topic := range topics {
		r := h.rings[topic]
		if r == nil {
			continue
		}
		for _, f := range r.kept {
			at := f.Placement()
			if slices.Contains(w.asked, topic) && at.N > known && at.At.After(since) || !slices.Contains(w.asked, topic) && at.N > after {
				list = append(list, f)
			}
		}
	}
	return list
}

// add takes a message, and lets go of those that are too many for it.
func (r *ring) add(f *actors.Frame, at actors.Placement) {
	r.kept, r.bytes = append(r.kept, f), r.bytes+f.Len()
	r.last, r.bound = at.N, at.History
	r.trim(at.At)
}

// trim lets go of what is too much, or too old.
func (r *ring) trim(now time.Time) {
	n := 0
	for n < len(r.kept) && (len(r.kept)-n > r.bound.Messages || r.bytes > r.bound.Bytes || now.Sub(r.kept[n].Placement().At) > r.bound.Age) {
		r.bytes -= r.kept[n].Len()
		r.lost = r.kept[n].Placement().N
		n++
	}
	clear(r.kept[:n])
	if r.kept = r.kept[n:]; len(r.kept) == 0 {
		r.kept = nil // and what it was cut from
	}
}

// since is what came after position n, if all of it is kept.
func (r *ring) since(n uint64, now time.Time) (list []*actors.Frame, ok bool) {
	if r.trim(now); n < r.lost {
		return nil, false
	}
	return r.kept[sort.Search(len(r.kept), func(i int) bool { return r.kept[i].Placement().N > n }):], true
}
