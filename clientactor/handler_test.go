package clientactor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

func TestAHandlerHearsWhatIsTextAndWhatIsBinary(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		var got wstest.Journal
		l := connect(t, kind, standard, func(_ *link, binary bool, data []byte) error {
			got.Note("%v %s", binary, data)
			return nil
		})
		l.peer.Send(t, wstest.Binary, "one")
		l.peer.Send(t, wstest.Text, "two")
		l.peer.Send(t, wstest.Binary, "")
		got.Expect(t, "true one", "false two", "true ")
		l.peer.SendFrames(t, wstest.CloseWith(1000, ""))
		l.ends(t, 1000, "", actors.ReasonPeer)
	})
}

// treacherous is an error of which to ask anything panics.
type treacherous struct{ error }

func (treacherous) As(any) bool { panic("As") }

func TestAHandlersErrorEndsTheConnectionAndNoMessageIsHandedOnAfterIt(t *testing.T) {
	mine := errors.New("mine")
	for name, c := range map[string]struct {
		err    error
		code   int
		text   string
		reason actors.Reason
		failed string // the op that is reported, if any is
	}{
		"a CloseError":                   {&actors.CloseError{Code: 4321, Text: "bye"}, 4321, "bye", actors.ReasonDisconnected, ""},
		"one within another":             {fmt.Errorf("so: %w", &actors.CloseError{Code: 1008}), 1008, "", actors.ReasonDisconnected, ""},
		"one with too long a text":       {&actors.CloseError{Code: 1000, Text: strings.Repeat("x", 200)}, 1000, strings.Repeat("x", 123), actors.ReasonDisconnected, ""},
		"one with a code for nobody":     {&actors.CloseError{Code: 1006, Text: "bye"}, 1011, "internal error", actors.ReasonCrashed, "Handler"},
		"one that is nil":                {(*actors.CloseError)(nil), 1011, "internal error", actors.ReasonCrashed, "Handler"},
		"any other":                      {mine, 1011, "internal error", actors.ReasonCrashed, "Handler"},
		"a context's":                    {context.Canceled, 1011, "internal error", actors.ReasonCrashed, "Handler"},
		"one that panics when looked at": {treacherous{mine}, 1011, "internal error", actors.ReasonCrashed, "OnMessage"},
	} {
		t.Run(name, func(t *testing.T) {
			wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
				var got wstest.Journal
				l := connect(t, kind, standard, func(_ *link, _ bool, data []byte) error {
					got.Note("%s", data)
					if string(data) == "bad" {
						return c.err
					}
					return nil
				})
				l.peer.SendFrames(t, wstest.Whole(wstest.Text, "good"), wstest.Whole(wstest.Text, "bad"), wstest.Whole(wstest.Text, "late"))
				l.ends(t, c.code, c.text, c.reason)
				got.Expect(t, "good", "bad")
				if err := wstest.Receive(t, "Serve returns", l.served); (err == nil) != (c.failed == "") {
					t.Errorf("Serve returned %v", err)
				}
				if c.failed == "" {
					if all := l.failures(); len(all) > 0 {
						t.Errorf("reported: %+v", all[0])
					}
					return
				}
				wstest.Eventually(t, "the report", func() bool { return len(l.failures()) == 1 })
				f := l.failures()[0]
				if f.Op != c.failed || f.Action != actors.ActStop || f.Attempt != 1 || c.failed == "Handler" && f.Err != c.err {
					t.Errorf("reported: %+v", f)
				}
			})
		})
	}
}

func TestThatItsContextHasEndedIsNoFailureOfAHandlerWhoseConnectionHas(t *testing.T) {
	wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
		l := connect(t, kind, standard, func(l *link, _ bool, _ []byte) error {
			l.Outbox().Close(&actors.Close{Reason: actors.ReasonClosed})
			return fmt.Errorf("asked in vain: %w", context.Canceled)
		})
		l.peer.Say(t, "hi")
		l.ends(t, 1000, "", actors.ReasonClosed)
		if all := l.failures(); len(all) > 0 {
			t.Errorf("reported: %+v", all[0])
		}
	})
}

// Whoever began the end chose what the peer is told of it, whatever happens to the connection after that.
func TestOnEveryWayOutThePeerIsToldTheCodeOfTheCloseThatBeganTheEnd(t *testing.T) {
	m := &actors.Close{Reason: actors.ReasonDisconnected, Code: 4321, Text: "out, " + strings.Repeat("\u00e9", 60)}
	text := actors.CloseText(m.Text)
	for name, end := range map[string]func(l *link){
		"drained": func(l *link) {
			spawn(l.Conn)
			go l.serve()
			l.Outbox().Close(m)
		},
		"closed before there is an actor": func(l *link) {
			l.Outbox().Close(m)
			spawn(l.Conn)
		},
		"aborted": func(l *link) {
			l.Outbox().PostUserMessage(&actors.Abort{})
			l.Outbox().Close(m)
			spawn(l.Conn)
		},
		"crashed": func(l *link) {
			l.Outbox().PostUserMessage(&actors.Crash{Reason: "told to"})
			l.Outbox().Close(m)
			spawn(l.Conn)
		},
		"stopped": func(l *link) {
			pid := spawn(l.Conn)
			l.Outbox().Close(m)
			actors.System().Root.Stop(pid)
		},
		"refused": func(l *link) {
			l.Outbox().Close(m)
			l.Refuse(actors.ReasonShutdown)
		},
	} {
		t.Run(name, func(t *testing.T) {
			wstest.Each(t, func(t *testing.T, kind wstest.Kind) {
				if kind != wstest.TCP && name == "aborted" {
					t.Skip("to abort is to cut, beside the goroutine that writes the frame: only TCP takes it at once")
				}
				l := open(t, kind, standard, nil)
				end(l)
				l.ends(t, 4321, text, actors.ReasonDisconnected)
			})
		})
	}
}
