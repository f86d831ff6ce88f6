package redisactor

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

// A repair reads the streams once Redis has confirmed the subscription, and waits for the answer to a PING that is sent after that: then
// what was read and what has come on the connection overlap, and together they are all there is. A load does the same with whole
// streams, while messages go on.

// reading is one read of the streams.
type reading struct {
	token uint64
	began time.Time
	from  actors.Position    // where the log stood then
	load  []string           // topics that the registry wants; nil: it is a repair
	got   *gotten            // nil: it has not come yet
	fence uint64             // the PINGs of a higher number were sent after that
	notes map[string][]noted // what was delivered meanwhile, by topic of the load
	end   context.CancelFunc
}

// gotten, to itself: what was read.
type gotten struct {
	token  uint64
	at     actors.Position // where the log stood before the streams were read; zero: there is none
	marks  string
	now    time.Time     // of Redis
	clock  time.Duration // how much more its clock shows than that of this process
	topics []gottenTopic
	broken bool // there was what cannot be read
	err    error
}

// IgnoreDeadLetterLogging keeps protoactor silent about what is read when a hub has just stopped.
func (*gotten) IgnoreDeadLetterLogging() {}

type gottenTopic struct {
	name string
	list []*record // newest first
	next uint64    // what the oldest message that is newer than that says of the one before it; 0: nothing
}

// Redis makes all answers of a pipeline before it writes any, and does nothing else meanwhile. So of many streams only a few are read with one
// pipeline, but not so few that it takes many more than maxTrips.
const (
	fewStreams = 4
	maxTrips   = 32
)

// readAgain, to itself from its timer: a read has failed, some time ago.
type readAgain struct{}

var (
	errHole   = errors.New("wskit: redis does not keep all that was missed")
	errHeldUp = errors.New("wskit: too many messages came while the log was repaired")
	rereading = actors.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.5}
)

// tear has the log repaired before anything else is delivered. down says that messages of others may have been missed.
func (a *redisActor) tear(down bool) {
	h := a.history
	if !h.torn {
		h.since = time.Now()
	}
	h.torn, h.held, h.heldBytes = true, nil, 0
	a.stopReading()
	if down && !h.fresh && !h.down && !a.drained {
		h.down = true
		a.gate.logged(&actors.Logged{At: h.at, Down: true})
	}
}

// stopReading gives up the read that is under way. The topics of a load are read later.
func (a *redisActor) stopReading() {
	h := a.history
	if r := h.reading; r != nil {
		r.end()
		if h.reading = nil; r.load != nil {
			h.loads = append(h.loads, r.load)
		}
	}
}

// holdBack keeps what comes while the log is torn.
func (a *redisActor) holdBack(r arrival) {
	h := a.history
	if len(h.held) >= maxBacklog || h.heldBytes > maxBacklogBytes {
		a.tear(true)
		a.trouble(errHeldUp)
		a.proceed()
	}
	h.held = append(h.held, r)
	h.heldBytes += len(r.payload)
}

// proceed begins a read, if one is wanted and can be.
func (a *redisActor) proceed() {
	h := a.history
	switch {
	case h.reading != nil || a.reread != nil || a.drained || a.link == nil:
	case a.member != nil && !a.confirmed(a.own):
	case a.member != nil && h.torn && a.gate.full(): // what is read would have nowhere to go
		a.reread = a.after(watchEvery, &readAgain{})
	case a.member != nil && h.torn:
		a.read(nil)
	default:
		if load := a.ready(); load != nil {
			a.read(load)
		}
	}
}

// read begins a read: of a load's topics, or of what came after what was delivered last.
func (a *redisActor) read(load []string) {
	h := a.history
	names, from := load, "-"
	if load == nil {
		if !h.fresh && h.at.Epoch != "" {
			a.eachTopic(func(t *topic) { names = append(names, t.name) })
		}
		from = decimal(h.at.N+1) + "-0"
	}
	h.tokens++
	ctx, cancel := context.WithTimeout(context.Background(), stuckAfter)
	h.reading = &reading{token: h.tokens, began: time.Now(), from: h.at, load: load, end: cancel, notes: make(map[string][]noted, len(load))}
	for _, name := range load {
		h.reading.notes[name] = nil
	}
	g := &gotten{token: h.tokens}
	client, k, most, self, system := a.link.bounded, h.keys, int64(h.most), a.self, a.hub.System
	var first *script // has the log begin, if there is none: who comes before the first message has a position too
	if load == nil && h.at.Epoch == "" {
		first = newCall(h, nil)
	}
	go func() {
		defer cancel()
		if crash := actors.Fence("redis", func() { g.err = g.read(ctx, client, k, names, from, most, first) }); crash != nil {
			g.err = crash
		}
		system.Root.Send(self, g)
	}()
}

