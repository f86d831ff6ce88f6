package redisactor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/wskit/wskit/actors"
)

// bound returns a client on the same connections that gives any connection up after patience, whatever timeouts the
// caller chose: without a read timeout, a call on a connection that hangs never returns. It has none of the hooks.
func bound(client *redis.Client, patience time.Duration) *redis.Client {
	if d := client.Options().ReadTimeout; d > 0 {
		patience = min(d, patience)
	}
	return client.WithTimeout(patience)
}

// pipeline is one on its way. The hooks of the caller's client see plain commands; what they wrap is send, which has the
// bounded client carry out the same commands as wired ones. So what is known of them no hook can change, not by reading
// their arguments, as tracing does, nor by leaving them out, sending them twice or setting errors of its own.
//
// Each job is one command, but for those of hubs with history: of each such hub they are one script call.
type pipeline struct {
	via      *redis.Client
	ctx      context.Context
	commands []redis.Cmder
	wired    []wired
	scripts  []*script // by command, those beyond the end are none; nil: there are none
	places   []inCall  // of the jobs; nil: each has the command of its number
}

// inCall is the place of a job: the command, and which message of it.
type inCall struct{ command, message int }

// wired is a command that go-redis sends at most once.
type wired struct {
	redis.Cmder
	sent atomic.Bool
	done atomic.Bool // Redis answered, or will not any more; a hook may go on without waiting for that
	err  error       // then
}

// NoRetry keeps go-redis from sending the pipeline again when the answer does not come: everybody would get the message twice.
func (*wired) NoRetry() bool { return true }

// Args is what go-redis calls to write the command to a connection, so what it was not called on Redis does not have.
func (w *wired) Args() []any {
	w.sent.Store(true)
	return w.Cmder.Args()
}

// newPipeline makes the commands for jobs. What they consist of is allocated for all together where it can be.
func newPipeline(ctx context.Context, via *redis.Client, jobs []job) *pipeline {
	if slices.ContainsFunc(jobs, func(j job) bool { return j.logged != nil }) {
		return newScripted(ctx, via, jobs)
	}
	p := &pipeline{via: via, ctx: ctx, commands: make([]redis.Cmder, len(jobs)), wired: make([]wired, len(jobs))}
	args := make([]any, 3*len(jobs))
	var channel any
	for i, j := range jobs {
		if i == 0 || j.from != jobs[i-1].from {
			channel = j.from.channel
		}
		own := args[3*i : 3*i+3 : 3*i+3]
		own[0], own[1], own[2] = "publish", channel, j.frame.Payload()
		p.commands[i] = redis.NewIntCmd(ctx, own...)
		p.wired[i].Cmder = p.commands[i]
	}
	return p
}

// newScripted is newPipeline where some of the jobs are of hubs with history.
func newScripted(ctx context.Context, via *redis.Client, jobs []job) *pipeline {
	p := &pipeline{via: via, ctx: ctx, places: make([]inCall, len(jobs))}
	calls, lists := make(map[*history]int), [][]*publication(nil)
	for i, j := range jobs {
		if j.logged == nil {
			continue
		}
		n, ok := calls[j.logged.by]
		if !ok {
			n = len(lists)
			calls[j.logged.by] = n
			lists = append(lists, nil)
		}
		p.places[i] = inCall{n, len(lists[n])}
		lists[n] = append(lists[n], j.logged)
	}
	for _, list := range lists {
		s := newCall(list[0].by, list)
		p.scripts = append(p.scripts, s)
		p.commands = append(p.commands, s.command(ctx, false))
	}
	for i, j := range jobs {
		if j.logged == nil {
			p.places[i] = inCall{len(p.commands), 0}
			p.commands = append(p.commands, redis.NewIntCmd(ctx, "publish", j.from.channel, j.frame.Payload()))
		}
	}
	p.wired = make([]wired, len(p.commands))
	for i, c := range p.commands {
		p.wired[i].Cmder = c
	}
	return p
}

