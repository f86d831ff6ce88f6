package actors

import "slices"

// Bound limits what is queued for one connection, and says what happens to what does not fit.
type Bound struct {
	Messages int      // at least 1
	Bytes    int      // of payload; 0: no limit. A message that is longer alone never fits
	Overflow Overflow // the zero value drops the newest
}

// Overflow is what becomes of a message for which there is no room.
type Overflow uint8

const (
	DropNewest Overflow = iota // it is dropped
	DropOldest                 // those that have waited longest are dropped until it fits
	Disconnect                 // the connection is closed, with ReasonSlow; what it was queued is dropped

	// BySubscriber is no Bound's, and of what is counted alone: the Send of a Subscriber of the program's own returned false.
	BySubscriber
	Overflows
)

func (o Overflow) String() string {
	return [...]string{"newest", "oldest", "disconnect", "subscriber"}[o]
}

// Overflowed is what an Outbox tells its actor, and that its supervisor, when an episode of dropping has ended: how many
// messages it cost whom.
type Overflowed struct {
	Subscriber Subscriber
	Count      int
}

// push appends f to the queue at q, if the bound lets it. Of a bundle that does not fit each message is judged by itself.
func (o *Outbox) push(q **Batch, f *Frame) bool {
	switch {
	case o.fits(*q, f):
		o.endEpisode()
	case f.parts != nil:
		ok := true
		for _, part := range f.parts {
			ok = o.reason == ReasonNone && o.push(q, part) && ok
		}
		return ok
	case o.overflow == Disconnect:
		o.drop(f)
		o.dropAll(&o.queue)
		o.dropAll(&o.held)
		o.close(&Close{Reason: ReasonSlow})
		return false
	case o.overflow == DropOldest && o.fits(nil, f):
		o.makeRoom(*q, f)
	default:
		o.drop(f)
		return false
	}
	if *q == nil {
		*q = batches.Get().(*Batch)
	}
	(*q).add(f)
	return true
}

func (o *Outbox) fits(b *Batch, f *Frame) bool {
	var count, bytes int
	if b != nil {
		count, bytes = b.Count, b.Bytes
	}
	if o.rare != nil {
		count, bytes = count-int(o.rare.replayed), bytes-o.rare.replayedBytes
	}
	return count+f.Count() <= int(o.maxFrames) && (o.maxBytes == 0 || bytes+f.Len() <= o.maxBytes)
}

// makeRoom drops from the front of b until f fits. That it then does is no end of the episode.
func (o *Outbox) makeRoom(b *Batch, f *Frame) {
	for !o.fits(b, f) {
		b.unbundle()
		o.drop(b.Frames[0])
		b.shift(1)
	}
}

// unbundle puts the messages of a bundle at the front in its place.
func (b *Batch) unbundle() {
	if front := b.Frames[0]; front.parts != nil {
		b.Frames = slices.Replace(b.Frames, 0, 1, front.parts...)
	}
}

func (o *Outbox) dropAll(q **Batch) {
	if *q == nil {
		return
	}
	for f := range (*q).Messages {
		o.drop(f)
	}
	(*q).recycle()
	*q = nil
}

func (o *Outbox) drop(f *Frame) {
	o.dropped++
	if o.link != nil {
		o.link.Counters.Drops[o.overflow].Add(1)
	}
	if o.onDrop != nil {
		o.onDrop(o.owner, f)
	}
}

func (o *Outbox) endEpisode() {
	if o.dropped > 0 {
		o.control = append(o.control, &Overflowed{Subscriber: o.owner, Count: int(o.dropped)})
		o.dropped = 0
	}
}