func (g *gotten) read(ctx context.Context, client *redis.Client, k keys, names []string, from string, most int64, first *script) error {
	began, pipe := time.Now(), client.Pipeline()
	meta, now := pipe.HMGet(ctx, k.meta, "e", "n", "c"), pipe.Time(ctx)
	streams, few := make([]*redis.XMessageSliceCmd, 0, len(names)), max(fewStreams, len(names)/maxTrips)
	var half time.Duration // of what it took to ask for the time
	for half == 0 || len(streams) < len(names) {
		for _, name := range names[len(streams):min(len(streams)+few, len(names))] {
			streams = append(streams, pipe.XRevRangeN(ctx, k.stream(name), "+", from, most))
		}
		if _, err := pipe.Exec(ctx); err != nil && !said(err) {
			return err
		}
		half = cmp.Or(half, max(time.Since(began)/2, 1))
	}
	if err := cmp.Or(meta.Err(), now.Err()); err != nil {
		return err
	}
	g.now = now.Val()
	g.clock = g.now.Sub(began.Add(half))
	epoch, _ := meta.Val()[0].(string)
	n, _ := meta.Val()[1].(string)
	g.marks, _ = meta.Val()[2].(string)
	g.at, _ = actors.ParsePosition(epoch + "." + n)
	if first != nil && g.at.Epoch == "" {
		reply := first.command(ctx, true)
		if err := client.Process(ctx, reply); err != nil {
			return nil // it begins with the first message
		}
		text, _ := reply.Val().(string)
		epoch, _, _ = strings.Cut(text, "\n")
		g.at, _ = actors.ParsePosition(epoch + ".0")
	}
	for i, s := range streams {
		if err := s.Err(); err != nil && !redis.HasErrorPrefix(err, "WRONGTYPE") { // nothing can be published there
			return err
		}
		list, next := make([]*record, 0, len(s.Val())), uint64(0)
		for _, m := range s.Val() {
			text, _ := m.Values["m"].(string)
			group, ok := parseRecords(text, true)
			if !ok {
				g.broken = true
			}
			for i := range slices.Backward(group) {
				r := &group[i]
				if r.at.Epoch == epoch && r.at.N <= g.at.N {
					list = append(list, r)
				} else if r.at.Epoch == epoch { // it comes; what was before it may have gone for it
					next = r.prev
				}
			}
		}
		g.topics = append(g.topics, gottenTopic{names[i], list, next})
	}
	return nil
}

// gotten takes what was read, and has a PING sent.
func (a *redisActor) gotten(g *gotten) {
	h := a.history
	r := h.reading
	switch {
	case r == nil || r.token != g.token || a.drained:
		return
	case g.err != nil:
		a.stopReading()
		h.failures++
		a.trouble(g.err)
		a.reread = a.after(rereading.Delay(h.failures, rand.Float64()), &readAgain{})
		if h.torn && !h.fresh && !h.down { // nothing of others may be missing: they go on
			held := h.held
			h.torn, h.held, h.heldBytes = false, nil, 0
			a.goOn(held)
		}
		return
	case g.broken:
		a.warnOf(h.meta)
	}
	h.failures = 0
	if r.got = g; a.member == nil {
		a.loaded(r)
		return
	}
	r.fence = a.link.numbers.Load()
	a.member.curious.Store(true)
	a.link.tell(&doubt{})
}

// pongedLogged takes the answer to PING number n.
func (a *redisActor) pongedLogged(n uint64) {
	r := a.history.reading
	switch {
	case r == nil || r.got == nil || n <= r.fence:
	case r.load != nil:
		a.loaded(r)
	default:
		a.repaired(r)
	}
}

