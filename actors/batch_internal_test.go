package actors

import "testing"

// What is large goes to the collector: a pool that keeps it would keep as much for each processor, for good.
func TestOnlySmallBuffersAndBatchesAreKept(t *testing.T) {
	for range 100 { // a pool may forget what it is given
		buf := make([]byte, 0, maxKept+1)
		Gathered{Bytes: buf, buf: &buf}.Release()
		if got := buffers.Get().(*[]byte); cap(*got) > maxKept {
			t.Fatalf("a buffer of %d bytes was kept", cap(*got))
		}
		(&Batch{Frames: make([]*Frame, 0, 1025)}).recycle()
		if got := batches.Get().(*Batch); cap(got.Frames) > 1024 {
			t.Fatalf("a batch of %d frames was kept", cap(got.Frames))
		}
	}
}

func TestABufferThatIsSmallEnoughIsUsedAgain(t *testing.T) {
	for range 100 {
		buf := make([]byte, 1, maxKept)
		Gathered{Bytes: buf, buf: &buf}.Release()
		if got := buffers.Get().(*[]byte); cap(*got) == maxKept && len(*got) == 0 {
			return
		}
	}
	t.Error("none of 100 was")
}
