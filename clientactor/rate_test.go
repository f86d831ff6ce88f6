package clientactor_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/clientactor"
	"github.com/wskit/wskit/internal/wstest"
)

func limitedTo(rate float64, burst int) *clientactor.Config {
	cfg := *standard
	cfg.Rate, cfg.Burst = rate, burst
	return &cfg
}

func TestMessagesBeyondTheRateAreHandedOnInOrderAndNotBefore(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		var got wstest.Journal
		var times wstest.List[time.Time]
		l := connect(t, kind, limitedTo(20, 5), func(_ *link, _ bool, data []byte) error {
			times.Add(time.Now())
			got.Note("%s", data)
			return nil
		})
		var want []string
		var frames []wstest.Frame
		for i := range 12 {
			want = append(want, fmt.Sprint(i))
			frames = append(frames, wstest.Whole(wstest.Text, want[i]))
		}
		start := time.Now()
		l.peer.SendFrames(t, frames...)
		got.Expect(t, want...)
		for i, at := range times.All() {
			if early := start.Add(time.Duration(i-5+1) * time.Second / 20).Sub(at); early > 0 {
				t.Errorf("message %d was handed on %v too early", i, early)
			}
		}
		l.peer.SendFrames(t, wstest.CloseWith(1000, ""))
		l.ends(t, 1000, "", actors.ReasonPeer)
	})
}

// flood sends until it cannot any more.
func flood(l *link) {
	many := slices.Repeat(wstest.Whole(wstest.Text, strings.Repeat("x", 500)).Masked(), 100)
	for {
		if _, err := l.peer.Write(many); err != nil {
			return
		}
	}
}

func TestAFloodIsClosedWith1008AfterASecond(t *testing.T) {
	for name, handled := range map[string]bool{"with a handler": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
				t.Parallel()
				var got wstest.List[int]
				var handle func(*link, bool, []byte) error
				if handled {
					handle = func(_ *link, _ bool, data []byte) error { got.Add(len(data)); return nil }
				}
				start := time.Now()
				l := connect(t, kind, limitedTo(100, 10), handle)
				flooded := wstest.Begin(func() { flood(l) })
				l.peer.Ends(t, 1008, "too many messages")
				if d := time.Since(start); d < time.Second {
					t.Errorf("closed after %v", d)
				}
				_ = l.peer.Close()
				wstest.Receive(t, "the flood ends", flooded)
				await(t, l.Conn)
				if r := l.Outbox().Reason(); r != actors.ReasonRate {
					t.Errorf("reason %q", r)
				}
				if err := wstest.Receive(t, "Serve returns", l.served); err == nil || !strings.Contains(err.Error(), "too many messages") {
					t.Errorf("Serve returned %v", err)
				}
				if n := got.Len(); handled && n < 110 {
					t.Errorf("%d were handed on, want 110 or more", n)
				}
			})
		})
	}
}

func TestWhileAPeersMessagesWaitForTheRateNothingIsRead(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		cfg := limitedTo(1, 1)
		cfg.MaxMessageSize = -1
		l := connect(t, kind, cfg, nil)
		big := wstest.Whole(wstest.Text, strings.Repeat("x", 64<<10)).Masked()
		const most = 64 << 20 // more than any two kernels hold
		sent := 0
		for err := error(nil); err == nil; sent += len(big) {
			if sent > most {
				t.Fatalf("%d bytes were taken", sent)
			}
			_ = l.peer.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			if _, err = l.peer.Write(big); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
		}
		_ = l.peer.Close()
		await(t, l.Conn)
	})
}

// The peer answers no ping, and could not be heard if it did.
func TestAPeerIsNotFoundDeadWhileItsMessageWaitsForTheRate(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		cfg := limitedTo(1.5, 1)
		cfg.PingInterval, cfg.WriteWait = 20*time.Millisecond, 80*time.Millisecond
		reasons := make(chan actors.Reason, 2)
		l := connect(t, kind, cfg, func(l *link, _ bool, _ []byte) error {
			reasons <- l.Outbox().Reason()
			return nil
		})
		l.peer.SendFrames(t, wstest.Whole(wstest.Text, "a"), wstest.Whole(wstest.Text, "b"))
		for range 2 {
			if r := wstest.Receive(t, "a message", reasons); r != actors.ReasonNone {
				t.Errorf("closed: %v", r)
			}
		}
		_ = l.peer.Close()
		await(t, l.Conn)
	})
}

func TestPingsAndCloseFramesAreNotCounted(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		l := connect(t, kind, limitedTo(0.001, 1), func(*link, bool, []byte) error { return nil })
		l.peer.Say(t, "the only one")
		for i := range 20 {
			l.peer.Send(t, wstest.Ping, fmt.Sprint(i))
			l.peer.ExpectFrame(t, wstest.Pong, fmt.Sprint(i))
		}
		l.peer.SendFrames(t, wstest.CloseWith(1000, "bye"))
		l.ends(t, 1000, "bye", actors.ReasonPeer)
	})
}

// See also TestTheEndWaitsForNoMessageThatWaitsForTheRate.
func TestAMessageThatWaitsForTheRateWhenTheEndBeginsIsNotHandedOnAndThePeersAnswerIsRead(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		var got wstest.Journal
		l := connect(t, kind, limitedTo(1, 1), func(_ *link, _ bool, data []byte) error { got.Note("%s", data); return nil })
		l.peer.SendFrames(t, wstest.Whole(wstest.Text, "a"), wstest.Whole(wstest.Text, "b"))
		got.Expect(t, "a")
		l.Outbox().Close(&actors.Close{Reason: actors.ReasonShutdown})
		l.ends(t, 1001, "server is shutting down", actors.ReasonShutdown)
		got.Expect(t, "a")
	})
}
