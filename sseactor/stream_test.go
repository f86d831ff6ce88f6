package sseactor_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/sseactor"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	actors.System() // not in a test's bubble
	goleak.VerifyTestMain(m)
}

// response is a ResponseWriter that writes down what becomes of it.
type response struct {
	mu        sync.Mutex
	header    http.Header
	body      strings.Builder
	flushed   int
	deadlines []time.Time
	over      atomic.Bool // the handler has returned
	late      atomic.Bool // it was used all the same
	fail      error
	panics    bool
	proto     int // of the request
}

func (r *response) used() {
	if r.over.Load() {
		r.late.Store(true)
	}
}

func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}
func (r *response) WriteHeader(int) { r.used() }
func (r *response) Write(p []byte) (int, error) {
	r.used()
	if r.panics {
		panic("broken middleware")
	}
	if r.fail != nil {
		return 0, r.fail
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.Write(p)
}
func (r *response) FlushError() error { r.used(); r.flushed++; return nil }
func (r *response) SetWriteDeadline(t time.Time) error {
	r.used()
	r.deadlines = append(r.deadlines, t)
	return nil
}
func (r *response) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body.String()
}

func config(size int, wait time.Duration) *sseactor.Config {
	return &sseactor.Config{Queue: actors.Bound{Messages: size}, WriteWait: wait}
}

// claimed is a stream for Respond or Hijack.
func claimed(size int, wait time.Duration) *sseactor.Stream { return claim(config(size, wait)) }

func claim(cfg *sseactor.Config) *sseactor.Stream {
	s := sseactor.New(cfg)
	if err := s.Claim(); err != nil {
		panic(err)
	}
	return s
}

// open serves a new stream to w, on a goroutine, and returns how to learn the result.
func open(ctx context.Context, w *response) (*sseactor.Stream, <-chan error) {
	s := claimed(8, 10*time.Second)
	spawn(s)
	result := make(chan error, 1)
	go func() {
		r := httptest.NewRequest("GET", "/", nil).WithContext(ctx)
		r.ProtoMajor = w.proto
		err := s.Respond(context.Background(), w, r).Serve()
		w.over.Store(true)
		result <- err
	}()
	return s, result
}

// props makes the stream's actor as connections does.
func props(s *sseactor.Stream) *actor.Props {
	return actor.PropsFromProducer(s.Actor, actor.WithDispatcher(actors.SharedPools().Connections),
		actor.WithMailbox(func() actor.Mailbox { return s.Outbox() }))
}

func spawn(s *sseactor.Stream) { actors.System().Root.Spawn(props(s)) }

// spawnUntilEnd is spawn; the channel is closed when the actor has ended.
func spawnUntilEnd(s *sseactor.Stream) <-chan struct{} {
	ended := make(chan struct{})
	actors.System().Root.Spawn(actor.PropsFromFunc(func(ctx actor.Context) {
		switch ctx.Message().(type) {
		case *actor.Started:
			ctx.Spawn(props(s))
		case *actor.Terminated:
			close(ended)
			ctx.Stop(ctx.Self())
		}
	}))
	return ended
}

func send(t *testing.T, s *sseactor.Stream, text string) {
	t.Helper()
	if err := s.Outbox().Send(actors.NewFrame([]byte(text))); err != nil {
		t.Fatal(err)
	}
}

