package redisactor

import (
	"slices"

	"github.com/wskit/wskit/actors"
)

// noted is a message that is kept.
type noted struct {
	*record
	frame *actors.Frame
}

// note takes what is delivered while a load is under way.
func (r *reading) note(topic string, rec *record, frame *actors.Frame) {
	if _, wanted := r.notes[topic]; wanted {
		r.notes[topic] = append(r.notes[topic], noted{rec, frame})
	}
}

// maxLoads is how many loads wait side by side; beyond it they become one.
const maxLoads = 256

// load takes it that the registry wants what is kept of topics.
func (a *redisActor) load(topics []string) {
	if a.history == nil || a.drain != nil || len(topics) == 0 {
		return
	}
	h := a.history
	if h.loads = append(h.loads, topics); len(h.loads) > maxLoads {
		all := slices.Concat(h.loads...)
		slices.Sort(all)
		h.loads = [][]string{slices.Compact(all)}
	}
	a.proceed()
}

// ready takes the loads whose topics are confirmed, or are not to be, and returns them as one.
func (a *redisActor) ready() (load []string) {
	h := a.history
	seen := make(map[string]bool)
	h.loads = slices.DeleteFunc(h.loads, func(topics []string) bool {
		if slices.ContainsFunc(topics, func(name string) bool {
			t := a.topicOf(name)
			_, barred := a.barred[a.origin(name).channel]
			return t != nil && t.sub != nil && !a.confirmed(t) && !barred
		}) {
			return false
		}
		for _, name := range topics {
			if !seen[name] {
				seen[name] = true
				load = append(load, name)
			}
		}
		return true
	})
	return load
}

// loaded answers the loads with what was read and what was delivered since.
func (a *redisActor) loaded(r *reading) {
	h, g := a.history, r.got
	h.reading = nil
	at := g.at
	if a.member != nil {
		switch {
		case at.Epoch == "":
		case at.Epoch != h.at.Epoch:
			a.turnTo(at)
		default:
			h.at.N = max(h.at.N, at.N)
		}
		at = h.at
	}
	// A server that knows less of the log than this hub has lost some: another epoch begins when it is told to publish.
	short := g.at.Epoch == "" || g.at.Epoch == r.from.Epoch && g.at.N < r.from.N
	m := &actors.Logged{At: at, Clock: g.clock, Down: h.down || a.member == nil}
	a.deliverUnheard(g, at)
	for _, of := range g.topics {
		t := a.topicOf(of.name)
		followed := a.member != nil && a.confirmed(t)
		if followed {
			t.seen, t.traced, t.owed = at.N, true, false
		}
		messages, lost := a.kept(of, r.notes[of.name], g, at)
		if short {
			messages, lost = nil, at.N
		}
		m.Topics = append(m.Topics, actors.LoggedTopic{Topic: of.name, Followed: followed, Loaded: true, Messages: messages, Lost: lost})
	}
	a.gate.logged(m)
	a.proceed()
}

// deliverUnheard delivers what this hub has published to a topic before its subscription there, and so does not hear.
func (a *redisActor) deliverUnheard(g *gotten, at actors.Position) {
	if a.member == nil {
		return
	}
	told := false
	for _, of := range g.topics {
		for _, r := range slices.Backward(of.list) {
			p := a.history.own[r.tag]
			if p == nil || p.delivered {
				continue
			}
			if !told { // all else up to there has been delivered
				a.gate.logged(&actors.Logged{At: at, Down: a.history.down})
				told = true
			}
			p.taken, p.came = r.at, true
			a.deliverLate(p)
		}
	}
}

// kept is what is kept of a topic, and the position of the newest that is not.
func (a *redisActor) kept(of gottenTopic, since []noted, g *gotten, at actors.Position) (messages []*actors.Frame, lost uint64) {
	var list []noted // newest first
	for _, each := range slices.Backward(since) {
		if each.at.Epoch == at.Epoch {
			list = append(list, each)
		}
	}
	for _, r := range of.list {
		if r.at.Epoch == at.Epoch && (len(list) == 0 || r.at.N < list[len(list)-1].at.N) {
			list = append(list, noted{r, nil})
		}
	}
	edge := horizon(g.marks, g.now, a.history.span, g.at.N)
	lost = edge
	if len(of.list) == 0 && of.next <= g.at.N {
		lost = max(lost, of.next)
	}
	for _, each := range list {
		if each.bare || g.now.Sub(each.time) >= each.history.Age || len(messages) >= min(a.history.most, list[0].history.Messages) {
			lost = each.at.N
			break
		}
		frame := each.frame
		if frame == nil {
			frame = each.record.frame().Placed(each.placement(of.name))
		}
		messages = append(messages, frame)
		if lost = each.prev; lost == 0 {
			lost = min(edge, each.at.N-1)
		}
	}
	slices.Reverse(messages)
	return messages, lost
}
