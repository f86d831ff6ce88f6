package sseactor_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/sseactor"
)

// serveConfig serves a new stream of that Config to w.
func serveConfig(cfg *sseactor.Config, w *response) (*sseactor.Stream, <-chan error) {
	s, result := claim(cfg), make(chan error, 1)
	spawn(s)
	go func() { result <- s.Respond(context.Background(), w, httptest.NewRequest("GET", "/", nil)).Serve() }()
	return s, result
}

func TestASilentStreamCarriesACommentAfterItsOwnKeepAlive(t *testing.T) {
	for keepAlive, want := range map[time.Duration]int{
		0: 4, sseactor.KeepAlive: 4, time.Second: 60, 20 * time.Second: 3, time.Hour: 0, -1: 0,
	} {
		synctest.Test(t, func(t *testing.T) {
			cfg, w := config(8, time.Second), &response{}
			cfg.KeepAlive = keepAlive
			s, result := serveConfig(cfg, w)
			time.Sleep(time.Minute + 500*time.Millisecond)
			synctest.Wait()
			if got := strings.Count(w.text()[len(first):], ":\n\n"); got != want {
				t.Errorf("%v: %d comments in a minute, want %d", keepAlive, got, want)
			}
			s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
			<-result
		})
	}
}

func TestTheRetryTimeGoesOutWithTheFirstBytes(t *testing.T) {
	for retry, want := range map[time.Duration]string{
		0: first, -time.Second: first, 1: first + "retry: 1\n\n", time.Second + 999: first + "retry: 1000\n\n", time.Hour: first + "retry: 3600000\n\n",
	} {
		cfg, w := config(8, time.Second), &response{}
		cfg.Retry = retry
		s := claim(cfg)
		spawn(s)
		out := s.Respond(context.Background(), w, httptest.NewRequest("GET", "/", nil))
		if got := w.text(); got != want || w.flushed != 1 {
			t.Errorf("%v: %q, flushed %d times", retry, got, w.flushed)
		}
		s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
		if err := out.Serve(); err != nil {
			t.Error(err)
		}
	}
}

// What is recorded is compared with what was sent; a time that the program asked for is part of it.
func TestARecordedStreamHasTheRetryTimeButNoComment(t *testing.T) {
	cfg, w := config(8, time.Second), httptest.NewRecorder()
	cfg.Retry = time.Second
	s := claim(cfg)
	spawn(s)
	out := s.Respond(context.Background(), w, httptest.NewRequest("GET", "/", nil))
	send(t, s, "1")
	s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
	if err := out.Serve(); err != nil || w.Body.String() != "retry: 1000\n\ndata: 1\n\n" {
		t.Errorf("%q, %v", w.Body, err)
	}
}

func TestAStreamWithEventNamesSendsTheTypeOfEachEvent(t *testing.T) {
	for names, want := range map[bool]string{
		false: "data: {\"type\":\"tick\"}\n\ndata: plain\n\n",
		true:  "event: tick\ndata: {\"type\":\"tick\"}\n\ndata: plain\n\n",
	} {
		cfg, w := config(8, time.Second), &response{}
		cfg.EventNames = names
		s, result := serveConfig(cfg, w)
		send(t, s, `{"type":"tick"}`)
		send(t, s, "plain")
		s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
		if err := <-result; err != nil || w.text() != first+want {
			t.Errorf("%v: %q, %v", names, w.text(), err)
		}
	}
}

func TestAStreamThatIsClaimedIsNotClaimedAgain(t *testing.T) {
	s := sseactor.New(config(2, time.Second))
	ended := spawnUntilEnd(s)
	if err := s.Claim(); err != nil {
		t.Fatal(err)
	}
	if err := s.Claim(); !errors.Is(err, sseactor.ErrClaimed) {
		t.Errorf("claimed again: %v", err)
	}
	s.Refuse(actors.ReasonRefused)
	<-ended
	if err := s.Claim(); !errors.Is(err, actors.ErrHubStopped) {
		t.Errorf("after its end: %v", err)
	}
}