func TestAStreamWritesWhatIsQueuedAndEndsWithNilWhenItIsClosed(t *testing.T) {
	w := &response{}
	s, result := open(t.Context(), w)
	send(t, s, "one")
	send(t, s, "two\nlines")
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown})
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if got, want := w.text(), first+"data: one\n\ndata: two\ndata: lines\n\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
	for name, want := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "X-Accel-Buffering": "no"} {
		if got := w.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestTheFirstByteGoesOutWithTheHeaders(t *testing.T) {
	w := &response{}
	s := claimed(2, time.Second)
	spawn(s)
	out := s.Respond(t.Context(), w, httptest.NewRequest("GET", "/", nil))
	if got := w.text(); got != first || w.flushed != 1 {
		t.Errorf("%q, flushed %d times", got, w.flushed)
	}
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
	if err := out.Serve(); err != nil {
		t.Error(err)
	}
}

func TestEachWriteHasTheWriteWaitAndTheLastDeadlineIsLifted(t *testing.T) {
	const wait = 10 * time.Second
	for proto := 1; proto <= 2; proto++ {
		synctest.Test(t, func(t *testing.T) {
			w := &response{proto: proto}
			s, result := open(t.Context(), w)
			synctest.Wait()
			for range 20 {
				send(t, s, "x")
				synctest.Wait()
				d := w.deadlines[len(w.deadlines)-1]
				if proto == 2 { // there a deadline that passes between two writes would end the stream
					if !d.IsZero() {
						t.Errorf("left in place: %v", d)
					}
					d = w.deadlines[len(w.deadlines)-2]
				}
				if left := time.Until(d); left < wait || left > wait*5/4 {
					t.Errorf("HTTP/%d: a write had %v", proto, left)
				}
				time.Sleep(time.Second)
			}
			if n := len(w.deadlines); proto == 1 && n > 8 {
				t.Errorf("set %d times for 20 writes", n)
			}
			s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
			<-result
			if d := w.deadlines[len(w.deadlines)-1]; !d.IsZero() {
				t.Errorf("HTTP/%d: %v is left in place at the end", proto, d)
			}
		})
	}
}

func TestAStreamEndsWithTheContextsErrorWhenTheClientLeaves(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	w := &response{}
	s, result := open(ctx, w)
	leave()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if got := s.Outbox().Reason(); got != actors.ReasonPeer {
		t.Errorf("reason %v", got)
	}
}

func TestAStreamEndsWithTheErrorOfAFailedWrite(t *testing.T) {
	broken := errors.New("broken pipe")
	s, result := open(t.Context(), &response{fail: broken})
	_ = s.Outbox().Send(actors.NewFrame([]byte("x"))) // unless the first write has failed already
	if err := <-result; !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if got := s.Outbox().Reason(); got != actors.ReasonWrite {
		t.Errorf("reason %v", got)
	}
}

func TestAPanicOfTheResponseWriterIsAnErrorOfThatStream(t *testing.T) {
	s, result := open(t.Context(), &response{panics: true})
	_ = s.Outbox().Send(actors.NewFrame([]byte("x"))) // unless the first write has failed already
	var pe *actors.PanicError
	if err := <-result; !errors.As(err, &pe) || pe.Value != "broken middleware" {
		t.Fatal(err)
	}
}

func TestNothingIsWrittenAfterTheHandlerReturned(t *testing.T) {
	for range 200 {
		ctx, leave := context.WithCancel(t.Context())
		w := &response{}
		s, result := open(ctx, w)
		var senders sync.WaitGroup
		senders.Go(func() {
			for range 100 {
				s.Outbox().PostUserMessage(actors.NewFrame([]byte("x")))
			}
		})
		leave()
		<-result
		senders.Wait()
		if w.late.Load() {
			t.Fatal("the ResponseWriter was used after the handler had returned")
		}
	}
}

// first is what goes out with the headers.
const first = ":\n\n"

// blocking is a response whose Write of an event waits.
type blocking struct {
	*response
	writing, cut, free chan struct{}
}

func (b *blocking) Write(p []byte) (int, error) {
	if string(p) != first {
		close(b.writing)
		<-b.free
	}
	return b.response.Write(p)
}

func (b *blocking) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		close(b.cut)
	}
	return b.response.SetWriteDeadline(t)
}

func TestTheHandlerDoesNotReturnWhileTheResponseIsWritten(t *testing.T) {
	life, end := context.WithCancel(context.Background())
	w := &blocking{&response{proto: 1}, make(chan struct{}), make(chan struct{}), make(chan struct{})}
	s, result := claimed(8, time.Hour), make(chan error, 1)
	spawn(s)
	go func() {
		err := s.Respond(life, w, httptest.NewRequest("GET", "/", nil)).Serve()
		w.over.Store(true)
		result <- err
	}()
	send(t, s, "x")
	<-w.writing
	end()
	<-w.cut // the write is to end now
	if w.over.Load() {
		t.Error("the handler has returned")
	}
	close(w.free)
	if err := <-result; err != nil {
		t.Error(err)
	}
	_ = s.Outbox().Send(actors.NewFrame([]byte("y"))) // which reaches nobody
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
	for !s.Outbox().Drained() {
		runtime.Gosched()
	}
	actors.SharedPools().Streams().Settle()
	if w.late.Load() {
		t.Error("the ResponseWriter was used after the handler had returned")
	}
	if got, want := w.text(), first+"data: x\n\n"; got != want {
		t.Errorf("body %q, want %q", got, want)
	}
}