// repaired goes on with what was read and what has come since.
func (a *redisActor) repaired(r *reading) {
	h, g := a.history, r.got
	held, was, fresh := h.held, h.at, h.fresh
	if !fresh {
		a.hub.Counters.Repairs.Add(1)
	}
	if g.at.Epoch == "" || g.at.Epoch == was.Epoch && g.at.N < was.N {
		g.at = was
	}
	h.reading, h.held, h.heldBytes, h.torn, h.fresh, h.down = nil, nil, 0, false, false, false
	same := g.at.Epoch == was.Epoch
	if !same {
		start := g.at.N
		for _, each := range held {
			switch {
			case each.at.Epoch == was.Epoch && each.at.N > h.at.N:
				a.hand(each, nil)
			case each.at.Epoch == g.at.Epoch:
				start = min(start, each.at.N-1)
			}
		}
		a.turnTo(actors.Position{Epoch: g.at.Epoch, N: start})
	}
	missing := a.missing(held, r.began)
	list := a.merge(g, held, fresh)
	lost := a.holes(g, list, !same, fresh && same && was.Epoch != "")
	kept := make(map[string][]*actors.Frame)
	for _, each := range list {
		own := h.own[each.tag]
		if each.whole == nil && own == nil && (each.bare || !a.confirmed(each.topic)) {
			continue
		}
		frame := a.hand(each, nil)
		if n, hole := lost[each.topic.name]; hole && frame != nil && each.at.N > n && !each.bare {
			kept[each.topic.name] = append(kept[each.topic.name], frame)
		}
	}
	h.at.N = max(h.at.N, g.at.N)
	m := &actors.Logged{At: h.at}
	a.eachTopic(func(t *topic) {
		if n, hole := lost[t.name]; hole {
			m.Topics = append(m.Topics, actors.LoggedTopic{
				Topic: t.name, Followed: a.confirmed(t), Loaded: true, Hole: true, Messages: kept[t.name], Lost: n,
			})
		}
		if t.traced = a.confirmed(t) && (fresh || t.owed || t.traced); t.traced {
			t.seen, t.owed = h.at.N, false
		}
	})
	a.gate.logged(m)
	for _, p := range h.order {
		if !p.delivered && p.since.Before(r.began) && (p.answer == answerExecuted || p.answer == answerUnknown && p.key == "") {
			a.deliverHere(p)
		}
	}
	switch {
	case len(m.Topics) > 0:
		a.gap(errHole)
		a.well()
	case missing:
		if !a.apart {
			a.apart = true
			a.trouble(errApart)
		}
		a.link.tell(&apart{a.own.on})
	case !a.apart:
		a.well()
	}
	a.goOn(slices.DeleteFunc(held, func(each arrival) bool {
		return each.at.N <= g.at.N && each.at.Epoch == g.at.Epoch || !same && each.at.Epoch == was.Epoch
	}))
	a.proceed()
}

// goOn takes what was held back as if it came now.
func (a *redisActor) goOn(held []arrival) {
	for _, each := range held {
		if a.history.torn {
			a.holdBack(each)
		} else {
			a.live(each, nil)
		}
	}
}

// merge is what was read and what has come, up to where the log stood, in order and each once.
func (a *redisActor) merge(g *gotten, held []arrival, fresh bool) (list []arrival) {
	h := a.history
	for _, each := range held {
		if each.at.Epoch == h.at.Epoch && each.at.N > h.at.N && each.at.N <= g.at.N {
			list = append(list, each)
		}
	}
	come := make(map[uint64]bool, len(list))
	for _, each := range list {
		come[each.at.N] = true
	}
	for _, of := range g.topics {
		t := a.topicOf(of.name)
		if t == nil || t.sub == nil {
			continue
		}
		for _, r := range of.list {
			if fresh || r.at.Epoch != h.at.Epoch || r.at.N <= h.at.N || come[r.at.N] {
				continue
			}
			list = append(list, arrival{r, t, nil})
		}
	}
	slices.SortStableFunc(list, func(x, y arrival) int { return cmp.Compare(x.at.N, y.at.N) })
	return list
}

// missing reports whether something of this hub's own was to come by now and has not.
func (a *redisActor) missing(held []arrival, before time.Time) bool {
	come := make(map[string]bool, len(held))
	for _, each := range held {
		come[each.tag] = true
	}
	return slices.ContainsFunc(a.history.order, func(p *publication) bool {
		if p.delivered || p.answer != answerExecuted || p.on == 0 || !p.since.Before(before) || come[p.tag] {
			return false
		}
		t := a.topicOf(p.topic)
		return t != nil && t.on == p.on
	})
}

// holes is which topics have lost messages, and up to where.
func (a *redisActor) holes(g *gotten, list []arrival, other, all bool) map[string]uint64 {
	h := a.history
	lost, last := make(map[string]uint64), make(map[string]uint64)
	edge := horizon(g.marks, g.now, h.span, g.at.N)
	if other {
		return lost // everybody begins anew
	}
	for _, each := range list {
		name := each.topic.name
		before, ok := last[name]
		if !ok {
			before = h.at.N
		}
		switch {
		case each.prev > before:
			lost[name] = each.prev
		case each.prev == 0 && edge > h.at.N:
			lost[name] = min(edge, each.at.N-1)
		}
		if each.bare && each.whole == nil && h.own[each.tag] == nil {
			lost[name] = each.at.N
		}
		last[name] = each.at.N
	}
	for _, of := range g.topics {
		if before, some := last[of.name]; of.next <= g.at.N && (some && of.next > before || !some && of.next > h.at.N) {
			lost[of.name] = of.next
		}
	}
	a.eachTopic(func(t *topic) {
		if _, some := last[t.name]; all || t.owed && !a.confirmed(t) || !some && edge > h.at.N {
			lost[t.name] = g.at.N
		}
	})
	return lost
}
