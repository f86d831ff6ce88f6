package hubactor_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
)

// spawnTenants spawns tenants as an actor that embeds them does; stop drains them and waits for their end.
func spawnTenants(t *testing.T, cfg hubactor.TenantsConfig) (pid *actor.PID, stop func()) {
	t.Helper()
	root := actors.System().Root
	pid = root.Spawn(hubactor.Tenants(cfg))
	ended := actors.ResolveTenants(actors.System(), pid).Done
	stop = sync.OnceFunc(func() {
		root.Send(pid, &actors.Shutdown{})
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Error("the tenants do not end")
		}
	})
	t.Cleanup(stop)
	return pid, stop
}

func askTenant(t *testing.T, pid *actor.PID, name string) actors.TenantHub {
	t.Helper()
	reply := make(chan actors.TenantHub, 1)
	actors.System().Root.Send(pid, &actors.Tenant{Name: name, Reply: reply})
	return receive(t, reply)
}

func receive[T any](t *testing.T, reply <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-reply:
	case <-time.After(10 * time.Second):
		t.Fatal("no answer")
	}
	return v
}

// What is sent through the tenants reaches the hub, however it idles meanwhile.
func TestMessagesToATenantAreNotLostWhileItsHubIdles(t *testing.T) {
	var mu sync.Mutex
	made := 0
	pid, _ := spawnTenants(t, hubactor.TenantsConfig{IdleTimeout: time.Nanosecond, Configure: func(string) hubactor.Config {
		mu.Lock()
		defer mu.Unlock()
		made++
		return hubactor.Config{}
	}})
	root := actors.System().Root
	const names = 16
	var group sync.WaitGroup
	for g := range names {
		group.Go(func() {
			for i := range 300 {
				s := newSub()
				for _, m := range []any{&actors.Register{Subscriber: s}, &actors.Broadcast{Frame: actors.NewFrame(fmt.Append(nil, i))}, &actors.Unregister{Subscriber: s}} {
					root.Send(pid, &actors.ToTenant{Name: fmt.Sprint(g), Message: m})
				}
				if got := s.got.await(t, 2); got[0] != fmt.Sprint(i) {
					t.Error(i, got)
				}
				<-time.After(2*time.Millisecond + time.Duration((g*300+i)%200)*10*time.Microsecond) // the hub is about to idle
			}
		})
	}
	group.Wait()
	mu.Lock()
	defer mu.Unlock()
	if made < 2*names {
		t.Error("nothing has idled")
	}
}

func TestTenantsAnswerWhyThereIsNoHub(t *testing.T) {
	pid, stop := spawnTenants(t, hubactor.TenantsConfig{MaxTenants: 1, Backoff: actors.Backoff{Min: time.Hour, Max: time.Hour}})
	root := actors.System().Root
	if got := askTenant(t, pid, ""); got.Err != actors.ErrInvalidTenant {
		t.Error(got.Err)
	}
	link := askTenant(t, pid, "a").Link
	if got := askTenant(t, pid, "b"); got.Err != actors.ErrTooManyTenants {
		t.Error(got.Err)
	}
	handed := make(chan error, 1)
	root.Send(pid, &actors.ToTenant{Name: "b", Message: &actors.Broadcast{}, Reply: handed})
	if err := receive(t, handed); err != actors.ErrTooManyTenants {
		t.Error(err)
	}
	running := make(chan actors.TenantHub, 1)
	root.Send(pid, &actors.Tenant{Name: "c", Running: true, Reply: running})
	if got := receive(t, running); got.Err != actors.ErrHubStopped {
		t.Error(got.Err)
	}
	names := make(chan []string, 1)
	root.Send(pid, &actors.TenantNames{Reply: names})
	if got := receive(t, names); !slices.Equal(got, []string{"a"}) {
		t.Error(got)
	}
	// One that has failed has no place, and is refused for its backoff alone.
	root.Send(link.Hub, &actors.Crash{Reason: "test"})
	<-link.Done
	var failed *actors.TenantFailedError
	if got := askTenant(t, pid, "a"); !errors.As(got.Err, &failed) || time.Until(failed.Until) < 50*time.Minute {
		t.Error(got.Err)
	}
	if got := askTenant(t, pid, "b"); got.Err != nil {
		t.Error(got.Err)
	}
	stop()
	late := make(chan actors.TenantHub, 1)
	root.Send(pid, &actors.Tenant{Name: "a", Reply: late})
	select {
	case got := <-late: // it may not have been gone yet
		if got.Err != actors.ErrHubStopped {
			t.Error(got.Err)
		}
	case <-time.After(20 * time.Millisecond):
	}
}

// However the tenants are stopped, each hub drains first.
func TestTenantsThatAreStoppedByTheirParentDrainTheirHubs(t *testing.T) {
	root := actors.System().Root
	pid := root.Spawn(hubactor.Tenants(hubactor.TenantsConfig{}))
	ended := actors.ResolveTenants(actors.System(), pid).Done
	var subs []*sub
	for i := range 20 {
		s := newSub()
		subs = append(subs, s)
		name := fmt.Sprint(i)
		for _, m := range []any{&actors.Register{Subscriber: s}, &actors.Broadcast{Frame: actors.NewFrame([]byte(name))}} {
			root.Send(pid, &actors.ToTenant{Name: name, Message: m})
		}
		count := make(chan int, 1)
		root.Send(askTenant(t, pid, name).Link.Hub, &actors.Count{Reply: count})
		if n := receive(t, count); n != 1 {
			t.Error(n)
		}
	}
	root.Stop(pid)
	receive(t, ended)
	for i, s := range subs {
		if got := s.got.await(t, 2); got[0] != fmt.Sprint(i) {
			t.Error(i, got)
		}
	}
}

// The hub's callbacks may ask for their own tenant, whatever becomes of the hub.
func TestTheEndOfATenantIsNotWaitedForByItsOwnCallbacks(t *testing.T) {
	var pid *actor.PID
	answers := newInbox[error]()
	pid, _ = spawnTenants(t, hubactor.TenantsConfig{IdleTimeout: time.Millisecond, Configure: func(string) hubactor.Config {
		return hubactor.Config{OnDisconnect: func(actors.Subscriber) {
			reply := make(chan actors.TenantHub, 1)
			actors.System().Root.Send(pid, &actors.Tenant{Name: "a", Reply: reply})
			select {
			case got := <-reply:
				answers.add(got.Err)
			case <-time.After(4 * time.Second):
				answers.add(actors.ErrTimeout)
			}
		}}
	}})
	for i := range 50 {
		s := newSub()
		actors.System().Root.Send(pid, &actors.ToTenant{Name: "a", Message: &actors.Register{Subscriber: s}})
		actors.System().Root.Send(pid, &actors.ToTenant{Name: "a", Message: &actors.Unregister{Subscriber: s}})
		if got := answers.await(t, i+1); got[i] != nil {
			t.Fatal(got[i])
		}
	}
}
