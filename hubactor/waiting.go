package hubactor

import (
	"container/list"
	"maps"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
)

// waiting is somebody who needs more of the log than is known here, until Redis has said it.
type waiting struct {
	since  time.Time
	needs  map[string]struct{} // topics of which Redis has not said it yet
	place  *list.Element       // among all who wait; nil: it does not
	member *member             // who is to go on from cursor; nil: it is a Recall
	cursor actors.Cursor
	topics []*actors.Topic // that the member is to be in
	asked  []string        // those of needs when it began
	again  bool            // it has begun once more
	at     actors.Position // where the log stood then
	known  uint64          // and what it had at least
	except []uint64        // messages that are not for the member
	recall *actors.Recall
	loaded []*actors.Frame // for the Recall of a topic that nobody is in
}

// waitingRoom is all who wait, in the order they came, and by what they need.
type waitingRoom struct {
	all list.List // of *waiting
	by  map[string]map[*waiting]struct{}
}

// add has w wait for these topics, and returns those that nobody has waited for so far.
func (room *waitingRoom) add(w *waiting, topics []string) (first []string) {
	if room.by == nil {
		room.by = make(map[string]map[*waiting]struct{})
	}
	if w.place == nil {
		w.place = room.all.PushBack(w)
	}
	w.needs = make(map[string]struct{}, len(topics))
	for _, topic := range topics {
		w.needs[topic] = struct{}{}
		if room.by[topic] == nil {
			room.by[topic] = make(map[*waiting]struct{})
			first = append(first, topic)
		}
		room.by[topic][w] = struct{}{}
	}
	return first
}

// strike notes that w need not wait for a topic any more, and reports whether that was the last.
func (room *waitingRoom) strike(w *waiting, topic string) (last bool) {
	delete(w.needs, topic)
	if delete(room.by[topic], w); len(room.by[topic]) == 0 {
		delete(room.by, topic)
	}
	return len(w.needs) == 0
}

// remove ends the wait. What w still needs stays with it.
func (room *waitingRoom) remove(w *waiting) {
	if w.place == nil {
		return
	}
	room.all.Remove(w.place)
	w.place = nil
	for topic := range w.needs {
		if delete(room.by[topic], w); len(room.by[topic]) == 0 {
			delete(room.by, topic)
		}
	}
	if room.all.Len() == 0 {
		room.by = nil // maps keep the room of their busiest hour
	}
}

// each yields all who wait. The one at hand may leave.
func (room *waitingRoom) each(yield func(*waiting) bool) {
	for e := room.all.Front(); e != nil; {
		next := e.Next()
		if !yield(e.Value.(*waiting)) {
			return
		}
		e = next
	}
}

// await has somebody wait for what Redis has of these topics. Of a topic that somebody waits for already Redis is not asked again.
func (r *registry) await(ctx actor.Context, w *waiting, topics []string) {
	w.since, w.asked, w.at = time.Now(), topics, r.log.at
	r.load(ctx, r.waiting.add(w, topics))
	r.link.Book.SetResuming(r.waiting.all.Len())
	r.armTooLong(ctx)
}

func (r *registry) load(ctx actor.Context, topics []string) {
	if len(topics) > 0 {
		ctx.Send(r.link.Redis, &actors.Load{Topics: topics})
	}
}

// told takes what Redis has said of topics, and lets those go on who need no more.
func (r *registry) told(ctx actor.Context, topics []actors.LoggedTopic) {
	var again []string
	var ready []*waiting
	for _, t := range topics {
		for w := range maps.Clone(r.waiting.by[t.Topic]) {
			switch {
			case w.recall != nil && !t.Followed:
				w.loaded = t.Messages
			case !t.Followed: // it was read before anybody was in it
				if !slices.Contains(again, t.Topic) {
					again = append(again, t.Topic)
				}
				continue
			}
			if r.waiting.strike(w, t.Topic) {
				ready = append(ready, w)
			}
		}
	}
	for _, w := range ready {
		if p, ok := actors.ParsePosition(w.cursor.After); ok && !w.again && p.Epoch == r.log.at.Epoch && p.N > r.log.at.N {
			w.again = true // it was read before the log had that position
			again = append(again, r.waiting.add(w, w.asked)...)
			continue
		}
		r.goOn(w)
	}
	slices.Sort(again)
	r.load(ctx, slices.Compact(again))
	r.armTooLong(ctx)
}

// giveUp lets those go on who have waited for too long.
func (r *registry) giveUp(ctx actor.Context, before time.Time) {
	for w := range r.waiting.each {
		if w.since.After(before) {
			break
		}
		r.goOn(w)
	}
	r.armTooLong(ctx)
}

// goOn ends a wait.
func (r *registry) goOn(w *waiting) {
	r.waiting.remove(w)
	r.link.Book.SetResuming(r.waiting.all.Len())
	if w.recall != nil {
		r.recalled(w)
		return
	}
	if len(w.needs) > 0 { // Redis was asked in vain
		w.cursor.After = "?"
	}
	r.begin(w.member, w.cursor, w.topics)
}

// armTooLong sets the timer for who has waited longest, if anybody waits and it is not set.
func (r *registry) armTooLong(ctx actor.Context) {
	if first := r.waiting.all.Front(); first != nil && r.overdue == nil {
		r.overdue = remind(ctx, time.Until(first.Value.(*waiting).since.Add(actors.ResumeTimeout)), tooLong{})
	}
}
