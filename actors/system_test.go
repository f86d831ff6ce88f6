package actors_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

func newSystem() *actor.ActorSystem {
	return actors.NewSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return slog.New(slog.DiscardHandler) }))
}

// On a machine of 32 bits this panics with half of all names when the system is protoactor's own.
func TestASystemFindsActorsOfEveryName(t *testing.T) {
	system := newSystem()
	asked := make(chan string, 1)
	props := actor.PropsFromFunc(func(ctx actor.Context) {
		if _, ok := ctx.Message().(string); ok {
			asked <- ctx.Self().Id
		}
	})
	for i := range 100 {
		name := fmt.Sprint("name ", i)
		pid, err := system.Root.SpawnNamed(props, name)
		must(t, err)
		system.Root.Send(system.NewLocalPID(name), "who are you?")
		equal(t, "who answers", <-asked, name)
		must(t, system.Root.StopFuture(pid).Wait())
	}
	for _, name := range []string{"deadletter", "eventstream"} {
		_, found := system.ProcessRegistry.GetLocal(name)
		equal(t, name+" found", found, true)
	}
}

func TestASystemIsSmall(t *testing.T) {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	system := newSystem()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 256<<10 {
		t.Errorf("%d KB of heap", grown>>10)
	}
	runtime.KeepAlive(system)
}
