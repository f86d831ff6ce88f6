package redisactor

import (
	"cmp"
	"context"
	"errors"
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
type pipeline struct {
	via      *redis.Client
	ctx      context.Context
	commands []redis.Cmder
	wired    []wired
}

// wired is a PUBLISH that go-redis sends at most once.
type wired struct {
	*redis.IntCmd
	sent atomic.Bool
	done atomic.Bool // Redis answered, or will not any more; a hook may go on without waiting for that
	err  error       // then
}

// NoRetry keeps go-redis from sending the pipeline again when the answer does not come: everybody would get the message twice.
func (*wired) NoRetry() bool { return true }

// Args is what go-redis calls to write the command to a connection, so what it was not called on Redis does not have.
func (w *wired) Args() []any {
	w.sent.Store(true)
	return w.IntCmd.Args()
}

// newPipeline makes the commands for jobs. What they consist of is allocated for all together where it can be.
func newPipeline(ctx context.Context, via *redis.Client, jobs []job) *pipeline {
	p := &pipeline{via: via, ctx: ctx, commands: make([]redis.Cmder, len(jobs)), wired: make([]wired, len(jobs))}
	args := make([]any, 3*len(jobs))
	var channel any
	for i, j := range jobs {
		if i == 0 || j.from != jobs[i-1].from {
			channel = j.from.channel
		}
		own := args[3*i : 3*i+3 : 3*i+3]
		own[0], own[1], own[2] = "publish", channel, j.frame.Payload()
		p.wired[i].IntCmd = redis.NewIntCmd(ctx, own...)
		p.commands[i] = p.wired[i].IntCmd
	}
	return p
}

// run sends the pipeline through the hooks that the client has now.
func (p *pipeline) run(client *redis.Client) (err error) {
	conn := client.Conn() // for its copy of the hooks: it never gets a connection, so there is none to give back
	conn.AddHook(p)       // the last one is the innermost
	pipe := conn.Pipeline()
	_ = pipe.BatchProcess(p.ctx, p.commands...) // only queues
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
func (p *pipeline) outcome(i int, failure error) (answer, error) {
	w := &p.wired[i]
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
	l.answer(jobs, func(i int) (answer, error) {
		a, err := p.outcome(i, failure)
		executed = executed || a == answerExecuted
		return a, err
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
