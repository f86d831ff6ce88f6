package actors

// What follows is the part of an Outbox that knows of its hub's log.

// KeepCursor says that the peer keeps a cursor: it is told where the log stands. It is called before the outbox is shared.
func (o *Outbox) KeepCursor() { o.rarely().cursor = true }

// Replay queues what the log has for one that is to be a member now, beyond the bound; each a message, a mark or a reset. With whatever is
// broadcast from then on it has all that the log has for it.
func (o *Outbox) Replay(frames ...*Frame) {
	for _, f := range frames {
		o.prepare(f)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	r := o.rarely()
	r.current = true
	if o.gone || o.reason != ReasonNone {
		return
	}
	q := &o.queue
	if o.holding {
		q = &o.held
	}
	for _, f := range frames {
		if !r.cursor && f.size == 0 && f.websocket == nil { // nothing that the peer could be told
			continue
		}
		if o.link != nil {
			o.link.Counters.replayed(f)
		}
		if *q == nil {
			*q = batches.Get().(*Batch)
		}
		(*q).add(f)
		r.replayed, r.replayedBytes = r.replayed+1, r.replayedBytes+f.Len()
	}
	o.schedule()
}

// takeReplayed is for when nothing is queued any more. The lock is held.
func (o *Outbox) takeReplayed() {
	if o.rare != nil {
		o.rare.replayed, o.rare.replayedBytes = 0, 0
	}
}

// Current reports whether there was a Replay.
func (o *Outbox) Current() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.rare != nil && o.rare.current
}

// Mark tells a peer that keeps a cursor where the log stands, if all that it has for the peer up to there has been handed to the actor;
// else it is nil.
func (o *Outbox) Mark() *Frame {
	o.mu.Lock()
	link := o.link
	wanted := o.rare != nil && o.rare.cursor && o.rare.current && link != nil
	o.mu.Unlock()
	if !wanted {
		return nil
	}
	at := link.Book.At() // before the queue is looked at: what the log had by then is in it, or was
	o.mu.Lock()
	defer o.mu.Unlock()
	if at.Epoch == "" || !o.rare.current || o.queue != nil || o.held != nil {
		return nil
	}
	return NewMark(at)
}
