package redisactor

import (
	"errors"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/wskit/wskit/actors"
)

const (
	// answerWithin is how long a Publish waits for Redis before its caller is told that it was delivered locally only: a
	// little less than the caller waits, so that the message has its place in this hub's order by then.
	answerWithin = actors.PublishTimeout - 100*time.Millisecond

	maxQueued      = 65536    // messages that wait for a pipeline; more are refused at once
	maxQueuedBytes = 64 << 20 // and their bytes; one message alone may be longer
	maxBatch       = 1024     // messages in one pipeline
	maxBatchBytes  = 1 << 20  // and their bytes; one message alone may be longer
	stuckAfter     = 3 * time.Second
	maxStuck       = 3 // pipelines that are not answered; while there are so many, no more are sent
)

var (
	errNoAnswer  = errors.New("wskit: redis did not answer a PUBLISH in time")
	errQueueFull = errors.New("wskit: too many messages wait for redis")
	errNotSent   = errors.New("wskit: the message was not sent to redis")
	errCrashed   = errors.New("wskit: the link to redis crashed or stopped")
)

// job is one PUBLISH. Of its entry, frame and at never change; the rest is for the hub's redis actor alone.
type job struct {
	*entry
	from *origin
}

// origin is a channel of a hub's, and the hub's redis actor, which gets an answered message.
type origin struct {
	channel string
	pid     *actor.PID
}

// jobs are what a hub published in one run of its redis actor, from that to the publisher.
type jobs struct{ list []job }

// answered tells a hub's redis actor what became of jobs of its own.
type answered struct{ results []result }

type result struct {
	entry  *entry
	answer answer
	err    error  // nil when executed
	taken  *taken // what the script said of it; nil: it was a PUBLISH, or the script was not executed
}

// publisher sends what is queued as one pipeline at a time, so what one hub publishes reaches Redis in order. The
// pipeline runs in a goroutine, which answers the hubs itself: no crash of the actor can lose an answer.
type publisher struct {
	link   *link
	self   *actor.PID
	queue  []job
	bytes  int
	flight *flight
	stuck  int // flights overtaken because Redis did not answer
}

type flight struct {
	by    *publisher
	jobs  []job
	timer *time.Timer
}

// To the publisher, from its flights and their timers.
type (
	landed struct{ *flight }
	late   struct{ *flight }
)

func newPublisher(l *link) *actor.Props {
	return actor.PropsFromProducer(func() actor.Actor { return &publisher{link: l} }, actor.WithDispatcher(l.runner))
}

func (p *publisher) Receive(ctx actor.Context) {
	defer actors.Trace(ctx.Self().Id)
	switch m := ctx.Message().(type) {
	case *jobs:
		p.add(m.list)
	case *landed:
		p.landed(m.flight)
	case *late:
		if m.flight == p.flight {
			p.flight = nil
			p.stuck++
			p.fly()
		}
	case *actors.Crash:
		panic(m.Reason)
	case *actor.Started:
		p.self = ctx.Self()
	case *actor.Restarting, *actor.Stopping:
		p.refuse(p.queue, errCrashed)
		p.queue = nil
	}
}

func (p *publisher) add(list []job) {
	p.shed()
	var refused []job
	for _, j := range list {
		if len(p.queue) >= maxQueued || len(p.queue) > 0 && p.bytes+j.frame.Len() > maxQueuedBytes {
			refused = append(refused, j)
			continue
		}
		p.queue = append(p.queue, j)
		p.bytes += j.frame.Len()
	}
	p.refuse(refused, errQueueFull)
	p.fly()
}

// shed refuses what has waited too long: its caller was told already that Redis did not get it.
func (p *publisher) shed() {
	now, n := time.Now(), 0
	for n < len(p.queue) && now.Sub(p.queue[n].at) >= answerWithin {
		n++
	}
	p.refuse(p.take(n), errNoAnswer)
}

// take removes the first n jobs.
func (p *publisher) take(n int) []job {
	jobs := p.queue[:n:n]
	if p.queue = p.queue[n:]; len(p.queue) == 0 {
		p.queue = nil // and what it was cut from
	}
	for _, j := range jobs {
		p.bytes -= j.frame.Len()
	}
	return jobs
}

func (p *publisher) refuse(jobs []job, err error) {
	if len(jobs) > 0 {
		p.link.answer(jobs, func(int) result { return result{answer: answerRefused, err: err} })
	}
}

// fly sends the next pipeline, if there is anything to send and nothing on its way.
func (p *publisher) fly() {
	if p.flight != nil || p.stuck >= maxStuck {
		return
	}
	p.shed()
	n, bytes := 0, 0
	for n < min(len(p.queue), maxBatch) && (n == 0 || bytes+p.queue[n].frame.Len() <= maxBatchBytes) {
		bytes += p.queue[n].frame.Len()
		n++
	}
	if n == 0 {
		return
	}
	f := &flight{by: p, jobs: p.take(n)}
	p.flight = f
	send := p.link.system.Root.Send
	self, l := p.self, p.link
	f.timer = time.AfterFunc(stuckAfter, func() { send(self, &late{f}) })
	l.runner.Schedule(func() {
		l.execute(f.jobs)
		send(self, &landed{f})
	})
}

func (p *publisher) landed(f *flight) {
	f.timer.Stop()
	switch {
	case f == p.flight:
		p.flight = nil
	case f.by == p:
		p.stuck--
	default: // of the incarnation before
		return
	}
	p.fly()
}

// answer tells each hub what became of its jobs, in one message.
func (l *link) answer(jobs []job, outcome func(i int) result) {
	byHub := make(map[*actor.PID]*answered, 1)
	for i, j := range jobs {
		to := byHub[j.from.pid]
		if to == nil {
			to = &answered{}
			if len(byHub) == 0 { // most often all are of one hub
				to.results = make([]result, 0, len(jobs))
			}
			byHub[j.from.pid] = to
		}
		r := outcome(i)
		r.entry = j.entry
		to.results = append(to.results, r)
	}
	for hub, m := range byHub {
		l.system.Root.Send(hub, m)
	}
}
