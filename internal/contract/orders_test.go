package contract_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/wskit/wskit"
	"github.com/wskit/wskit/actors"
	"github.com/wskit/wskit/hubactor"
	"github.com/wskit/wskit/internal/wstest"
)

var actorConfig hubactor.Config

// bus is what hubs announce on, in place of Redis.
type bus struct {
	mu    sync.Mutex
	down  bool
	hubs  []*actors.Link
	said  []string // what got through
	tried int      // what was announced, whether or not it got through
}

func (b *bus) spec(l *actors.Link) actors.Spec {
	return actors.Spec{Name: "redis", Props: actor.PropsFromFunc(func(ctx actor.Context) {
		switch m := ctx.Message().(type) {
		case *actor.Started:
			b.mu.Lock()
			b.hubs = append(b.hubs, l)
			b.mu.Unlock()
		case *actors.Announce:
			if err := b.say(string(m.Payload)); m.Reply != nil {
				m.Reply <- err
			}
		case *actors.Drain:
			m.Done <- struct{}{}
		}
	})}
}

func (b *bus) say(payload string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tried++
	if b.down {
		return errHook
	}
	b.said = append(b.said, payload)
	for _, l := range b.hubs {
		l.System.Root.Send(l.Connections, &actors.Announced{Payload: []byte(payload)})
	}
	return nil
}

func (b *bus) set(down bool) {
	b.mu.Lock()
	b.down = down
	b.mu.Unlock()
}

// listen tells hub i that from now on it hears what is announced.
func (b *bus) listen(i int) {
	b.mu.Lock()
	l := b.hubs[i]
	b.mu.Unlock()
	l.System.Root.Send(l.Connections, &actors.Announcing{})
}

func (b *bus) count(op string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.said {
		if strings.Contains(p, `"op":"`+op+`"`) {
			n++
		}
	}
	return n
}

// instance is a hub on the bus with its WebSockets, all of user ann, and its log.
type instance struct {
	*wstest.Hub
	srv *wstest.Server
	log wstest.LogRecorder
}

func (b *bus) instance(t *testing.T) *instance {
	t.Helper()
	i := &instance{}
	i.Hub, _ = wstest.Embed(t, hubactor.Config{Redis: b.spec, Logger: i.log.Logger()})
	i.srv = wstest.Serve(t, i.Hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("ann")}})
	i.PID()
	wstest.Eventually(t, "it is on the bus", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.hubs, func(l *actors.Link) bool { return l.Hub.Id == i.PID().Id })
	})
	return i
}

// Disconnect ends them "on every instance", says how many here, and keeps them out there too.
func TestDisconnectReachesOtherInstances(t *testing.T) {
	b := &bus{}
	one, two := b.instance(t), b.instance(t)
	p1, _ := one.srv.Peer(t)
	p2, _ := two.srv.Peer(t)
	if n, err := one.User("ann").Disconnect(t.Context(), 4000, "bye"); n != 1 || err != nil {
		t.Error(n, err)
	}
	p1.Ends(t, 4000, "bye")
	p2.Ends(t, 4000, "bye")
	if p := two.srv.Handshake(t, wstest.Handshake{}); p.Answer.StatusCode != 403 {
		t.Error(p.Answer.Status)
	}
	var m map[string]any
	_ = json.Unmarshal([]byte(b.said[0]), &m)
	if m["v"] != 1.0 || m["op"] != "disconnect" || m["user"] != "ann" || m["code"] != 4000.0 || m["text"] != "bye" || m["lockout_ms"] != 10000.0 || m["id"] == "" || m["from"] == "" {
		t.Error(b.said)
	}
}

// "go on being tried": what Redis did not take is announced again until it does.
func TestAnOrderIsAnnouncedUntilRedisHasIt(t *testing.T) {
	b := &bus{down: true}
	one, two := b.instance(t), b.instance(t)
	p1, _ := one.srv.Peer(t)
	p2, _ := two.srv.Peer(t)
	n, err := one.User("ann").Disconnect(t.Context(), 1000, "")
	if n != 1 {
		t.Error(n)
	}
	is(t, err, wskit.ErrLocalOnly, errHook)
	p1.Ends(t, 1000, "")
	wstest.Eventually(t, "it is tried again", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.tried >= 3
	})
	b.set(false)
	p2.Ends(t, 1000, "")
	wstest.Eventually(t, "it is not tried any more", func() bool {
		n := b.count("disconnect")
		wstest.Silent(t, "nothing", make(chan int))
		return n == b.count("disconnect")
	})
}

// "hello": who begins to listen hears of orders that it has missed, each executed once; who asked again is not flooded.
func TestWhoBeginsToListenHearsOfOrdersItHasMissed(t *testing.T) {
	b := &bus{}
	one, _ := b.instance(t), b.instance(t)
	p1, _ := one.srv.Peer(t)
	_, err := one.User("ann").Disconnect(t.Context(), 4000, "bye")
	no(t, err)
	p1.Ends(t, 4000, "bye")
	late := b.instance(t)
	for range 20 {
		b.listen(2)
	}
	wstest.Eventually(t, "it is locked out there", func() bool { return late.srv.Handshake(t, wstest.Handshake{}).Answer.StatusCode == 403 })
	wstest.Silent(t, "more", make(chan int))
	if hellos, orders := b.count("hello"), b.count("disconnect"); hellos != 20 || orders > 4 {
		t.Error(hellos, "hellos", orders, "orders")
	}
}

