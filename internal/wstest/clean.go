package wstest

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"go.uber.org/goleak"
)

// Main is a package's TestMain: it fails if a goroutine is left when all tests are through. short says what -short leaves
// out; "": nothing.
func Main(m *testing.M, short string) {
	actors.System()                                // the process keeps it for good: heap, and no goroutine
	slog.SetDefault(slog.New(slog.DiscardHandler)) // crashes on purpose would drown what matters
	flag.Parse()
	if testing.Short() && short != "" {
		fmt.Fprintln(os.Stderr, short)
	}
	goleak.VerifyTestMain(m)
}

var cleaned sync.Map // names of the tests that are checked already

// Clean fails the test at its end if it left a goroutine or an actor behind. It comes first in a test, so that its check comes
// last. Run, Idle and Embed call it; within one test a second call does nothing. Tests that run in parallel cannot be told
// apart: they see each other's.
func Clean(t testing.TB) {
	t.Helper()
	if _, again := cleaned.LoadOrStore(t.Name(), true); again {
		return
	}
	before := Processes(actors.System())
	// A Redis that the test restarted ends after this check; Main checks that it does.
	embedded := goleak.IgnoreAnyFunction("github.com/alicebob/miniredis/v2/server.(*Server).serve")
	process, ignore := goleak.IgnoreAnyFunction("os/exec.(*Cmd).writerDescriptor.func1"), goleak.IgnoreCurrent()
	t.Cleanup(func() {
		cleaned.Delete(t.Name())
		if t.Failed() {
			return
		}
		if !Poll(Patience, func() bool { return goleak.Find(ignore, embedded, process) == nil }) {
			t.Errorf("goroutines left behind: %v", goleak.Find(ignore, embedded, process))
		}
		var left []string
		if !Poll(Patience, func() bool {
			left = slices.DeleteFunc(Processes(actors.System()), func(id string) bool { return slices.Contains(before, id) })
			return len(left) == 0
		}) {
			t.Errorf("%d actors left behind: %v", len(left), left)
		}
	})
}

// Processes is the ids of all processes in an actor system.
func Processes(system *actor.ActorSystem) (ids []string) {
	for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
		bucket.IterCb(func(id string, _ any) { ids = append(ids, id) }) // Keys starts 32 goroutines, for each of 1024
	}
	return ids
}
