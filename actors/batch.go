package actors

import "sync"

// Batch is what an actor gets from its Outbox to write: one or more frames, in order. It is valid during Receive only.
type Batch struct {
	Frames []*Frame // some may be bundles
	Count  int      // of messages
	Bytes  int      // of payload
}

// maxGather bounds the bytes of a batch of more than one frame: up to there one write with a copy is cheaper than two without.
const maxGather = 16 << 10

var batches = sync.Pool{New: func() any { return new(Batch) }}

// Messages is each message of the batch, in order.
func (b *Batch) Messages(yield func(*Frame) bool) {
	for _, f := range b.Frames {
		if f.parts == nil {
			if !yield(f) {
				return
			}
			continue
		}
		for _, part := range f.parts {
			if !yield(part) {
				return
			}
		}
	}
}

// take is the next batch: all that is queued, or as much of it as maxGather allows.
func (o *Outbox) take() *Batch {
	if o.queue.Bytes <= maxGather || len(o.queue.Frames) == 1 {
		b := o.queue
		o.queue = nil
		if o.held == nil { // else some of it waits there
			o.takeReplayed()
		}
		return b
	}
	n, size := 1, o.queue.Frames[0].Len()
	for size+o.queue.Frames[n].Len() <= maxGather {
		size += o.queue.Frames[n].Len()
		n++
	}
	b := batches.Get().(*Batch)
	for _, f := range o.queue.Frames[:n] {
		b.add(f)
	}
	o.queue.shift(n)
	return b
}

// large is the payload, in bytes, from which an encoding takes long to make: at 16 KB compressing takes 0.05 to 0.15 ms.
const large = 16 << 10

// EncodeWith says what the actor will ask of its frames. Of a large one that is then made by whoever sends it, a hub's registry
// or a caller of Send, and not on the pool, where the connections of every hub would wait for it. It is called before the outbox
// is shared.
func (o *Outbox) EncodeWith(encode func(*Frame) []byte) { o.encode = encode }

// prepare has a large frame encoded that there is room for.
func (o *Outbox) prepare(f *Frame) {
	if o.encode == nil || f.size < large {
		return
	}
	o.mu.Lock()
	q := o.queue
	if o.holding {
		q = o.held
	}
	wanted := o.reason == ReasonNone && (o.fits(q, f) || o.overflow == DropOldest && o.fits(nil, f))
	o.mu.Unlock()
	if wanted {
		o.encode(f)
	}
}

func (b *Batch) add(f *Frame) {
	b.Frames = append(b.Frames, f)
	b.Count += f.Count()
	b.Bytes += f.Len()
}

// shift removes the first n frames.
func (b *Batch) shift(n int) {
	for _, f := range b.Frames[:n] {
		b.Count -= f.Count()
		b.Bytes -= f.Len()
	}
	rest := copy(b.Frames, b.Frames[n:])
	clear(b.Frames[rest:])
	b.Frames = b.Frames[:rest]
}

func (b *Batch) recycle() {
	if cap(b.Frames) > 1024 {
		return
	}
	clear(b.Frames)
	*b = Batch{Frames: b.Frames[:0]}
	batches.Put(b)
}

// Gathered is a batch in one piece, ready to be written.
type Gathered struct {
	Bytes []byte
	buf   *[]byte // where they are, if it goes back to the pool
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxKept is the largest buffer, in bytes, that goes back to the pool.
const maxKept = 128 << 10

// Gather encodes the batch. A single frame is its shared encoding; more are copied into a buffer. Release it when written.
func (b *Batch) Gather(encode func(*Frame) []byte) Gathered {
	if len(b.Frames) == 1 {
		return Gathered{Bytes: encode(b.Frames[0])}
	}
	buf := buffers.Get().(*[]byte)
	for _, f := range b.Frames {
		*buf = append(*buf, encode(f)...)
	}
	return Gathered{*buf, buf}
}

// Release gives the buffer back; the bytes are not to be used any more.
func (g Gathered) Release() {
	if g.buf != nil && cap(*g.buf) <= maxKept {
		*g.buf = (*g.buf)[:0]
		buffers.Put(g.buf)
	}
}