// run sends the pipeline through the hooks that the client has now, and then once more, with the script itself, the calls of which Redis
// said that it does not have it.
func (p *pipeline) run(client *redis.Client) (err error) {
	err = p.exec(client, p.commands)
	var again []redis.Cmder
	for i, s := range p.scripts {
		if w := &p.wired[i]; w.done.Load() && redis.HasErrorPrefix(w.err, "NOSCRIPT") {
			p.commands[i] = s.command(p.ctx, true)
			p.wired[i] = wired{Cmder: p.commands[i]}
			again = append(again, p.commands[i])
		}
	}
	if len(again) > 0 {
		err = p.exec(client, again)
	}
	for i, s := range p.scripts {
		if w := &p.wired[i]; w.done.Load() && w.err == nil {
			w.err = s.read(w.Cmder.(*redis.Cmd).Val())
		}
	}
	return err
}

func (p *pipeline) exec(client *redis.Client, commands []redis.Cmder) (err error) {
	conn := client.Conn() // for its copy of the hooks: it never gets a connection, so there is none to give back
	conn.AddHook(p)       // the last one is the innermost
	pipe := conn.Pipeline()
	_ = pipe.BatchProcess(p.ctx, commands...) // only queues
	_, err = pipe.Exec(p.ctx)
	return err
}

// ProcessPipelineHook takes the place of the connection.
func (p *pipeline) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return p.send
}

func (*pipeline) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }
func (*pipeline) DialHook(next redis.DialHook) redis.DialHook          { return next }

func (p *pipeline) send(ctx context.Context, commands []redis.Cmder) error {
	out := make([]redis.Cmder, len(commands))
	for i, c := range commands {
		out[i] = c
		if w := p.find(i, c); w != nil {
			out[i] = w
		}
	}
	pipe := p.via.Pipeline()
	_ = pipe.BatchProcess(ctx, out...)
	_, err := pipe.Exec(ctx)
	for _, c := range out {
		if w, ok := c.(*wired); ok && w.sent.Load() && !w.done.Load() {
			w.err = w.Err()
			w.done.Store(true)
		}
	}
	return err
}

// find returns the wired twin of what a hook handed on in place i.
func (p *pipeline) find(i int, c redis.Cmder) *wired {
	if i < len(p.commands) && p.commands[i] == c {
		return &p.wired[i]
	}
	for i := range p.commands { // a hook has changed the list
		if p.commands[i] == c {
			return &p.wired[i]
		}
	}
	return nil
}

// outcome is what is known of a command; failure is how the pipeline as a whole ended, if not well.
func (p *pipeline) outcome(i int, failure error) result {
	if p.places == nil {
		a, err := p.wired[i].outcome(failure)
		return result{answer: a, err: err}
	}
	at := p.places[i]
	r := result{}
	if r.answer, r.err = p.wired[at.command].outcome(failure); r.answer != answerExecuted || at.command >= len(p.scripts) {
		return r
	}
	r.taken = &p.scripts[at.command].reply[at.message]
	if r.err = r.taken.err; r.err != nil {
		r.answer = answerRefused
	}
	return r
}

func (w *wired) outcome(failure error) (answer, error) {
	switch {
	case !w.sent.Load(): // go-redis leaves some such commands without an error
		return answerRefused, cmp.Or(failure, errNotSent)
	case !w.done.Load():
		return answerUnknown, cmp.Or(failure, errNoAnswer)
	case w.err == nil:
		return answerExecuted, nil
	case said(w.err):
		return answerRefused, w.err
	default:
		return answerUnknown, w.err
	}
}

// execute publishes jobs as one pipeline and answers them.
func (l *link) execute(jobs []job) {
	began := time.Now()
	// The callers have been answered when this ends; go-redis heeds it while it dials or waits for a connection.
	ctx, cancel := context.WithTimeout(context.Background(), answerWithin)
	defer cancel()
	p := newPipeline(ctx, l.bounded, jobs)
	var failure error
	if crash := actors.Fence("PUBLISH", func() { failure = p.run(l.client) }); crash != nil { // hooks of the client run here
		failure = crash
	}
	executed := false
	l.answer(jobs, func(i int) result {
		r := p.outcome(i, failure)
		executed = executed || r.answer == answerExecuted
		return r
	})
	if executed {
		l.alive(began)
	}
}

// said reports whether it is Redis that says so: an error reply is an answer, and the connection is well.
func said(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}
