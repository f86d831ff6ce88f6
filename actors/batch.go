package actors

import "sync"

// Batch is what an actor gets from its Outbox to write: one or more frames, in order. It is valid during Receive only.
type Batch struct {
	Frames []*Frame
	Bytes  int // of payload
}

// maxBatch bounds the bytes of a batch of more than one frame: what one write may take, and what is written again if
// the rest has to wait.
const maxBatch = 64 << 10

var batches = sync.Pool{New: func() any { return new(Batch) }}

// take is the next batch: all that is queued, or as much of it as maxBatch allows.
func (o *Outbox) take() *Batch {
	if o.queue.Bytes <= maxBatch || len(o.queue.Frames) == 1 {
		b := o.queue
		o.queue = nil
		return b
	}
	n, size := 1, o.queue.Frames[0].Len()
	for size+o.queue.Frames[n].Len() <= maxBatch {
		size += o.queue.Frames[n].Len()
		n++
	}
	b := batches.Get().(*Batch)
	b.Frames, b.Bytes = append(b.Frames, o.queue.Frames[:n]...), size
	o.queue.shift(n)
	o.queue.Bytes -= size
	return b
}

// shift removes the first n frames.
func (b *Batch) shift(n int) {
	rest := copy(b.Frames, b.Frames[n:])
	clear(b.Frames[rest:])
	b.Frames = b.Frames[:rest]
}

func (b *Batch) recycle() {
	if cap(b.Frames) > 1024 {
		return
	}
	clear(b.Frames)
	b.Frames, b.Bytes = b.Frames[:0], 0
	batches.Put(b)
}
