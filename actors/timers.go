package actors

import "time"

// StopTimers stops those that are not nil.
func StopTimers(timers ...*time.Timer) {
	for _, t := range timers {
		if t != nil {
			t.Stop()
		}
	}
}