// A hub that begins to listen announces its own orders, and executes those of others on whoever was there, or came during the lockout.
func TestOrdersAreExecutedByAgeAndOnce(t *testing.T) {
	b := &bus{}
	one := b.instance(t)
	order := func(id string, age time.Duration, lockout time.Duration) {
		t.Helper()
		no(t, b.say(fmt.Sprintf(`{"v":1,"op":"disconnect","from":"x","id":%q,"user":"ann","code":1000,"age_ms":%d,"lockout_ms":%d,"new":true}`, id, age.Milliseconds(), lockout.Milliseconds())))
		_, err := one.User("nobody").Disconnect(t.Context(), 1000, "") // connections have handled it when they answer
		no(t, err)
	}
	p, _ := one.srv.Peer(t)
	order("1", time.Minute, 0) // it came later
	order("2", time.Minute, 30*time.Second)
	one.Broadcast([]byte("1"))
	p.Expect(t, "1")
	p2, _ := one.srv.Peer(t) // the lockout is over
	order("1", 0, 0)         // again
	one.Broadcast([]byte("2"))
	p2.Expect(t, "2")
	p.Expect(t, "2")
	order("3", 0, 0)
	p.Ends(t, 1000, "")
	p2.Ends(t, 1000, "")
	p, _ = one.srv.Peer(t)
	order("4", 5*time.Second, 10*time.Second)
	wstest.Eventually(t, "the rest of the lockout", func() bool { return one.srv.Handshake(t, wstest.Handshake{}).Answer.StatusCode == 403 })
	p.Ends(t, 1000, "") // who came in while the lockout had not been heard of
}

// "Unknown versions and ops and malformed JSON are ignored with one warning."
func TestWhatIsNoOrderIsIgnoredWithOneWarning(t *testing.T) {
	b := &bus{}
	one := b.instance(t)
	p, _ := one.srv.Peer(t)
	for _, bad := range []string{
		"", "nonsense", "null", "[]", `"x"`, `{"v":2,"op":"disconnect","from":"x","id":"1","user":"ann","code":1000}`, `{"v":1,"op":"restart","from":"x"}`, `{"v":1,"op":"hello"}`,
		`{"v":1,"op":"disconnect","from":"x","id":"","user":"ann","code":1000}`, `{"v":1,"op":"disconnect","from":"x","id":"1","user":"","code":1000}`,
		`{"v":1,"op":"disconnect","from":"x","id":"1","user":"ann","code":1006}`, `{"v":1,"op":"disconnect","from":"x","id":"1","user":"ann"}`,
		`{"v":1,"op":"disconnect","from":"x","id":"1","user":"ann","code":1000,"age_ms":-1}`, `{"v":1,"op":"disconnect","from":"x","id":"1","user":"ann","code":1000,"lockout_ms":-1}`,
		`{"v":1,"op":"disconnect","from":"x","id":"1","user":"ann","code":1000,"age_ms":1e30}`, `{"v":1,"op":"disconnect","from":"x","id":"` + strings.Repeat("x", 256) + `","user":"ann","code":1000}`,
		`{"v":1,"op":"disconnect","from":"x","id":"1","user":"ann","code":1000,"text":"` + strings.Repeat("x", 124) + `"}`,
	} {
		no(t, b.say(bad))
	}
	one.Broadcast([]byte("1"))
	p.Expect(t, "1")
	one.Settled(t)
	no(t, b.say(`{"v":1,"op":"disconnect","from":"x","id":"1","user":"ann","code":1000,"age_ms":9223372036854775807}`)) // as old as can be
	no(t, b.say(`{"v":1,"op":"disconnect","from":"x","id":"2","user":"ann","code":1000,"lockout_ms":9223372036854775807}`))
	p.Ends(t, 1000, "")
	wstest.Eventually(t, "one warning", func() bool {
		n := 0
		for _, r := range one.log.All() {
			if strings.Contains(r.Text, "control channel") {
				n++
			}
		}
		return n == 1
	})
}

// A link to Redis that does not answer costs the caller less than 2 s, and the count is told.
func TestDisconnectDoesNotWaitForAnAnswerThatNeverComes(t *testing.T) {
	silent := func(*actors.Link) actors.Spec {
		return actors.Spec{Name: "redis", Props: actor.PropsFromFunc(func(ctx actor.Context) {
			if m, ok := ctx.Message().(*actors.Drain); ok {
				m.Done <- struct{}{}
			}
		})}
	}
	hub, _ := wstest.Embed(t, hubactor.Config{Redis: silent})
	_, _ = wstest.Serve(t, hub.Hub, wstest.Serving{Client: []wskit.ClientOption{wskit.WithUser("ann")}}).Peer(t)
	n, err := 0, error(nil)
	if took := wstest.Took(t, "Disconnect", func() { n, err = hub.User("ann").Disconnect(t.Context(), 1000, "") }); took > 3*time.Second {
		t.Error(took)
	}
	if n != 1 || !errors.Is(err, wskit.ErrLocalOnly) {
		t.Error(n, err)
	}
}

// "hello" that Redis did not take is said again until it does: else nobody would tell what was missed.
func TestAHelloIsSaidUntilRedisHasIt(t *testing.T) {
	b := &bus{}
	one := b.instance(t)
	if _, err := one.User("ann").Disconnect(t.Context(), 4000, "bye"); err != nil {
		t.Error(err)
	}
	late := b.instance(t)
	b.set(true)
	b.listen(1)
	wstest.Eventually(t, "it is tried", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.tried >= 2
	})
	b.set(false)
	wstest.Eventually(t, "it is locked out there", func() bool { return late.srv.Handshake(t, wstest.Handshake{}).Answer.StatusCode == 403 })
	wstest.Eventually(t, "it is not said any more", func() bool {
		n := b.count("hello")
		wstest.Silent(t, "nothing", make(chan int))
		return n == 1 && b.count("hello") == 1
	})
}