// An actor that has run before, and has waited, hears of the response like one that starts.
func TestAStreamIsAttachedWhenItsActorHasRunForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, w := sseactor.New(config(8, time.Second)), &response{}
		spawn(s)
		send(t, s, "early")
		time.Sleep(time.Hour)
		synctest.Wait()
		if err := s.Claim(); err != nil {
			t.Fatal(err)
		}
		out := s.Respond(context.Background(), w, httptest.NewRequest("GET", "/", nil))
		send(t, s, "late")
		s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
		if err := out.Serve(); err != nil || w.text() != first+"data: early\n\ndata: late\n\n" {
			t.Errorf("%q, %v", w.text(), err)
		}
	})
}

// However claiming and closing meet: who claims serves what was queued, and who does not is told that the stream is closed.
func TestClaimingAndClosingThatMeet(t *testing.T) {
	served := 0
	for range 500 {
		s, w := sseactor.New(config(8, time.Second)), &response{}
		ended := spawnUntilEnd(s)
		send(t, s, "x")
		var closing sync.WaitGroup
		closing.Go(func() { s.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed}) })
		switch err := s.Claim(); {
		case err == nil:
			served++
			if err := s.Respond(context.Background(), w, httptest.NewRequest("GET", "/", nil)).Serve(); err != nil || w.text() != first+"data: x\n\n" {
				t.Fatalf("%q, %v", w.text(), err)
			}
		case !errors.Is(err, actors.ErrHubStopped):
			t.Fatal(err)
		}
		closing.Wait()
		<-ended
	}
	t.Log(served, "of 500 were served")
}

// A stream that was claimed and then ended before it could be attached is answered, and ends with nil.
func TestAStreamWhoseActorHasEndedBeforeItIsAttachedEnds(t *testing.T) {
	for name, attach := range map[string]func(*testing.T, *sseactor.Stream) error{
		"net/http": func(_ *testing.T, s *sseactor.Stream) error {
			return s.Respond(context.Background(), &response{}, httptest.NewRequest("GET", "/", nil)).Serve()
		},
		"hijacked": func(t *testing.T, s *sseactor.Stream) error {
			server, client := tcp(t)
			h := s.Hijack(context.Background(), own(server), request(t.Context()))
			if got := body(t, client); got != "" {
				t.Errorf("%q", got)
			}
			_ = client.Close()
			return h.Serve()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sseactor.New(config(8, time.Second))
			ended := spawnUntilEnd(s)
			if err := s.Claim(); err != nil {
				t.Fatal(err)
			}
			s.Outbox().Abort()
			<-ended
			if err := attach(t, s); err != nil {
				t.Error(err)
			}
		})
	}
}

// A Close of any Reason is the end of the stream: what is queued goes out, then when to come back if that is to be, and Serve returns nil.
func TestACloseOfWhateverReasonIsTheEndOfTheStream(t *testing.T) {
	for r := actors.ReasonClosed; r <= actors.ReasonMaxAge; r++ {
		w := &response{}
		s, result := serveConfig(config(8, time.Second), w)
		send(t, s, "last")
		s.Outbox().Close(&actors.Close{Reason: r, Code: 4711, Text: "gone"})
		err := <-result
		rest, queued := strings.CutPrefix(w.text(), first+"data: last\n\n")
		if told := retry.MatchString(rest); err != nil || !queued || told != r.ComesBack() || !told && rest != "" {
			t.Errorf("%v: %q, %v", r, w.text(), err)
		}
	}
}

var retry = regexp.MustCompile(`^retry: (5000|[2-4]\d{3})\n\n$`)

func TestAStreamThatIsToBeDisconnectedWhenItsQueueIsFullEnds(t *testing.T) {
	cfg := config(2, time.Second)
	cfg.Queue.Overflow, cfg.Queue.Bytes = actors.Disconnect, 10
	s, result := claim(cfg), make(chan error, 1)
	spawn(s)
	send(t, s, "12345")
	send(t, s, "12345")
	if err := s.Outbox().Send(actors.NewFrame([]byte("x"))); !errors.Is(err, actors.ErrSendBufferFull) {
		t.Error(err)
	}
	w := &response{}
	go func() { result <- s.Respond(context.Background(), w, httptest.NewRequest("GET", "/", nil)).Serve() }()
	if err := <-result; err != nil || w.text() != first {
		t.Errorf("%q, %v", w.text(), err)
	}
	if r := s.Outbox().Reason(); r != actors.ReasonSlow {
		t.Error(r)
	}
}
