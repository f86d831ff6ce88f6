package soak_test

import (
	"math/rand/v2"
	"runtime"
	"time"
)

func exits(*injection, string) func() { return runtime.Goexit }

func blocks(i *injection, _ string) func() {
	return func() {
		over := time.NewTimer(i.a.plan.slowest/10 + rand.N(i.a.plan.slowest))
		<-over.C
	}
}

// reenters calls everything of the hub that there is to call. BroadcastJSON may wait 2 s for Redis.
func reenters(i *injection, place string) func() {
	other := i.a.stranger(i.room)
	return func() {
		hub := i.room.hub
		i.room.probe.publish(hub)
		hub.Register(other)
		if hub.SubscriberCount() < i.room.stable {
			i.a.fail("in %s: %d subscribers, at least %d are there", place, hub.SubscriberCount(), i.room.stable)
		}
		i.room.aside.publish(hub)
		hub.Unregister(other)
		i.room.probe.publish(hub)
	}
}
