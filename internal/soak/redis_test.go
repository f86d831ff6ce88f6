package soak_test

import (
	"math/rand/v2"
	"time"

	"github.com/wskit/wskit/internal/redistest"
	"github.com/wskit/wskit/internal/wstest"
)

// outage is a time in which instances may miss what the other one publishes: from the harm until the first message that was
// published after it was lifted, and has arrived.
type outage struct {
	who          [2]bool // the instances whose link was hurt
	from, lifted time.Duration
	injection    *injection
}

// outage does harm to the link of the injection's instance.
func (i *injection) outage(harm func()) {
	o := outage{from: now(), injection: i}
	o.who[i.room.index] = true
	harm()
	o.lifted = now()
	i.a.addOutage(o)
	i.strikeAt(o.from)
}

func (a *arena) addOutage(o outage) {
	a.mu.Lock()
	a.outages = append(a.outages, o)
	a.mu.Unlock()
}

// flows reports whether what was published after since, by each instance, has reached all of the other.
func (a *arena) flows(since time.Duration) bool {
	for _, from := range a.rooms {
		if from.json.latest[1-from.index].Load() <= int64(since) {
			return false
		}
	}
	return true
}

// torment injects faults until the time is over. Those of Redis and the network to it are its own, one after the other, each
// from a state in which everything works.
func (a *arena) torment() {
	a.must(wstest.Poll(patience, func() bool { return a.flows(0) }), "messages go from instance to instance")
	if !a.plan.faults {
		a.mercy()
		return
	}
	a.catalogue()
	for _, f := range a.faults {
		a.faultsDone.Go(func() { a.lane(f) })
	}
	row := func(name string) *fault {
		f := a.fault(name, 25, 1, nil)
		f.outage = true
		return f
	}
	kill, cut, half, sub := row("redis: kill -9, restart"), row("redis: link cut"), row("redis: half-open subscriber connection"), row("crash of the link's subscriber")
	number, broken := map[*fault]int{}, false
	both := func(f *fault, harm func(r *room), relief func()) {
		o := outage{from: now(), who: [2]bool{true, true}}
		for _, r := range a.rooms {
			if harm != nil {
				harm(r)
			}
		}
		times := 2
		if f == kill {
			a.redis.Kill()
			times = 1
		}
		for range times {
			i := &injection{a: a, fault: f, room: a.rooms[number[f]%2], n: number[f]}
			i.strikeAt(o.from)
			a.note(i)
			number[f]++
			o.injection = i
		}
		relief()
		o.lifted = now()
		a.addOutage(o)
		if !wstest.Poll(30*time.Second, func() bool { return a.flows(o.lifted) }) {
			a.fail("%s, number %d: the link is not back within 30 s", f.name, number[f])
			broken = true
		}
	}
	steps := []func(){
		func() {
			both(half, func(r *room) { r.proxy.Mute(redistest.Subscribers) }, func() {
				since := [2]int{a.rooms[0].json.begun(), a.rooms[1].json.begun()}
				limit := now() + 2*time.Second
				wstest.Poll(3*time.Second, func() bool { // something is swallowed of both
					return a.rooms[0].json.begun() >= since[0]+3 && a.rooms[1].json.begun() >= since[1]+3 || now() > limit
				})
				for _, r := range a.rooms {
					r.proxy.Mute(redistest.Nothing)
				}
			})
		},
		func() { a.kill(both, kill) },
		func() { both(cut, func(r *room) { r.proxy.Cut() }, func() {}) },
		func() { a.kill(both, kill) },
		func() { both(sub, func(r *room) { crash(r.link + "/subscriber") }, func() {}) },
	}
	if a.plan.short {
		steps = append(steps[:3], steps[4])
	}
	end, hard := now()+a.plan.length, now()+a.plan.length*3/2+10*time.Second
	over := time.AfterFunc(a.plan.length, a.mercy)
	defer over.Stop()
	pace := time.NewTicker(min(a.plan.length, full) / 80)
	defer pace.Stop()
	for k := 0; now() < hard && !broken; k++ {
		if now() >= end {
			enough := true
			for _, f := range []*fault{kill, cut, half, sub} {
				enough = enough && number[f] >= a.least(f)
			}
			if enough {
				break
			}
		}
		steps[k%len(steps)]()
		<-pace.C
	}
	a.mercy()
	a.faultsDone.Wait()
}

func (a *arena) kill(both func(*fault, func(*room), func()), f *fault) {
	both(f, nil, func() {
		down := time.NewTimer(rand.N(a.plan.slowest / 3))
		<-down.C
		a.redis.Restart()
	})
}
