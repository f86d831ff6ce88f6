package contract_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/internal/wstest"
)

// "Done is closed when the hub has ended, for whatever reason." "Err is nil while the hub runs, and after an end that was asked for." An
// attached hub says the same.
func TestDoneIsClosedWhenTheHubHasEndedAndErrSaysWhatFor(t *testing.T) {
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		end  func(*testing.T, *wstest.Hub)
		want []error // nil: it was asked for
		text string
	}{
		"Run's context": {end: func(_ *testing.T, h *wstest.Hub) { h.Stop() }},
		"Shutdown":      {end: func(t *testing.T, h *wstest.Hub) { no(t, h.Shutdown(context.Background())) }},
		"its actor is stopped": {end: func(_ *testing.T, h *wstest.Hub) {
			actors.System().Root.Poison(h.PID())
		}},
		"an actor over its budget": {text: "registry", want: []error{wskit.ErrHubFailed}, end: func(t *testing.T, h *wstest.Hub) {
			registry := wstest.One(t, h.Hub, "registry")
			for range 11 {
				wstest.Crash(registry, "again and again")
			}
		}},
		"its own actor": {text: "boom", want: []error{wskit.ErrHubFailed, boom}, end: func(_ *testing.T, h *wstest.Hub) { wstest.Crash(h.PID(), boom) }},
	} {
		t.Run(name, func(t *testing.T) {
			hub := wstest.Run(t)
			for of, h := range map[string]*wskit.Hub{"the hub": hub.Hub, "attached": wskit.Attach(actors.System(), hub.PID())} {
				done := h.Done()
				wstest.Silent(t, of+" has ended", done)
				no(t, h.Err())
				defer func() {
					wstest.Receive(t, of+" ends", done)
					if err := h.Err(); len(c.want) == 0 {
						no(t, err)
					} else if is(t, err, c.want...); !strings.Contains(err.Error(), c.text) {
						t.Error(err)
					}
				}()
			}
			c.end(t, hub)
			wstest.Receive(t, "Run returns", hub.Done)
		})
	}
}

// Of a hub that failed as it stopped the end stays the orderly one that it was.
func TestAnEndThatWasAskedForIsNoFailure(t *testing.T) {
	release := make(chan struct{})
	hub := wstest.Run(t, wskit.WithOnDisconnect(func(wskit.Subscriber) { <-release }))
	hub.Register(&wstest.Probe{})
	registry, pid := wstest.One(t, hub.Hub, "registry"), hub.PID()
	hub.Stop()
	wstest.Eventually(t, "it refuses what comes", func() bool {
		return errors.Is(hub.BroadcastContext(t.Context(), nil), wskit.ErrHubStopped)
	})
	for range 11 {
		wstest.Crash(registry, "as it stops")
	}
	wstest.Crash(pid, "as it stops")
	close(release)
	wstest.Receive(t, "Done", hub.Hub.Done())
	no(t, hub.Err())
}

// "Of one that is never run it stays open"; a nil hub has ended.
func TestAHubThatWasNotUsedHasNotEnded(t *testing.T) {
	no(t, wskit.NewHub().Err())
	hub := wstest.Idle(t)
	wstest.Silent(t, "it has ended", hub.Hub.Done())
	no(t, hub.Err())
	hub.Start(t)
	var none *wskit.Hub
	wstest.Receive(t, "Done of nil", none.Done())
	no(t, none.Err())
}
