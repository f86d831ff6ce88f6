package wskit

import "time"

// WithDrainSpread has the end of the hub spread over a window, so that its clients do not come back all at once: they are told in random
// order and at equal distances, WebSockets by a close frame with 1012 ("service restart"), streams by a "retry:" of 2 to 5 s and their
// end, other subscribers by their Close. Default, and <= 0: all are told at once, WebSockets with 1001.
//
// From the beginning nobody new comes in: registrations return ErrHubStopped, requests are answered as by a hub that drains. All else goes
// on for those whose turn has not come: they get what this and other instances publish, and what they send is handled. So nobody has
// missed a message when told, and with history a client that goes on elsewhere from its cursor misses none in between. The window is over
// early when the last has been told, or nobody is left. What follows is the drain of any hub: what is accepted is written, and who has
// not ended is cut off; a peer that does not answer delays nobody's turn.
//
// The window counts within the drain timeout, and within the time that Shutdown's context leaves: it is cut so that a second remains, or a quarter of these
// if that is less. A further Shutdown with less time spreads the rest over what remains. Without time, and when the hub fails beyond
// its budget or its actor is stopped without actors.Shutdown, all are told at once, with 1012.
func WithDrainSpread(window time.Duration) HubOption {
	return func(h *Hub) { h.cfg.DrainSpread = window }
}

// WithReadyDelay sets for how long Serve goes on when its context has ended, with nothing changed but what Ready says, before it closes the port:
// balancers need that time to notice, and until then they send connections that would find no port. It comes before, and on top of, the drain
// timeout. Default, and <= 0: none.
func WithReadyDelay(d time.Duration) HubOption { return func(h *Hub) { h.cfg.ReadyDelay = d } }

// WithMaxAge has a connection end when it has lasted for d and a random part of jitter, as WithDrainSpread has it: with 1012, a stream
// with "retry:" and its end. So clients move to instances that were added since, and are let in anew. What was broadcast before is
// written first. It counts from when the connection was accepted or its client made; subscribers of your own are not ended. It is exact to some
// milliseconds and takes 16 to 32 bytes a connection. Default, and d <= 0: connections may last; jitter <= 0: none.
func WithMaxAge(d, jitter time.Duration) HubOption {
	return func(h *Hub) { h.cfg.MaxAge, h.cfg.MaxAgeJitter = d, jitter }
}