func TestAWriterThatPanicsAtOnceLeavesNoStreamBehind(t *testing.T) {
	s := claimed(2, time.Second)
	ended := spawnUntilEnd(s)
	err := actors.Fence("Respond", func() {
		s.Respond(t.Context(), nil, httptest.NewRequest("GET", "/", nil))
	})
	if err == nil {
		t.Error("no panic")
	}
	<-ended
}

func TestASilentStreamCarriesACommentAndOnlyThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &response{}
		s, result := open(t.Context(), w)
		synctest.Wait()
		for range 3 {
			time.Sleep(sseactor.KeepAlive - time.Second)
			send(t, s, "x")
			synctest.Wait()
		}
		if got := w.text(); strings.Contains(got[len(first):], ":\n") {
			t.Errorf("a comment on a stream that was not silent: %q", got)
		}
		time.Sleep(2*sseactor.KeepAlive + time.Second)
		synctest.Wait()
		if got := strings.Count(w.text()[len(first):], ":\n\n"); got != 2 {
			t.Errorf("%d comments in twice the time: %q", got, w.text())
		}
		s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
		<-result
	})
}

func TestAClientThatHasStoppedReadingCannotOutlastAnAbort(t *testing.T) {
	s, result := claimed(8, time.Hour), make(chan error, 1)
	spawn(s)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result <- s.Respond(context.Background(), w, r).Serve()
	}))
	defer srv.Close()
	resp, err := http.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	send(t, s, strings.Repeat("x", 32<<20)) // more than the buffers in between hold
	for !s.Outbox().Drained() {             // until it is being written
	}
	s.Outbox().Abort()
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestAStreamThatIsServedByNobodyQueuesAndCloses(t *testing.T) {
	s := sseactor.New(config(2, time.Second))
	ended := spawnUntilEnd(s)
	send(t, s, "1")
	send(t, s, "2")
	if err := s.Outbox().Send(actors.NewFrame(nil)); !errors.Is(err, actors.ErrSendBufferFull) {
		t.Errorf("third: %v", err)
	}
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
	<-ended
	if err := s.Outbox().Send(actors.NewFrame(nil)); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAStreamThatWasRefusedEndsThoughItIsNeverServed(t *testing.T) {
	s := claimed(2, time.Second)
	ended := spawnUntilEnd(s)
	s.Refuse(actors.ReasonRefused)
	<-ended
}

// An actor that never was cannot end a stream: the hub's end does.
func TestAStreamThatNobodyAdoptedEndsWithTheHub(t *testing.T) {
	life, end := context.WithCancel(context.Background())
	s, result := claimed(2, time.Second), make(chan error, 1)
	go func() {
		result <- s.Respond(life, &response{}, httptest.NewRequest("GET", "/", nil)).Serve()
	}()
	end()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// Nor can it tell that the client has left, and it may come later: then it ends.
func TestAStreamWhoseClientLeavesBeforeThereIsAnActorEnds(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	s, result := claimed(2, time.Second), make(chan error, 1)
	out := s.Respond(t.Context(), &response{}, request(ctx))
	go func() { result <- out.Serve() }()
	leave()
	select {
	case err := <-result:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("Serve does not return")
	}
	if got := s.Outbox().Reason(); got != actors.ReasonPeer {
		t.Errorf("reason %v", got)
	}
	<-spawnUntilEnd(s)
}

func TestCanFlushLooksBehindWrappers(t *testing.T) {
	type bare struct{ http.ResponseWriter }
	for _, c := range []struct {
		w    http.ResponseWriter
		want bool
	}{
		{httptest.NewRecorder(), true},
		{&response{}, true},
		{wrapper{httptest.NewRecorder()}, true},
		{wrapper{wrapper{&response{}}}, true},
		{bare{httptest.NewRecorder()}, false},
		{wrapper{bare{httptest.NewRecorder()}}, false},
		{wrapper{nil}, false},
		{nil, false},
	} {
		if got := sseactor.CanFlush(c.w); got != c.want {
			t.Errorf("%T: %v", c.w, got)
		}
	}
}

// wrapper is a middleware's writer that implements nothing but Unwrap.
type wrapper struct{ w http.ResponseWriter }

func (w wrapper) Header() http.Header         { return w.w.Header() }
func (w wrapper) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w wrapper) WriteHeader(code int)        { w.w.WriteHeader(code) }
func (w wrapper) Unwrap() http.ResponseWriter { return w.w }
